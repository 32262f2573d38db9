"""Batching bolts: when groups are processed, what becomes of their tuples, and whose state they write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pystorm.components import BatchingBolt, Bolt, ReplayableSpout, TicklessBatchingBolt, Tuple
from pystorm.errors import ComponentError, TopologyError
from pystorm.state.keyvalue import KeyValueState
from pystorm.topology.keygroups import key_group, task_index_of
from pystorm.topology.loading import load_checked
from tests.harness import Feeder, Harness, Parts

Start = Callable[..., Harness]


class Numbers(ReplayableSpout):
    """0, 1, 2, ... up to `count`."""

    outputs = ["num"]

    def __init__(self, count: int) -> None:
        self.count = count

    def seek(self, partition: str, position: Any) -> None:
        self.next = position or 0

    def next_tuple(self) -> None:
        if self.next >= self.count:
            self.finish()
            return
        self.next += 1
        self.emit([self.next - 1], position=self.next)


class Collect(BatchingBolt):
    """Notes its batches, and emits their sums."""

    outputs = ["num"]

    def initialize(self, conf: Any, context: Any) -> None:
        self.batches: list[tuple[Any, list[int]]] = []

    def process_batch(self, key: Any, tups: list[Tuple]) -> None:
        numbers = [tup.values.num for tup in tups]
        self.batches.append((key, numbers))
        self.emit([sum(numbers)])


class Sink(Bolt):
    def initialize(self, conf: Any, context: Any) -> None:
        self.seen: list[int] = []

    def process(self, tup: Tuple) -> None:
        self.seen.append(tup.values.num)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    opened: list[Harness] = []

    def begin(parts: Parts, *, workers: int = 2, checkpoints: bool = False, **config: Any) -> Harness:
        harness = Harness(parts.plan(workers=workers, **config), tmp_path, checkpoints=checkpoints)
        opened.append(harness)
        harness.__enter__()
        harness.settle()
        return harness

    yield begin
    for harness in opened:
        harness.__exit__(None, None, None)


def batching(cls: type[BatchingBolt], config: dict[str, Any] | None = None, *, grouping: Any = "src") -> Parts:
    parts = Parts()
    parts.spout("src", Feeder)
    parts.bolt("batch", cls, reads=[grouping], config=config or {})
    parts.bolt("sink", Sink, reads=["batch"])
    return parts


def feed(h: Harness, *numbers: int) -> None:
    for number in numbers:
        h.feed("src", number, id=number)


# -- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ticks", "due_s"), [(1, 2), (3, 6)])
def test_a_batch_is_processed_at_its_tick_and_not_one_later(start: Start, ticks: int, due_s: int) -> None:
    cls = type("Ticks", (Collect,), {"ticks_between_batches": ticks})
    h = start(batching(cls, {"topology.tick.tuple.freq.secs": 2}))
    feed(h, 1, 2, 3)
    h.advance(due_s - 0.3)
    assert h.instance("batch").batches == []
    assert h.instance("src").acked == []
    h.advance(0.4)
    assert h.instance("batch").batches == [(None, [1, 2, 3])]
    assert h.instance("sink").seen == [6]
    assert sorted(h.instance("src").acked) == [1, 2, 3]


def test_without_any_setting_a_batch_waits_a_second_at_the_most(start: Start) -> None:
    h = start(batching(Collect))
    feed(h, 1, 2)
    h.advance(1.1)
    assert h.instance("batch").batches == [(None, [1, 2])]
    h.advance(3)
    assert len(h.instance("batch").batches) == 1


def test_by_time_a_batch_is_due_that_long_after_its_first_tuple(start: Start) -> None:
    class Timed(TicklessBatchingBolt, Collect):
        pass

    h = start(batching(Timed))
    h.advance(1.9)
    feed(h, 1)
    h.advance(1.5)
    feed(h, 2)
    assert h.instance("batch").batches == []
    h.advance(0.6)
    assert h.instance("batch").batches == [(None, [1, 2])]
    feed(h, 3)
    h.advance(1.8)
    assert len(h.instance("batch").batches) == 1
    h.advance(0.4)
    assert h.instance("batch").batches[1:] == [(None, [3])]


def test_by_time_ticks_come_and_start_no_batches(start: Start) -> None:
    class Timed(Collect):
        secs_between_batches = 5
        ticks = 0

        def process_tick(self, tup: Tuple) -> None:
            self.ticks += 1
            super().process_tick(tup)

    h = start(batching(Timed, {"topology.tick.tuple.freq.secs": 1}))
    feed(h, 1)
    h.advance(4.5)
    assert (h.instance("batch").ticks, h.instance("batch").batches) == (4, [])
    h.advance(0.6)
    assert h.instance("batch").batches == [(None, [1])]


def test_a_bolt_may_start_its_batches_itself(start: Start) -> None:
    class Eager(Collect):
        def process(self, tup: Tuple) -> None:
            super().process(tup)
            if tup.values.num == 3:
                self.process_batches()
                self.emit([-1], anchors=[])

    h = start(batching(Eager))
    feed(h, 1, 2, 3, 4)
    assert h.instance("batch").batches == [(None, [1, 2, 3])]
    assert sorted(h.instance("src").acked) == [1, 2, 3]
    assert sorted(h.instance("sink").seen) == [-1, 6]


def test_a_barrier_finds_no_batch_waiting(start: Start) -> None:
    class Counts(Collect):
        secs_between_batches = 3600
        sums = KeyValueState()

        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            super().process_batch(key, tups)
            self.sums["all"] = self.sums.get("all", 0) + sum(tup.values.num for tup in tups)

    h = start(batching(Counts), checkpoints=True)
    feed(h, 1, 2, 3)
    h.checkpoint()
    assert h.state("batch", "sums") == {"all": 6}
    assert h.executors("batch")[0].inflight == {}
    assert h.instance("sink").seen == [6]


@pytest.mark.parametrize("guarantee", ["at-most-once", "at-least-once", "exactly-once"])
@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_run_ends_with_every_tuple_in_a_batch(start: Start, guarantee: str, checkpoints: bool) -> None:
    class Remember(BatchingBolt):
        seen = KeyValueState()

        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            for tup in tups:
                self.seen[tup.values.num] = self.seen.get(tup.values.num, 0) + 1
            books.append([tup.values.num for tup in tups])

    books: list[list[int]] = []
    parts = Parts()
    parts.spout("src", Numbers, args={"count": 500})
    parts.bolt("batch", Remember, 2, reads=["src"])
    h = start(parts, workers=3, checkpoints=checkpoints, topology_guarantee=guarantee)
    h.run()
    assert sorted(number for book in books for number in book) == list(range(500))
    if checkpoints:
        assert h.state("batch", "seen") == dict.fromkeys(range(500), 1)


def test_tuples_that_wait_for_their_batch_do_not_time_out(start: Start) -> None:
    cls = type("Patient", (Collect,), {"secs_between_batches": 10})
    h = start(batching(cls), topology_message_timeout_secs=1)
    feed(h, 1, 2)
    h.advance(9)
    assert h.instance("src").failed == []
    h.advance(1.1)
    assert sorted(h.instance("src").acked) == [1, 2]


def test_after_the_input_has_ended_groups_wait_only_for_what_is_on_its_way(start: Start) -> None:
    cls = type("Patient", (Collect,), {"secs_between_batches": 3600})
    h = start(batching(cls))
    feed(h, 1, 2)
    h.tell({"type": "dry"})
    h.settle()
    assert h.instance("batch").batches == [(None, [1, 2])]
    feed(h, 3)
    h.settle()
    assert h.instance("batch").batches == [(None, [1, 2]), (None, [3])]


# -- groups and their tuples ------------------------------------------------------------------------------------------


class Parity(Collect):
    """Groups by the number's parity."""

    secs_between_batches = 1

    def group_key(self, tup: Tuple) -> Any:
        return tup.values.num % 2


