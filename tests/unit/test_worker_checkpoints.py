"""Checkpoints, rollbacks and releases through whole topologies: INV-5 to INV-9.

The counts that a crash may not change are compared with plain Python's, for a crash at every single step of a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pystorm.components import Bolt, ReplayableSpout, Tuple
from pystorm.errors import TopologyFailed
from pystorm.state.keyvalue import KeyValueState
from tests.harness import Feeder, Harness, Parts

Start = Callable[..., Harness]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts topologies with checkpoints; ends them afterwards."""
    running: list[Harness] = []

    def start(parts: Parts, *, workers: int | None = None, **config: Any) -> Harness:
        harness = Harness(parts.plan(workers=workers, **config), tmp_path, checkpoints=True)
        running.append(harness.__enter__())
        harness.settle()
        return harness

    yield start
    for harness in running:
        harness.__exit__()


class Numbers(ReplayableSpout):
    """0, 1, 2, ... up to `end`; a position is how many were sent."""

    outputs = ["num"]
    end = 60

    def initialize(self, conf: Any, context: Any) -> None:
        self.released: list[Any] = []

    def seek(self, partition: str, position: Any) -> None:
        self.at = position or 0

    def next_tuple(self) -> None:
        if self.at >= self.end:
            self.finish()
            return
        self.at += 1
        self.emit([self.at - 1], position=self.at)

    def committed(self, partition: str, position: Any) -> None:
        self.released.append(position)


class Split(Bolt):
    """One tuple for each residue."""

    outputs = ["key", "num"]

    def process(self, tup: Tuple) -> None:
        for base in (2, 3):
            self.emit([f"{base}:{tup.values.num % base}", tup.values.num])


class Count(Bolt):
    counts: KeyValueState[str, int] = KeyValueState()

    def process(self, tup: Tuple) -> None:
        self.counts[tup.values.key] = self.counts.get(tup.values.key, 0) + 1


class Hoard(Count):
    """Acks what it holds only when it has seven tuples; counts when it acks."""

    auto_ack = False

    def initialize(self, conf: Any, context: Any) -> None:
        self.held: list[Tuple] = []

    def process(self, tup: Tuple) -> None:
        self.held.append(tup)
        if len(self.held) == 7 or tup.values.num == Numbers.end - 1:
            for held in self.held:
                self.counts[held.values.key] = self.counts.get(held.values.key, 0) + 1
                self.ack(held)
            self.held = []


EXPECTED = Counter(f"{base}:{num % base}" for num in range(Numbers.end) for base in (2, 3))


def counting() -> Parts:
    parts = Parts()
    parts.spout("numbers", Numbers)
    parts.bolt("split", Split, 2, reads=["numbers"])
    parts.bolt("count", Count, 2, reads=[("split", "FIELDS", ["key"])])
    return parts


class Paced(Numbers):
    """Sends as far as a test lets it."""

    available = 0

    def next_tuple(self) -> None:
        if self.at < self.available:
            super().next_tuple()


def hoarding(spout: type[Paced]) -> Parts:
    """One task each, so that the last number comes last."""
    parts = Parts()
    parts.spout("numbers", spout)
    parts.bolt("split", Split, reads=["numbers"])
    parts.bolt("count", Hoard, reads=[("split", "FIELDS", ["key"])])
    return parts


@pytest.mark.parametrize("guarantee", ["at-most-once", "at-least-once", "exactly-once"])
@pytest.mark.parametrize("workers", [None, 1, 2])
def test_without_failures_every_guarantee_counts_right(start: Start, guarantee: str, workers: int | None) -> None:
    h = start(counting(), workers=workers, topology_guarantee=guarantee)
    h.run()
    assert h.state("count", "counts") == EXPECTED


