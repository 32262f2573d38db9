"""The checkpointer's thread against a store that fails, and the plan that every process works from."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.components import Bolt, ReplayableSpout, Tuple
from pystorm.errors import ComponentError, StaleGeneration, StateUnavailable
from pystorm.state.memory_store import MemoryStore
from pystorm.topology.plan import Plan
from pystorm.values import pack, unpack
from pystorm.worker import checkpointer
from pystorm.worker.checkpointer import Checkpointer, MoveJob, PrepareJob
from tests.harness import Feeder, Harness, Parts


class Outage(MemoryStore):
    """A store that is unreachable for the next `failures` snapshots."""

    failures = 0
    error: Exception = StateUnavailable("no answer")
    is_closed = False

    def write_snapshot(self, generation: int, epoch: int, task: Any, data: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise self.error
        super().write_snapshot(generation, epoch, task, data)

    def close(self) -> None:
        self.is_closed = True


class Running:
    """A checkpointer on its thread, and what it has reported."""

    def __init__(self, store: Outage) -> None:
        self.woken: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.thread = Checkpointer(store, store.acquire(["t0"]), lambda: self.woken.put(None))
        self.thread.start()

    def next_report(self) -> dict[str, Any]:
        self.woken.get(timeout=10)
        return self.thread.results.popleft()


def job(epoch: int) -> PrepareJob:
    return PrepareJob(epoch, "b-0", "b", None, b"held", {})


@pytest.fixture
def retry_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "RETRY_S", 0.001)


@pytest.mark.usefixtures("retry_at_once")
def test_an_outage_is_told_once_and_nothing_is_dropped() -> None:
    store = Outage("t")
    store.failures = 5
    running = Running(store)
    running.thread.submit(job(1))
    kinds = [running.next_report()["type"] for _ in range(3)]
    assert kinds == ["unavailable", "prepared", "available"]
    assert store.read_snapshot(1, "b-0") == b"held"
    running.thread.close(wait=True)
    assert store.is_closed


def test_jobs_run_in_order_and_closing_waits_for_them() -> None:
    running = Running(Outage("t"))
    for epoch in range(1, 6):
        running.thread.submit(job(epoch))
        running.thread.submit(MoveJob(epoch))
    running.thread.close(wait=True)
    found = [(report["type"], report["epoch"]) for report in running.thread.results]
    assert found == [(kind, epoch) for epoch in range(1, 6) for kind in ("prepared", "moved")]


@pytest.mark.usefixtures("retry_at_once")
def test_closing_without_waiting_ends_an_endless_retry() -> None:
    store = Outage("t")
    store.failures = 10**9
    running = Running(store)
    running.thread.submit(job(1))
    assert running.next_report()["type"] == "unavailable"
    running.thread.close(wait=False)
    running.thread.join(timeout=10)
    assert not running.thread.is_alive()
    assert store.is_closed


def test_a_stale_generation_ends_the_thread_and_is_told() -> None:
    store = Outage("t")
    store.failures, store.error = 1, StaleGeneration("generation 2 has taken over")
    running = Running(store)
    running.thread.submit(job(1))
    assert running.next_report() == {"type": "stale", "reason": "generation 2 has taken over"}
    running.thread.join(timeout=10)
    assert not running.thread.is_alive()


# -- the plan ---------------------------------------------------------------------------------------------------------


class Passing(Bolt):
    outputs = ["num"]

    def process(self, tup: Tuple) -> None:
        self.emit([tup.values.num])


@given(parallelism=st.lists(st.integers(1, 4), min_size=3, max_size=3), workers=st.integers(1, 20) | st.none())
def test_a_plan_numbers_every_task_once_and_crosses_a_process_border_unchanged(
    parallelism: list[int], workers: int | None
) -> None:
    parts = Parts()
    parts.spout("a", Feeder, parallelism[0])
    parts.bolt("b", Passing, parallelism[1], reads=["a"])
    parts.bolt("c", Passing, parallelism[2], reads=["a", ("b", "FIELDS", ["num"])])
    plan = parts.plan(workers=workers)
    total = sum(parallelism)
    assert sorted(plan.tasks) == list(range(1, total + 1))
    assert plan.workers == min(workers or total, total)
    assert {task.worker for task in plan.tasks.values()} == set(range(plan.workers))
    by_worker = [len(plan.tasks_on(worker)) for worker in range(plan.workers)]
    assert max(by_worker) - min(by_worker) <= 1
    assert plan.depth == {"a": 0, "b": 1, "c": 2}
    assert plan.input_tasks_of("c") == sorted(t.id for t in plan.tasks.values() if t.component in "ab")
    again = Plan.from_wire(unpack(pack(plan.to_wire())))
    assert (again.tasks, again.streams, again.workers) == (plan.tasks, plan.streams, plan.workers)
    assert again.topology == plan.topology
    for worker in range(plan.workers):
        assert again.peers_of(worker) == plan.peers_of(worker)
        assert worker not in plan.peers_of(worker)


def test_every_bolt_has_a_dead_letter_stream_without_declaring_it() -> None:
    parts = Parts()
    parts.spout("a", Feeder)
    parts.bolt("b", Passing, reads=["a"])
    streams = {(info.component, info.name): info.fields for info in parts.plan().streams}
    assert streams == {
        ("a", "default"): ("num",),
        ("b", "default"): ("num",),
        ("b", "dead_letter"): ("error", "traceback", "values"),
    }


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_values_that_only_memory_carries_are_named_when_a_checkpoint_has_to_save_them(
    tmp_path: Path, guarantee: str
) -> None:
    """In one worker tuples are handed over unpacked; a checkpoint that finds one open has to pack it."""

    class Odd(ReplayableSpout):
        outputs = ["odd", "even"]

        def seek(self, partition: str, position: Any) -> None:
            self.sent = False

        def next_tuple(self) -> None:
            if not self.sent:
                self.sent = True
                self.emit([1, object()], position=1)

    class Hold(Bolt):
        auto_ack = False

        def process(self, tup: Tuple) -> None:
            pass

    parts = Parts()
    parts.spout("s", Odd)
    parts.bolt("b", Hold, reads=["s"])
    with Harness(parts.plan(workers=1, topology_guarantee=guarantee), tmp_path, checkpoints=True) as h:
        with pytest.raises(ComponentError, match=r"component 's'.*field 'even'.*builtins.object"):
            h.checkpoint()