def test_groups_are_processed_apart_and_in_order(start: Start) -> None:
    h = start(batching(Parity))
    feed(h, 1, 2, 3, 4, 5)
    h.advance(1.1)
    assert h.instance("batch").batches == [(1, [1, 3, 5]), (0, [2, 4])]


def test_what_a_batch_emits_hangs_on_all_its_tuples(start: Start) -> None:
    class Hold(Bolt):
        auto_ack = False

        def initialize(self, conf: Any, context: Any) -> None:
            self.held: list[Tuple] = []

        def process(self, tup: Tuple) -> None:
            self.held.append(tup)

    parts = Parts()
    parts.spout("src", Feeder)
    parts.bolt("batch", Parity, reads=["src"])
    parts.bolt("hold", Hold, reads=["batch"])
    h = start(parts, workers=3)
    feed(h, 1, 2, 3, 4)
    h.advance(1.1)
    odd, even = h.instance("hold").held
    assert (odd.values.num, even.values.num) == (4, 6)
    assert h.instance("src").acked == []
    h.instance("hold").ack(odd)
    h.advance(0.1)
    assert sorted(h.instance("src").take_acked()) == [1, 3]
    h.instance("hold").fail(even, "no")
    h.advance(0.1)
    assert sorted(h.instance("src").failed) == [(2, "no"), (4, "no")]


