"""Credits: memory in channels is bounded (INV-1), and no DAG on any placement deadlocks (INV-2)."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystorm.components import Bolt, ReplayableSpout, Spout, Tuple
from pystorm.worker.channels import InBatch
from pystorm.worker.credits import INITIAL_WINDOW
from tests.harness import Harness, Parts


class Endless(Spout):
    outputs = ["num"]
    sent = 0

    def next_tuple(self) -> None:
        self.sent += 1
        self.emit([self.sent], self.sent)


class Plug(Bolt):
    def process(self, tup: Tuple) -> None:
        pass


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch", [1, 10, 256])
def test_a_slow_bolt_stops_the_spout_and_not_the_machine(tmp_path: Path, workers: int, batch: int) -> None:
    """A bolt that does not get a turn: no more is in flight than what a channel starts with."""
    parts = Parts()
    parts.spout("1", Endless)
    parts.bolt("2", Plug, reads=["1"])
    config = {"topology_channel_credits": 50, "topology_transfer_batch_size": batch}
    with Harness(parts.plan(workers=workers, **config), tmp_path) as running:
        while not running.is_running:
            running.round()
        for index in range(workers):
            running.deliver(index)
        live = running.workers[0].runtime
        if workers == 1:
            live._ordered.clear()  # the bolt never gets a turn
        for _ in range(500):
            running.clock.now_s += 0.01
            live.step()
        [spout] = running.executors("1")
        assert spout.spout.sent == INITIAL_WINDOW
        assert spout.outbox.blocked
        assert spout.spout.sent == spout.outbox.transferred


def test_what_a_bolt_has_worked_off_is_given_back_and_the_spout_goes_on(tmp_path: Path) -> None:
    parts = Parts()
    parts.spout("1", Endless)
    parts.bolt("2", Plug, reads=["1"])
    with Harness(parts.plan(topology_channel_credits=8), tmp_path) as running:
        for _ in range(200):
            running.clock.now_s += 0.01
            running.round()
        [spout] = running.executors("1")
        assert spout.spout.sent > 300
        in_flight = spout.outbox.transferred - running.executors("2")[0].processed
        [channel] = spout.outbox.channels.values()
        assert 8 - channel.credit >= in_flight


@pytest.mark.parametrize("workers", [1, 3])
def test_no_credit_is_lost_and_none_is_made(tmp_path: Path, workers: int) -> None:
    class Some(Endless):
        def next_tuple(self) -> None:
            if self.sent < 1000:
                super().next_tuple()

    parts = Parts()
    parts.spout("1", Some)
    parts.bolt("2", Plug, 2, reads=["1"])
    config = {"topology_channel_credits": 37, "topology_transfer_batch_size": 5}
    with Harness(parts.plan(workers=workers, **config), tmp_path) as running:
        running.advance(1)
        [spout] = running.executors("1")
        assert spout.spout.sent == 1000
        for bolt in running.executors("2"):
            assert (
                spout.outbox.channels[bolt.task.id].credit + bolt.credits.owed[spout.task.id]
                == bolt.credits.granted[spout.task.id]
            )


def test_a_large_value_takes_the_window_alone(tmp_path: Path) -> None:
    class Large(Spout):
        outputs = ["blob"]
        sent = 0

        def next_tuple(self) -> None:
            self.sent += 1
            self.emit([b"x" * 100_000], self.sent)

    parts = Parts()
    parts.spout("1", Large)
    parts.bolt("2", Plug, reads=["1"])
    config = {"topology_channel_credits": 400, "topology_transfer_batch_size": 1}
    with Harness(parts.plan(**config), tmp_path) as running:
        while not running.is_running:
            running.round()
        running.deliver(0)
        for _ in range(100):
            running.clock.now_s += 0.01
            running.workers[0].turn()
        assert running.executors("1")[0].spout.sent == 1  # 196 units, and a channel starts with fewer


@pytest.mark.parametrize("window", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("batch", [1, 2, 256])
def test_no_window_is_too_small_to_finish(tmp_path: Path, window: int, batch: int) -> None:
    """Credit that a receiver still owes must never add up to the whole window."""
    counts, _ = run_dag(
        Dag(edges=[(0, 1), (1, 2)], tasks=[1, 2, 1], workers=3, window=window, batch=batch, seed=0, guarantee=""),
        tmp_path,
    )
    assert counts == {1: 30, 2: 90}


class Dag:
    """A random topology: component 0 is a spout, each edge goes from a lower number to a higher one."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)
        self.edges: list[tuple[int, int]]
        self.tasks: list[int]

    def __repr__(self) -> str:
        return f"Dag({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    size = draw(st.integers(2, 5))
    edges = []
    for target in range(1, size):
        sources = draw(st.sets(st.integers(0, target - 1), min_size=1, max_size=3))
        edges += [(source, target) for source in sorted(sources)]
    return Dag(
        edges=edges,
        tasks=[draw(st.integers(1, 2)) for _ in range(size)],
        workers=draw(st.integers(1, 4)),
        window=draw(st.sampled_from([1, 2, 5, 64])),
        batch=draw(st.sampled_from([1, 3, 256])),
        seed=draw(st.integers(0, 99)),
        guarantee=draw(st.sampled_from(["", "exactly-once"])),
    )