def crash_at(h: Harness, step: int, *, checkpoint_every: int) -> int:
    """Run to the end with one crash of a worker after `step` moves; returns the number of moves."""
    moves = 0
    while not h.is_finished:
        assert moves < 5000, "never finished"
        moved = False
        for index in range(h.plan.workers):
            for move in (h.deliver, h.turn, h.run_job, h.collect):
                moved = move(index) or moved
                moves += 1
                if moves == step:
                    h.kill(step % h.plan.workers)
        if h.can_checkpoint and h.is_idle:
            h.begin_checkpoint(is_final=True)
        elif h.can_checkpoint and moves % checkpoint_every == 0:
            h.begin_checkpoint()
        if not moved:
            h.clock.now_s += 0.005
    return moves


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_crash_at_any_step_changes_no_exact_count_and_loses_none(
    tmp_path: Path, guarantee: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Numbers, "end", 24)
    expected = Counter(f"{base}:{num % base}" for num in range(24) for base in (2, 3))
    config = {"topology_guarantee": guarantee, "topology_transfer_batch_size": 4, "topology_channel_credits": 8}

    def run(step: int) -> tuple[dict[Any, Any], int]:
        plan = counting().plan(workers=workers, **config)
        with Harness(plan, tmp_path, checkpoints=True, seed=step) as h:
            moves = crash_at(h, step, checkpoint_every=workers * 4 * 3)
            assert len(h.reasons) == (1 if step <= moves else 0)
            return h.state("count", "counts"), moves

    _, total = run(10_000)
    for step in range(1, total + 1):
        found, _ = run(step)
        if guarantee == "exactly-once":
            assert found == expected, f"crash at step {step}"
        else:
            assert not expected - Counter(found), f"crash at step {step} lost something"


def test_a_crash_between_the_commit_and_its_move_keeps_the_checkpoint(start: Start) -> None:
    h = start(counting(), topology_guarantee="exactly-once")
    h.begin_checkpoint()
    while h.committed != [1]:
        for index in range(h.plan.workers):
            h.deliver(index)
            h.turn(index)
            h.run_job(index)
            h.collect(index)
    before = h.state("count", "counts")
    assert before
    h.restart()
    assert h.state("count", "counts") == before
    h.run()
    assert h.state("count", "counts") == EXPECTED


def test_what_was_prepared_and_not_committed_is_never_seen(start: Start) -> None:
    h = start(counting(), workers=2, topology_guarantee="exactly-once")
    h.begin_checkpoint()
    for _ in range(20):  # everything but the controller's ear: the commit cannot come
        for index in range(2):
            h.deliver(index)
            h.turn(index)
            h.run_job(index)
    assert h.backend.data["t"].prepared
    h.restart()
    assert not h.backend.data["t"].prepared
    assert h.state("count", "counts") == {}


def test_a_finished_run_resumes_at_its_end(start: Start) -> None:
    h = start(counting(), topology_guarantee="exactly-once")
    h.run()
    h.is_finished = False
    h.restart()
    h.run()
    assert h.state("count", "counts") == EXPECTED


def test_tuples_that_a_bolt_holds_come_back_after_a_rollback(start: Start) -> None:
    class Mine(Paced):
        available = 10

    h = start(hoarding(Mine), topology_guarantee="exactly-once")
    h.checkpoint()
    held = [tup.values for tup in h.instance("count").held]
    assert len(held) == 6
    h.kill(2)
    for index in range(3):
        h.deliver(index)
        h.collect(index)
    h.deliver(2)
    assert [tup.values for tup in h.instance("count").held] == held
    Mine.available = 61
    h.run()
    assert h.state("count", "counts") == EXPECTED


def test_held_tuples_of_a_rollback_survive_the_next_rollback_too(start: Start) -> None:
    class Mine(Paced):
        available = 10

    h = start(hoarding(Mine), topology_guarantee="exactly-once")
    for _ in range(4):
        h.checkpoint()
        h.kill(2)
        Mine.available += 2
    Mine.available = 61
    h.run()
    assert h.state("count", "counts") == EXPECTED


def test_a_run_does_not_end_while_a_redelivered_tuple_is_open(start: Start) -> None:
    class HoldOne(Bolt):
        auto_ack = False

        def initialize(self, conf: Any, context: Any) -> None:
            self.held: list[Tuple] = []

        def process(self, tup: Tuple) -> None:
            if tup.values.num == 0:
                self.held.append(tup)
            else:
                self.ack(tup)

    parts = Parts()
    parts.spout("numbers", Numbers)
    parts.bolt("hold", HoldOne, reads=["numbers"])
    h = start(parts, topology_guarantee="exactly-once")
    h.checkpoint()
    h.kill(1)
    h.advance(1)
    assert [tup.values.num for tup in h.instance("hold").held] == [0]
    assert not h.is_idle
    hold = h.instance("hold")
    hold.ack(hold.held[0])
    h.run()