def test_a_batch_that_raises_fails_its_own_tuples_and_no_others(start: Start) -> None:
    class Half(Parity):
        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            super().process_batch(key, tups)
            if key:
                raise ValueError("odd")

    h = start(batching(Half))
    feed(h, 1, 2, 3, 4)
    h.advance(1.1)
    assert sorted(h.instance("src").acked) == [2, 4]
    assert sorted(number for number, _ in h.instance("src").failed) == [1, 3]
    assert {reason.partition(" (at")[0] for _, reason in h.instance("src").failed} == {
        "component 'batch': ValueError: odd"
    }
    assert len(h.errors) == 1
    assert "with tuple Values_default(num=1) from 'src'" in h.errors[0]


def test_without_auto_fail_the_tuples_of_a_batch_that_raises_stay_open(start: Start) -> None:
    class Silent(Collect):
        auto_fail = False

        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            raise ValueError("no")

    h = start(batching(Silent), topology_message_timeout_secs=5)
    feed(h, 1)
    h.advance(3)
    assert (h.instance("src").acked, h.instance("src").failed) == ([], [])
    h.advance(5)
    assert h.instance("src").failed[0][1].startswith("timed out after 5 s")


def test_an_exception_of_group_key_fails_that_tuple_alone(start: Start) -> None:
    class Picky(Collect):
        def group_key(self, tup: Tuple) -> Any:
            return 1 // tup.values.num

    h = start(batching(Picky))
    feed(h, 0, 2)
    h.advance(1.1)
    assert h.instance("src").acked == [2]
    assert "ZeroDivisionError" in h.instance("src").failed[0][1]


def test_dead_letters_of_a_batch_are_one_for_each_tuple(start: Start) -> None:
    class Fails(Collect):
        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            raise ValueError("no")

    class Letters(Bolt):
        def initialize(self, conf: Any, context: Any) -> None:
            self.seen: list[Any] = []

        def process(self, tup: Tuple) -> None:
            self.seen.append((tup.values.error, tup.values.values, "in process_batch" in tup.values.traceback))

    parts = Parts()
    parts.spout("src", Feeder)
    parts.bolt("batch", Fails, reads=["src"])
    parts.bolt("letters", Letters, reads=[("batch", "SHUFFLE", [], "dead_letter")])
    h = start(parts, topology_bolt_on_error="dead-letter")
    feed(h, 1, 2)
    h.advance(1.1)
    assert h.instance("letters").seen == [("ValueError: no", [1], True), ("ValueError: no", [2], True)]
    assert sorted(h.instance("src").acked) == [1, 2]


def test_by_hand_tuples_are_acked_one_by_one_while_the_batch_runs(start: Start) -> None:
    class Manual(Collect):
        auto_ack = False

        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            for tup in tups:
                self.emit([tup.values.num])
                if tup.values.num != 2:
                    self.ack(tup)
            self.kept = tups[1]

    h = start(batching(Manual))
    feed(h, 1, 2, 3)
    h.advance(1.1)
    assert sorted(h.instance("src").acked) == [1, 3]
    h.instance("batch").ack(h.instance("batch").kept)
    h.advance(0.1)
    assert sorted(h.instance("src").acked) == [1, 2, 3]
    assert sorted(h.instance("sink").seen) == [1, 2, 3]