def run_dag(dag: Dag, folder: Path) -> tuple[dict[int, int], int]:
    """Run a DAG to its end in a random order of moves; returns what each bolt has processed, and the moves."""
    fields: Any = vars(dag)
    parts = Parts()
    seen: Counter[int] = Counter()

    class Source(ReplayableSpout):
        outputs = ["num"]

        def seek(self, partition: str, position: Any) -> None:
            self.at = position or 0

        def next_tuple(self) -> None:
            if self.at >= 30 or self.context["task_index"]:
                self.finish()
                return
            self.at += 1
            self.emit([self.at], position=self.at)

    def bolt_of(number: int) -> type[Bolt]:
        class Three(Bolt):
            outputs = ["num"]

            def process(self, tup: Tuple) -> None:
                seen[number] += 1
                for _ in range(3):
                    self.emit([tup.values.num])

        return Three

    parts.spout("0", Source, fields["tasks"][0])
    for number in range(1, len(fields["tasks"])):
        sources = [str(source) for source, target in fields["edges"] if target == number]
        parts.bolt(str(number), bolt_of(number), fields["tasks"][number], reads=sources)
    config = {"topology_channel_credits": fields["window"], "topology_transfer_batch_size": fields["batch"]}
    if fields["guarantee"]:
        config["topology_guarantee"] = fields["guarantee"]
    rng = random.Random(fields["seed"])
    moves = 0
    with Harness(parts.plan(workers=fields["workers"], **config), folder, checkpoints=True, seed=fields["seed"]) as run:
        while not run.is_finished:
            moves += 1
            assert moves < 40_000, f"stuck: {dag}"
            index = rng.randrange(run.plan.workers)
            for move in (run.deliver, run.turn, run.run_job, run.collect):
                move(index)
            run.clock.now_s += 0.002
            if run.can_checkpoint and (run.is_idle or rng.random() < 0.02):
                run.begin_checkpoint(is_final=run.is_idle)
            for executor in [e for w in run.workers.values() if w.runtime for e in w.runtime.bolts.values()]:
                waiting = Counter[int]()
                for item in executor.backlog:
                    if isinstance(item, InBatch):
                        waiting[item.source] += item.count
                for source, count in waiting.items():
                    assert count <= fields["window"] + 3 * 512, f"task {source} has {count} tuples in flight: {dag}"
    return dict(seen), moves


@settings(max_examples=40)
@given(dag=dags())
def test_a_dag_on_any_placement_with_any_window_finishes_with_everything_processed_once(dag: Dag) -> None:
    with tempfile.TemporaryDirectory() as folder:
        counts, _ = run_dag(dag, Path(folder))
    arriving = Counter({0: 30})
    for source, target in sorted(dag.edges):
        arriving[target] += arriving[source] * (3 if source else 1)
    del arriving[0]
    assert counts == dict(arriving)