# -- alignment --------------------------------------------------------------------------------------------------------


class Trickle(Feeder, ReplayableSpout):
    """Sends what a test feeds it; positions count."""

    at = 0

    def seek(self, partition: str, position: Any) -> None:
        self.at = position or 0

    def next_tuple(self) -> None:
        if self.waiting:
            values, _ = self.waiting.popleft()
            self.at += 1
            ReplayableSpout.emit(self, values, position=self.at)


class Remember(Bolt):
    seen: KeyValueState[int, bool] = KeyValueState()

    def process(self, tup: Tuple) -> None:
        self.seen[tup.values.num] = True


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_only_exactly_once_holds_the_channel_that_is_ahead(start: Start, guarantee: str) -> None:
    parts = Parts()
    parts.spout("fast", Trickle)
    parts.spout("slow", Trickle)
    parts.bolt("both", Remember, reads=["fast", "slow"])
    h = start(parts, topology_guarantee=guarantee)
    h.begin_checkpoint()
    h.deliver(0)  # the barrier of the fast spout; the slow one has not heard of the checkpoint
    h.instance("fast").feed(1)
    for _ in range(5):
        h.clock.now_s += 0.02
        h.turn(0)
        h.turn(2)
    seen = dict(h.instance("both").seen)
    assert seen == ({} if guarantee == "exactly-once" else {1: True})
    h.instance("slow").feed(2)
    for _ in range(5):
        h.clock.now_s += 0.02
        h.turn(1)
        h.turn(2)
    assert 2 in h.instance("both").seen, "the channel that is behind goes on"
    h.settle()
    assert h.committed == [1]
    assert h.state("both", "seen") == ({2: True} if guarantee == "exactly-once" else {1: True, 2: True})
    assert dict(h.instance("both").seen) == {1: True, 2: True}, "what was held is processed after the cut"


def test_what_was_held_keeps_its_place_in_its_channel(start: Start) -> None:
    order: list[int] = []

    class Order(Bolt):
        def process(self, tup: Tuple) -> None:
            order.append(tup.values.num)

    parts = Parts()
    parts.spout("fast", Trickle)
    parts.spout("slow", Trickle)
    parts.bolt("both", Order, reads=["fast", "slow"])
    h = start(parts, topology_guarantee="exactly-once")

    def send(number: int) -> None:
        h.instance("fast").feed(number)
        h.clock.now_s += 0.02
        h.turn(0)
        h.turn(0)

    h.begin_checkpoint()
    h.deliver(0)
    for number in range(3):
        send(number)
    h.turn(2)
    assert order == []
    h.deliver(1)  # the barrier that is missing
    for number in range(3, 9):
        send(number)
    h.settle()
    assert h.committed == [1]
    assert order == list(range(9))


# -- INV-9: releases --------------------------------------------------------------------------------------------------


def test_a_message_is_released_only_by_a_checkpoint_whose_barrier_followed_its_completion(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Remember, reads=["1"])
    h = start(parts)
    spout = h.instance("1")
    h.feed("1", 1, id="a")
    assert len(h.executors("1")[0].ledger) == 0, "the tree is complete"
    assert spout.acked == []
    h.begin_checkpoint()
    h.deliver(0)  # the barrier is out
    spout.feed(2, id="b")
    for _ in range(3):
        h.clock.now_s += 0.02
        h.turn(0)
        h.turn(1)
    h.settle()
    assert h.committed == [1]
    assert spout.acked == ["a"], "b completed too, but after the barrier"
    h.checkpoint()
    assert spout.acked == ["a", "b"]


def test_a_checkpoint_that_is_not_committed_releases_nothing_and_a_rollback_fails_its_messages(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Remember, reads=["1"])
    h = start(parts)
    spout = h.instance("1")
    h.feed("1", 1, id="a")
    h.begin_checkpoint()
    for index in (0, 1):
        h.deliver(index)
        h.turn(index)
        h.run_job(index)
    h.kill(1)
    h.settle()
    assert spout.acked == []
    assert spout.failed == [("a", "worker 1 died")]