@pytest.mark.parametrize(
    ("attributes", "call", "complaint"),
    [
        ({}, lambda bolt, tups: bolt.ack(tups[0]), "ack called although auto_ack is on"),
        ({"auto_ack": False}, lambda bolt, tups: [bolt.ack(tups[0]), bolt.ack(tups[0])], "acked tuple .* before"),
        (
            {"auto_ack": False},
            lambda bolt, tups: [bolt.emit([1]), bolt.ack(tups[0]), bolt.emit([1])],
            "anchored to tuple .* before",
        ),
        ({}, lambda bolt, tups: [bolt.fail(tups[0]), bolt.emit([1], anchors=tups)], "anchored to tuple .* before"),
    ],
)
def test_misuse_inside_a_batch_is_an_error_that_names_the_tuple(
    start: Start, attributes: dict[str, Any], call: Any, complaint: str
) -> None:
    caught: list[str] = []

    def process_batch(self: Any, key: Any, tups: list[Tuple]) -> None:
        with pytest.raises(ComponentError, match=complaint) as error:
            call(self, tups)
        caught.append(str(error.value))

    cls = type("Wrong", (Collect,), {**attributes, "process_batch": process_batch})
    h = start(batching(cls))
    feed(h, 1)
    h.advance(1.1)
    assert "component 'batch'" in caught[0]


def test_a_bolt_may_change_the_list_that_it_is_given(start: Start) -> None:
    class Greedy(Collect):
        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            while tups:
                self.emit([tups.pop().values.num])

    h = start(batching(Greedy))
    feed(h, 1, 2)
    h.advance(1.1)
    assert h.instance("sink").seen == [2, 1]
    assert sorted(h.instance("src").acked) == [1, 2]


def test_a_subclass_with_an_init_of_its_own_need_not_call_super() -> None:
    class Own(BatchingBolt):
        def __init__(self, size: int) -> None:
            self.size = size

        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            self.done = key, len(tups)

    bolt = Own(size=3)
    for _ in range(bolt.size):
        bolt.process(Tuple(1, "a", "default", 1, ()))
    bolt.process_batches()
    assert bolt.done == (None, 3)


def test_a_bolt_without_process_batch_says_what_is_missing() -> None:
    bolt = BatchingBolt()
    bolt.process(Tuple(1, "a", "default", 1, ()))
    with pytest.raises(NotImplementedError, match=r"BatchingBolt must define process_batch\(key, tups\)"):
        bolt.process_batches()


def test_validation_asks_for_process_batch_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "lazy.py").write_text(
        "from pystorm import BatchingBolt, Spout\n\n\nclass Lazy(BatchingBolt):\n    pass\n\n\n"
        "class Source(Spout):\n    outputs = ['num']\n\n    def next_tuple(self):\n        pass\n"
    )
    (tmp_path / "lazy.yaml").write_text(
        "name: lazy\nspouts: [{id: src, className: lazy.Source}]\nbolts: [{id: batch, className: lazy.Lazy}]\n"
        "streams: [{from: src, to: batch, grouping: shuffle}]\n"
    )
    with pytest.raises(TopologyError, match=r"Lazy does not define process_batch; add `def process_batch\(self, key"):
        load_checked(tmp_path / "lazy.yaml")


# -- state ------------------------------------------------------------------------------------------------------------


class Tally(BatchingBolt):
    """Counts numbers, all keys of a task in one group."""

    counts = KeyValueState()

    def process_batch(self, key: Any, tups: list[Tuple]) -> None:
        for tup in tups:
            self.counts[tup.values.num] = self.counts.get(tup.values.num, 0) + 1


def keyed(cls: type[BatchingBolt], tasks: int, count: int = 300) -> Parts:
    parts = Parts()
    parts.spout("src", Numbers, args={"count": count})
    parts.bolt("batch", cls, tasks, reads=[("src", "FIELDS", ["num"])])
    return parts


