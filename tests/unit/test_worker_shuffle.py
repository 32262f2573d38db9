"""A load-aware shuffle: slow tasks get less, equal ones equally much, and no channel grows without bound (INV-1)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.components import Bolt, Spout
from pystorm.worker.channels import EdgeIds
from pystorm.worker.credits import INITIAL_WINDOW, SLOW_STEPS, Pace
from pystorm.worker.groupings import LoadAwarePick, ShufflePick
from pystorm.worker.outbox import Outbox
from tests.harness import Parts


class Source(Spout):
    outputs = ["num"]

    def next_tuple(self) -> None:
        pass


class Reader(Bolt):
    pass


class Readers:
    """The tasks of a bolt as the outbox of a spout sees them: batches arrive, credit goes back for what is worked off.

    Windows stay what channels start with, INITIAL_WINDOW.
    """

    generation = 1

    def __init__(self, tasks: int, grouping: str = "SHUFFLE", batch: int = 8, **config: Any) -> None:
        parts = Parts()
        parts.spout("s", Source)
        parts.bolt("b", Reader, tasks)
        parts.edge("s", "b", grouping)
        plan = parts.plan(workers=1, **config)
        self.waiting: Counter[int] = Counter()
        self.got: Counter[int] = Counter()
        self.outbox = Outbox(
            plan,
            plan.tasks[1],
            self,
            EdgeIds(),
            is_tracked=False,
            batch_size=batch,
            window=10**6,
            add_edges=self.refuse,
            on_unpackable=self.refuse,
            build_custom=self.refuse,
        )
        self.outbox.open()
        self.tasks = sorted(self.outbox.channels)
        self.paces = {task: Pace() for task in self.tasks}

    def refuse(self, *_: Any) -> None:
        raise AssertionError("not in these tests")

    def send_frame(self, worker: int, frame: bytes) -> None:
        raise AssertionError("nothing leaves the worker")

    def deliver(self, task: int, item: Any) -> None:
        self.waiting[task] += item.count
        self.got[task] += item.count

    def emit(self, rows: int = 1) -> None:
        """One call of user code."""
        for _ in range(rows):
            self.outbox.place([0], None, None, None)

    def emit_while_free(self, rows: int) -> int:
        """Emit one by one until `rows` are out or there is no credit; returns how many."""
        for number in range(rows):
            if self.outbox.blocked:
                return number
            self.emit()
        return rows

    def work(self, task: int, most: int) -> None:
        """A task works off up to `most` tuples in a second."""
        rows = min(most, self.waiting[task])
        if rows:
            self.waiting[task] -= rows
            self.paces[task].on_batch(rows, rows / most)
            self.outbox.add_credit(task, rows, self.paces[task].code)

    def run(self, ticks: int, speed: Callable[[int], int]) -> int:
        """So many ticks; in each the spout emits what it can and each task works off `speed(index)`; the sum."""
        emitted = 0
        for _ in range(ticks):
            emitted += self.emit_while_free(1000)
            self.outbox.flush()
            for index, task in enumerate(self.tasks):
                self.work(task, speed(index))
        return emitted

    @property
    def shares(self) -> list[float]:
        total = sum(self.got.values())
        return [self.got[task] / total for task in self.tasks]


@pytest.mark.parametrize("grouping", ["SHUFFLE", "NONE", "LOCAL_OR_SHUFFLE"])
def test_a_task_that_is_five_times_slower_gets_a_fifth_and_holds_nobody_up(grouping: str) -> None:
    readers = Readers(3, grouping)
    emitted = readers.run(2000, lambda index: 2 if index == 0 else 10)
    slow, *fast = readers.shares
    assert slow == pytest.approx(2 / 22, rel=0.05)
    assert fast == [pytest.approx(10 / 22, rel=0.05)] * 2
    assert emitted > 0.99 * 2000 * 22


def test_without_load_awareness_all_get_equally_much_at_the_pace_of_the_slowest() -> None:
    readers = Readers(3, topology_grouping_load_aware=False)
    emitted = readers.run(2000, lambda index: 2 if index == 0 else 10)
    assert readers.shares == [pytest.approx(1 / 3, rel=0.01)] * 3
    assert emitted < 1.05 * 2000 * 6


@pytest.mark.parametrize("tasks", [2, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_equal_tasks_get_equally_much_within_one_percent_however_their_speed_varies(tasks: int, seed: int) -> None:
    rng = random.Random(seed)
    readers = Readers(tasks)
    readers.run(4000, lambda _: rng.choice([0, 0, 4, 20]))
    assert readers.shares == [pytest.approx(1 / tasks, rel=0.01)] * tasks


def test_tasks_that_are_faster_than_the_spout_take_strict_turns() -> None:
    readers = Readers(4)
    for _ in range(1000):
        readers.emit(5)
        readers.outbox.flush()
        for task in readers.tasks:
            readers.work(task, 100)
    assert max(readers.got.values()) - min(readers.got.values()) <= 1


def test_a_task_that_was_slow_and_is_fast_again_gets_as_much_as_the_others() -> None:
    readers = Readers(2)
    readers.run(1000, lambda index: 1 if index == 0 else 10)
    readers.run(50, lambda _: 10)
    readers.got.clear()
    readers.run(1000, lambda _: 10)
    assert readers.shares == [pytest.approx(1 / 2, rel=0.01)] * 2


def test_one_batch_that_took_long_makes_no_task_slow() -> None:
    pace, usual = Pace(), Pace()
    for number in range(50):
        pace.on_batch(100, 1.0 if number == 30 else 0.001)
        usual.on_batch(100, 0.001)
        assert pace.code <= usual.code + SLOW_STEPS


def test_a_task_that_becomes_five_times_slower_is_slow_within_ten_batches() -> None:
    pace = Pace()
    pace.on_batch(100, 0.001)
    before = pace.code
    for _ in range(10):
        pace.on_batch(100, 0.005)
    assert pace.code > before + SLOW_STEPS


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 30), st.integers(0, 40)), max_size=60))
def test_no_channel_goes_further_below_zero_than_what_one_call_emits(moves: list[tuple[int, int, int]]) -> None:
    readers = Readers(3)
    longest = 1
    for task, rows, worked in moves:
        if not readers.outbox.blocked:
            readers.emit(rows)
            longest = max(longest, rows)
        readers.work(readers.tasks[task], worked)
        for channel in readers.outbox.channels.values():
            assert channel.credit >= -longest


def test_a_task_that_never_works_does_not_collect_what_long_calls_emit() -> None:
    readers = Readers(2)
    stuck, busy = readers.tasks
    readers.paces[stuck].on_batch(1, 10.0)
    readers.outbox.channels[stuck].pace = readers.paces[stuck].code
    for _ in range(500):
        if not readers.outbox.blocked:
            readers.emit(50)
        readers.work(busy, 60)
    assert readers.got[busy] > 10_000
    assert readers.waiting[stuck] <= INITIAL_WINDOW + 50


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 20), st.integers(0, 40)), max_size=60))
def test_only_slow_tasks_without_credit_are_passed_over(events: list[tuple[int, int, int]]) -> None:
    readers = Readers(4)
    [pick] = readers.outbox.streams["default"].picks
    assert isinstance(pick, LoadAwarePick)
    channels = readers.outbox.channels
    for index, credit, pace in events:
        channel = channels[readers.tasks[index]]
        channel.pace = pace or channel.pace
        readers.outbox._set_credit(channel, credit)
        fastest = min((channel.pace for channel in channels.values() if channel.pace), default=0)
        without = [channel for channel in channels.values() if channel.credit <= 0]
        slow = [channel for channel in without if channel.pace > fastest + SLOW_STEPS]
        turns = [buffer.channel for _ in range(12) for buffer in pick([0])]
        if without:
            assert set(turns) == set(channels.values()) - set(slow)
            assert bool(readers.outbox.blocked) == (slow != without)
        else:
            assert set(turns) == set(channels.values())
            assert not readers.outbox.blocked


def test_a_reader_that_cannot_be_passed_over_stops_the_task() -> None:
    """Two bolts: one is shuffled and has credit left, the other is grouped ALL and has none."""
    parts = Parts()
    parts.spout("s", Source)
    parts.bolt("b", Reader, 2)
    parts.bolt("c", Reader, 1)
    parts.edge("s", "b", "SHUFFLE")
    parts.edge("s", "c", "ALL")
    readers = Readers(2)
    plan = parts.plan(workers=1)
    outbox = Outbox(
        plan, plan.tasks[1], readers, EdgeIds(), is_tracked=False, batch_size=4, window=100,
        add_edges=readers.refuse, on_unpackable=readers.refuse, build_custom=readers.refuse,
    )  # fmt: skip
    outbox.open()
    [all_task] = [task.id for task in plan.tasks_of["c"]]
    emitted = 0
    while not outbox.blocked:
        assert emitted < 100
        outbox.place([0], None, None, None)
        emitted += 1
    assert emitted == INITIAL_WINDOW
    assert outbox.blocked == {outbox.channels[all_task]}
    outbox.add_credit(all_task, 1)
    assert not outbox.blocked


def test_a_bolt_with_one_task_needs_no_load_awareness() -> None:
    readers = Readers(1)
    [pick] = readers.outbox.streams["default"].picks
    assert type(pick) is ShufflePick
    assert readers.emit_while_free(100) == INITIAL_WINDOW