def test_a_source_is_told_of_a_position_once_it_is_committed(start: Start) -> None:
    h = start(counting(), topology_guarantee="exactly-once")
    spout = h.instance("numbers")
    assert spout.released == []
    h.checkpoint()
    assert spout.released == [60]
    assert h.record is not None
    assert h.record.positions == {"numbers": {"": 60}}


# -- failures ---------------------------------------------------------------------------------------------------------


class FailsOnce(Bolt):
    """Refuses number 30 the first time that anybody sees it."""

    outputs = ["num"]
    refused = 0

    def process(self, tup: Tuple) -> None:
        if tup.values.num == 30 and not type(self).refused:
            type(self).refused += 1
            raise ValueError("not now")
        self.emit([tup.values.num])


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_failed_tuple_is_sent_again_alone_or_takes_everything_back(start: Start, guarantee: str) -> None:
    class Once(FailsOnce):
        refused = 0

    seen: list[int] = []

    class Sink(Bolt):
        def process(self, tup: Tuple) -> None:
            seen.append(tup.values.num)

    parts = Parts()
    parts.spout("numbers", Numbers)
    parts.bolt("once", Once, reads=["numbers"])
    parts.bolt("sink", Sink, reads=["once"])
    h = start(parts, topology_guarantee=guarantee)
    h.run()
    assert Once.refused == 1
    if guarantee == "at-least-once":
        assert sorted(seen) == list(range(60)), "no other tuple was repeated"
        assert h.reasons == []
    else:
        assert set(seen) == set(range(60))
        [reason] = h.reasons
        assert "component 'once': ValueError: not now" in reason


def test_a_message_that_fails_for_ever_ends_the_run_with_the_message(start: Start) -> None:
    class Never(Bolt):
        def process(self, tup: Tuple) -> None:
            if tup.values.num == 5:
                raise ValueError("never")

    parts = Parts()
    parts.spout("numbers", Numbers)
    parts.bolt("never", Never, reads=["numbers"])
    h = start(parts, topology_spout_max_fails=3)
    with pytest.raises(TopologyFailed, match=r"spout 'numbers': the message \[5\].*position 6.*failed 4 times.*never"):
        h.run()


def test_open_messages_of_a_checkpoint_are_sent_again_after_a_crash_although_the_position_is_past_them(
    start: Start,
) -> None:
    seen: list[int] = []

    class Keep(Bolt):
        auto_ack = False

        def process(self, tup: Tuple) -> None:
            seen.append(tup.values.num)

    parts = Parts()
    parts.spout("numbers", Numbers)
    parts.bolt("keep", Keep, reads=["numbers"])
    h = start(parts, topology_guarantee="at-least-once", topology_max_spout_pending=3)
    h.checkpoint()
    assert h.record is not None
    assert h.record.positions == {"numbers": {"": 3}}
    h.kill(0, 1)
    h.advance(0.1)
    assert seen == [0, 1, 2, 0, 1, 2]


def test_news_of_an_old_generation_is_dropped_on_sight(start: Start) -> None:
    """A zombie's frame with the header of a past generation changes nothing."""
    from pystorm.worker import wire

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Remember, reads=["1"])
    h = start(parts)
    h.kill(1)
    h.settle()
    live = h.workers[1].runtime
    header = wire.pack_header(wire.VERSION, wire.PLAIN, h.generation - 1, 1, 2, 0, 1)
    live._on_frame(header + wire.pack_rows([99]))
    h.settle()
    assert live.dropped_frames == 1
    assert dict(h.instance("2").seen) == {}
    header = wire.pack_header(wire.VERSION, wire.PLAIN, h.generation, 1, 2, 0, 1)
    live._on_frame(header + wire.pack_rows([99]))
    h.settle()
    assert dict(h.instance("2").seen) == {99: True}


def test_a_stale_worker_cannot_write(start: Start) -> None:
    h = start(counting(), workers=1, topology_guarantee="exactly-once")
    h.begin_checkpoint()
    h.deliver(0)
    h.turn(0)
    h._store.acquire(["0"])  # somebody else has taken over
    for _ in range(5):
        h.turn(0)
        h.run_job(0)
    told = list(h.workers[0].line.to_controller)
    assert "stale" in [message["type"] for message in told]
    prepared = {message["component"] for message in told if message["type"] == "prepared"}
    assert "count" not in prepared
    assert not h.backend.data["t"].prepared