def test_state_written_under_the_grouping_key_is_right_though_a_group_mixes_keys(tmp_path: Path, start: Start) -> None:
    h = start(keyed(Tally, 2), checkpoints=True, topology_guarantee="exactly-once")
    h.run()
    backend = h.backend
    assert h.state("batch", "counts") == dict.fromkeys(range(300), 1)
    # with another number of tasks every task finds its own keys: they are in the key groups that their tuples go to
    again = Harness(keyed(Tally, 5, 600).plan(workers=2, topology_guarantee="exactly-once"), tmp_path, backend=backend,
                    checkpoints=True)  # fmt: skip
    with again as other:
        other.settle()
        held = [set(other.instance("batch", index).counts) for index in range(5)]
        for index, keys in enumerate(held):
            assert {task_index_of(key_group([key], 128), 5, 128) for key in keys} == {index}
        other.run()
        assert other.state("batch", "counts") == dict.fromkeys(range(600), 1)


def test_groups_of_one_key_may_write_any_key(start: Start) -> None:
    class Pairs(BatchingBolt):
        pairs = KeyValueState()

        def group_key(self, tup: Tuple) -> Any:
            return tup.values.num

        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            self.pairs["of", key] = len(tups)

    h = start(keyed(Pairs, 2, 50), checkpoints=True)
    h.run()
    assert h.state("batch", "pairs") == {("of", number): 1 for number in range(50)}


def test_another_key_in_a_group_that_mixes_keys_fails_the_batch_and_says_what_to_do(start: Start) -> None:
    class Odd(Tally):
        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            self.counts["total"] = len(tups)

    h = start(keyed(Odd, 1, 50))
    h.advance(1.1)
    assert "state 'counts': key 'total' was written in a batch whose tuples belong to several key groups" in h.errors[0]
    assert "let group_key return the grouping field" in h.errors[0]


def test_what_was_written_before_a_mixed_batch_raises_keeps_its_owner(start: Start) -> None:
    class Once(Tally):
        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            super().process_batch(key, tups)
            if not raised:
                raised.append(1)
                raise ValueError("once")

    raised: list[int] = []
    h = start(keyed(Once, 1, 50), checkpoints=True)
    h.run()
    assert h.state("batch", "counts") == dict.fromkeys(range(50), 2)


def test_after_a_worker_died_every_number_is_in_state_once(start: Start) -> None:
    class Slow(Tally):
        secs_between_batches = 0.05

    h = start(keyed(Slow, 2, 2000), checkpoints=True, topology_guarantee="exactly-once", workers=3,
              topology_max_spout_pending=100)  # fmt: skip
    h.advance(0.1, 0.01)
    h.checkpoint()
    h.advance(0.1, 0.01)
    h.kill(1)
    h.run()
    assert h.state("batch", "counts") == dict.fromkeys(range(2000), 1)


def test_tuples_that_a_checkpoint_kept_are_batched_again(start: Start) -> None:
    class Manual(BatchingBolt):
        auto_ack = False
        secs_between_batches = 0.5
        seen = KeyValueState()

        def initialize(self, conf: Any, context: Any) -> None:
            self.calls = 0

        def process_batch(self, key: Any, tups: list[Tuple]) -> None:
            self.calls += 1
            if self.calls == 1:
                self.process_later = tups  # as a bolt does that waits for an answer
                return
            for tup in [*self.process_later, *tups]:
                self.seen[tup.values.num] = self.seen.get(tup.values.num, 0) + 1
                self.ack(tup)
            self.process_later = []

    parts = Parts()
    parts.spout("src", Numbers, args={"count": 3})
    parts.bolt("batch", Manual, reads=["src"])
    h = start(parts, checkpoints=True, topology_guarantee="exactly-once")
    h.advance(0.1)
    h.checkpoint()
    assert len(h.executors("batch")[0].inflight) == 3
    h.fail("a rollback")
    h.settle()
    assert h.instance("batch").calls == 0
    h.advance(0.6)
    assert h.instance("batch").calls == 1
    assert sorted(tup.values.num for tup in h.instance("batch").process_later) == [0, 1, 2]
