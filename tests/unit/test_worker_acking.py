"""Tuple trees through whole topologies: the scenarios of Storm's own acking tests, and INV-3 to INV-5.

The scenarios are those of nathanmarz/storm storm-core/test/clj/backtype/storm/integration_test.clj and of apache/storm
TopologyIntegrationTest.java, under their names there: what feeds which bolt, and how many acks each step must bring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pystorm.components import Bolt, ReliableSpout, Spout, Stream, Tuple
from pystorm.errors import ComponentError, TopologyFailed
from tests.harness import Feeder, Harness, Parts

Start = Callable[..., Harness]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts topologies, each component's task in a worker of its own unless told otherwise; ends them afterwards."""
    running: list[Harness] = []

    def start(parts: Parts, *, workers: int | None = None, expects_crashes: bool = False, **config: Any) -> Harness:
        harness = Harness(parts.plan(workers=workers, **config), tmp_path, expects_crashes=expects_crashes)
        running.append(harness.__enter__())
        harness.settle()
        return harness

    yield start
    for harness in running:
        harness.__exit__()


class Branching(Bolt):
    outputs = ["num"]

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def process(self, tup: Tuple) -> None:
        for number in range(self.amount):
            self.emit([number])


class Identity(Bolt):
    outputs = ["num"]

    def process(self, tup: Tuple) -> None:
        self.emit(list(tup.values))


class Aggregate(Bolt):
    """Collects tuples, then sends one that is anchored to all of them, and acks them."""

    outputs = ["num"]
    auto_ack = False

    def __init__(self, amount: int) -> None:
        self.amount = amount
        self.seen: list[Tuple] = []

    def process(self, tup: Tuple) -> None:
        self.seen.append(tup)
        if len(self.seen) == self.amount:
            self.emit([1], anchors=self.seen)
            for seen in self.seen:
                self.ack(seen)
            self.seen = []


class Ack(Bolt):
    def process(self, tup: Tuple) -> None:
        pass


class Keep(Bolt):
    """Keeps what it gets; a test acks and fails it."""

    outputs = ["num"]
    auto_ack = False

    def initialize(self, conf: Any, context: Any) -> None:
        self.kept: list[Tuple] = []

    def process(self, tup: Tuple) -> None:
        self.kept.append(tup)


def acks(harness: Harness, *feeders: str) -> list[int]:
    """How many messages of each feeder were acked since the last call."""
    return [len(harness.instance(name).take_acked()) for name in feeders]


WORKERS = pytest.mark.parametrize("workers", [None, 1, 3], ids=["apart", "together", "mixed"])


@WORKERS
def test_acking(start: Start, workers: int | None) -> None:
    parts = Parts()
    for name in "123":
        parts.spout(name, Feeder)
    parts.bolt("4", Branching, args={"amount": 2}, reads=["1"])
    parts.bolt("5", Branching, args={"amount": 4}, reads=["2"])
    parts.bolt("6", Branching, args={"amount": 1}, reads=["3"])
    parts.bolt("7", Aggregate, args={"amount": 3}, reads=["4", "5", "6"])
    parts.bolt("8", Branching, args={"amount": 2}, reads=["7"])
    parts.bolt("9", Ack, reads=["8"])
    h = start(parts, workers=workers)
    h.feed("1", 1, id="a")
    assert acks(h, "1") == [0]
    h.feed("2", 1, id="b")
    assert acks(h, "1", "2") == [1, 1]
    h.feed("1", 1, id="c")
    assert acks(h, "1") == [0]
    h.feed("1", 1, id="d")
    assert acks(h, "1") == [1]
    h.feed("3", 1, id="e")
    assert acks(h, "1", "3") == [0, 0]
    h.feed("2", 1, id="f")
    assert acks(h, "1", "2", "3") == [1, 1, 1]


@WORKERS
def test_ack_branching(start: Start, workers: int | None) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Identity, reads=["1"])
    parts.bolt("3", Identity, reads=["1"])
    parts.bolt("4", Aggregate, args={"amount": 4}, reads=["2", "3"])
    h = start(parts, workers=workers)
    h.feed("1", 1, id=1)
    assert acks(h, "1") == [0]
    h.feed("1", 1, id=2)
    assert acks(h, "1") == [2]


class DupAnchor(Bolt):
    outputs = ["num"]
    auto_ack = False

    def process(self, tup: Tuple) -> None:
        self.emit([1], anchors=[tup, tup])
        self.ack(tup)


@WORKERS
def test_acking_self_anchor(start: Start, workers: int | None) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", DupAnchor, reads=["1"])
    parts.bolt("3", Ack, reads=["2"])
    h = start(parts, workers=workers)
    h.feed("1", 1, id=1)
    assert acks(h, "1") == [1]
    for number in range(3):
        h.instance("1").feed(1, id=number)
    h.advance(0.1)
    assert acks(h, "1") == [3]


class AckEveryOther(Bolt):
    auto_ack = False
    count = 0

    def process(self, tup: Tuple) -> None:
        self.count += 1
        if self.count % 2:
            self.ack(tup)


def test_timeout(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", AckEveryOther, reads=[("1", "GLOBAL")])
    h = start(parts, topology_message_timeout_secs=10)
    h.advance(11)
    for number, text in enumerate("abc", 1):
        h.feed("1", text, id=number)
    h.advance(9)
    assert h.instance("1").acked == [1, 3]
    assert h.instance("1").failed == []
    h.advance(12)
    assert h.instance("1").failed == [(2, "timed out after 10 s, never acked by any bolt")]


def test_message_timeouts_can_be_disabled(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", AckEveryOther, reads=[("1", "GLOBAL")])
    h = start(parts, topology_message_timeout_secs=10, topology_enable_message_timeouts=False)
    h.feed("1", "a", id=1)
    h.feed("1", "b", id=2)
    h.advance(40)
    assert h.instance("1").failed == []


@WORKERS
def test_a_linear_tree_is_acked_when_its_last_bolt_is_done(start: Start, workers: int | None) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Identity, reads=["1"])
    parts.bolt("3", Identity, reads=["2"])
    parts.bolt("4", Keep, reads=["3"])
    h = start(parts, workers=workers)
    h.feed("1", 7, id="m")
    assert acks(h, "1") == [0]
    keep = h.instance("4")
    keep.ack(keep.kept[0])
    h.settle()
    assert acks(h, "1") == [1]


def test_a_join_fails_the_trees_of_all_its_anchors(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.spout("2", Feeder)
    parts.bolt("3", Aggregate, args={"amount": 2}, reads=["1", "2"])
    parts.bolt("4", Keep, reads=["3"])
    h = start(parts)
    h.feed("1", 1, id="a")
    h.feed("2", 1, id="b")
    keep = h.instance("4")
    keep.fail(keep.kept[0], "no")
    h.settle()
    assert h.instance("1").failed == [("a", "no")]
    assert h.instance("2").failed == [("b", "no")]
    assert acks(h, "1", "2") == [0, 0]


class EmitThenKeep(Keep):
    def process(self, tup: Tuple) -> None:
        self.emit([0])  # anchored by auto_anchor
        self.kept.append(tup)


@WORKERS
def test_a_tuple_of_a_join_can_be_emitted_from_before_it_is_acked(start: Start, workers: int | None) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.spout("2", Feeder)
    parts.bolt("3", Aggregate, args={"amount": 2}, reads=["1", "2"])
    parts.bolt("4", EmitThenKeep, reads=["3"])
    parts.bolt("5", Ack, reads=["4"])
    h = start(parts, workers=workers)
    h.feed("1", 1, id="a")
    h.feed("2", 1, id="b")
    assert acks(h, "1", "2") == [0, 0]
    keep = h.instance("4")
    keep.ack(keep.kept[0])
    h.settle()
    assert acks(h, "1", "2") == [1, 1]


def test_an_emit_that_is_not_anchored_joins_no_tree(start: Start) -> None:
    class Unanchored(Bolt):
        outputs = ["num"]

        def process(self, tup: Tuple) -> None:
            self.emit([1], anchors=[])

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Unanchored, reads=["1"])
    parts.bolt("3", Keep, reads=["2"])
    h = start(parts)
    h.feed("1", 1, id="m")
    assert acks(h, "1") == [1]
    keep = h.instance("3")
    keep.fail(keep.kept[0])
    h.settle()
    assert h.instance("1").failed == []


def test_a_tuple_without_message_id_is_sent_and_not_tracked(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Keep, reads=["1"])
    h = start(parts)
    h.feed("1", 5)
    h.feed("1", 6, id="m")
    keep = h.instance("2")
    assert [tup.values.num for tup in keep.kept] == [5, 6]
    for tup in keep.kept:
        keep.ack(tup)
    h.settle()
    assert h.instance("1").acked == ["m"]


def test_a_message_that_nobody_reads_is_acked_at_once(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    h = start(parts)
    h.feed("1", 1, id="m")
    assert acks(h, "1") == [1]


def test_at_most_once_acks_what_was_sent_and_fails_nothing(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Keep, reads=["1"])
    h = start(parts, topology_guarantee="at-most-once")
    h.feed("1", 1, id="m")
    assert acks(h, "1") == [1]
    keep = h.instance("2")
    keep.fail(keep.kept[0])
    h.settle()
    assert h.instance("1").failed == []


# -- INV-4: what a bolt may not do ------------------------------------------------------------------------------------


def kept_pair(start: Start) -> tuple[Harness, Keep, Tuple]:
    parts = Parts()
    parts.spout("src", Feeder)
    parts.bolt("keeper", Keep, reads=["src"])
    h = start(parts)
    h.feed("src", 41, id="m")
    keep = h.instance("keeper")
    return h, keep, keep.kept[0]


@pytest.mark.parametrize("first", ["ack", "fail"])
@pytest.mark.parametrize("second", ["ack", "fail", "anchor"])
def test_a_settled_tuple_is_refused_by_name(start: Start, first: str, second: str) -> None:
    h, keep, tup = kept_pair(start)
    verbs: dict[str, Callable[[], Any]] = {
        "ack": lambda: keep.ack(tup),
        "fail": lambda: keep.fail(tup),
        "anchor": lambda: keep.emit([1], anchors=[tup]),
    }
    verbs[first]()
    with pytest.raises(ComponentError, match=r"component 'keeper'.*num=41") as caught:
        verbs[second]()
    assert "acked or failed before" in str(caught.value)
    h.settle()
    src = h.instance("src")
    assert (len(src.acked), len(src.failed)) == ((1, 0) if first == "ack" else (0, 1))
    # nothing is broken: the next message goes through
    h.feed("src", 42, id="n")
    keep.ack(keep.kept[1])
    h.settle()
    assert src.acked[-1:] == ["n"]


def test_ack_in_a_bolt_that_acks_by_itself_says_what_to_do(start: Start) -> None:
    class Twice(Bolt):
        def process(self, tup: Tuple) -> None:
            self.ack(tup)

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Twice, reads=["1"])
    h = start(parts)
    h.feed("1", 1, id="m")
    [(tup_id, reason)] = h.instance("1").failed
    assert tup_id == "m"
    assert "auto_ack = False" in reason


@pytest.mark.parametrize("on_error", ["fail", "dead-letter"])
def test_a_bolt_that_fails_its_tuple_and_then_raises_fails_it_once(start: Start, on_error: str) -> None:
    class FailAndRaise(Bolt):
        outputs = ["num"]

        def process(self, tup: Tuple) -> None:
            self.fail(tup, "first")
            raise ValueError("second")

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", FailAndRaise, reads=["1"])
    h = start(parts, topology_bolt_on_error=on_error)
    h.feed("1", 1, id="m")
    assert h.instance("1").failed == [("m", "first")]
    [bolt] = h.executors("2")
    assert (bolt.acked, bolt.failed, bolt.processed) == (0, 1, 1)


def test_a_bolt_that_acks_its_tuple_and_then_raises_has_acked_it(start: Start) -> None:
    class AckAndRaise(Bolt):
        auto_ack = False

        def process(self, tup: Tuple) -> None:
            self.ack(tup)
            raise ValueError("too late")

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", AckAndRaise, reads=["1"])
    h = start(parts)
    h.feed("1", 1, id="m")
    assert (h.instance("1").acked, h.instance("1").failed) == (["m"], [])
    assert "too late" in h.errors[0]


def test_a_tuple_of_another_call_cannot_be_anchored_to_when_acks_are_automatic(start: Start) -> None:
    class Late(Bolt):
        outputs = ["num"]
        last: Any = None

        def process(self, tup: Tuple) -> None:
            if self.last is not None:
                self.emit([1], anchors=[self.last])
            self.last = tup

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Late, reads=["1"])
    h = start(parts)
    h.feed("1", 1, id="m")
    h.feed("1", 2, id="n")
    assert h.instance("1").acked == ["m"]
    [(tup_id, reason)] = h.instance("1").failed
    assert tup_id == "n"
    assert "anchored to tuple" in reason


# -- INV-5: how a tuple ends ------------------------------------------------------------------------------------------


class Picky(Bolt):
    outputs = ["num"]

    def process(self, tup: Tuple) -> None:
        if tup.values.num % 2:
            raise ValueError(f"{tup.values.num} is odd")
        self.emit([tup.values.num])


@WORKERS
def test_an_exception_fails_its_tuple_and_no_other(start: Start, workers: int | None) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Picky, reads=["1"])
    parts.bolt("3", Ack, reads=["2"])
    h = start(parts, workers=workers)
    for number in range(10):
        h.instance("1").feed(number, id=number)
    h.advance(0.5)
    spout = h.instance("1")
    assert sorted(spout.acked) == [0, 2, 4, 6, 8]
    assert sorted(tup_id for tup_id, _ in spout.failed) == [1, 3, 5, 7, 9]
    assert all(f"component '2': ValueError: {tup_id} is odd (at " in reason for tup_id, reason in spout.failed)
    [executor] = h.executors("2")
    assert (executor.acked, executor.failed, executor.processed) == (5, 5, 10)


def test_a_bolt_that_fails_by_hand_gives_its_reason_or_its_name(start: Start) -> None:
    h, keep, tup = kept_pair(start)
    h.feed("src", 42, id="n")
    keep.fail(tup, "the printer is on fire")
    keep.fail(keep.kept[1].id)  # an id will do
    h.settle()
    assert h.instance("src").failed == [("m", "the printer is on fire"), ("n", "failed by component 'keeper', task 2")]


def test_a_timeout_names_the_component_that_the_tuple_was_last_seen_at(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("first", Identity, reads=["1"])
    parts.bolt("second", Keep, reads=["first"])
    h = start(parts, topology_message_timeout_secs=2)
    h.feed("1", 1, id="m")
    h.advance(3)
    assert h.instance("1").failed == [("m", "timed out after 2 s, last seen at component 'first', task 2")]


def test_news_of_a_tree_that_has_timed_out_changes_nothing(start: Start) -> None:
    h = start(keeper_parts(), topology_message_timeout_secs=2)
    h.feed("1", 1, id="m")
    h.advance(3)
    keep = h.instance("2")
    keep.ack(keep.kept[0])
    h.settle()
    spout = h.instance("1")
    assert (spout.acked, len(spout.failed)) == ([], 1)


def keeper_parts() -> Parts:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Keep, reads=["1"])
    return parts


def test_reset_on_restart_fails_what_was_in_flight_at_once_with_the_cause(start: Start) -> None:
    h = start(keeper_parts(), topology_message_timeout_secs=30)
    h.feed("1", 1, id="m")
    h.kill(1)
    h.settle()
    assert h.instance("1").failed == [("m", "worker 1 died")]
    # and the topology works again
    h.feed("1", 2, id="n")
    keep = h.instance("2")
    assert [tup.values.num for tup in keep.kept] == [2]
    keep.ack(keep.kept[0])
    h.settle()
    assert h.instance("1").acked == ["n"]


def test_a_spout_may_leave_the_reason_out_of_fail(start: Start) -> None:
    class Terse(Feeder):
        def fail(self, tup_id: Any) -> None:  # type: ignore[override]
            self.failed.append((tup_id, "?"))

    parts = Parts()
    parts.spout("1", Terse)
    parts.bolt("2", Keep, reads=["1"])
    h = start(parts)
    h.feed("1", 1, id="m")
    keep = h.instance("2")
    keep.fail(keep.kept[0], "because")
    h.settle()
    assert h.instance("1").failed == [("m", "?")]


@WORKERS
def test_a_tuple_fails_although_its_tree_would_be_complete_without_what_could_not_be_sent(
    start: Start, workers: int | None
) -> None:
    class Unpackable(Bolt):
        outputs = ["num"]

        def process(self, tup: Tuple) -> None:
            self.emit([object() if tup.values.num else 0])

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Unpackable, reads=["1"])
    parts.bolt("3", Ack, reads=["2"])
    h = start(parts, workers=workers)
    h.feed("1", 1, id="bad")
    h.feed("1", 0, id="good")
    spout = h.instance("1")
    if workers == 1:  # handed over in memory, unpacked
        assert spout.acked == ["bad", "good"]
        return
    assert spout.acked == ["good"]
    [(tup_id, reason)] = spout.failed
    assert tup_id == "bad"
    assert "component '2'" in reason
    assert "field 'num'" in reason
    assert "builtins.object" in reason


def test_a_grouping_key_that_cannot_be_packed_is_named_by_its_field(start: Start) -> None:
    class Unpackable(Bolt):
        outputs = ["key", "num"]

        def process(self, tup: Tuple) -> None:
            self.emit([object(), 1])

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Unpackable, reads=["1"])
    parts.bolt("3", Ack, reads=[("2", "FIELDS", ["key"])])
    h = start(parts)
    h.feed("1", 1, id="m")
    [(_, reason)] = h.instance("1").failed
    assert "'key'" in reason
    assert "builtins.object" in reason


def test_a_spout_that_emits_what_cannot_travel_ends_the_run_and_acks_nothing(start: Start) -> None:
    h = start(keeper_parts())
    spout = h.instance("1")
    with pytest.raises(TopologyFailed, match=r"component '1', stream 'default': the value of field 'num'"):
        h.feed("1", object(), id="m")
    h.workers[0].runtime.flush()
    assert spout.acked == []


# -- what a spout sees ------------------------------------------------------------------------------------------------


class Eager(Spout):
    """Sends without end; fails are sent again at once."""

    outputs = ["num"]

    def initialize(self, conf: Any, context: Any) -> None:
        self.sent = 0
        self.failed: list[Any] = []

    def next_tuple(self) -> None:
        self.sent += 1
        self.emit([self.sent], self.sent)

    def fail(self, tup_id: Any, reason: str = "") -> None:
        self.failed.append(tup_id)
        self.emit([tup_id], tup_id)


def test_max_spout_pending_counts_open_trees(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Eager)
    parts.bolt("2", Keep, reads=["1"])
    h = start(parts, topology_max_spout_pending=5)
    h.advance(1)
    keep = h.instance("2")
    assert len(keep.kept) == 5
    keep.ack(keep.kept.pop())
    keep.ack(keep.kept.pop())
    h.advance(1)
    assert len(keep.kept) == 5
    assert h.instance("1").sent == 7


def test_retries_bypass_max_spout_pending(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Eager)
    parts.bolt("2", Keep, reads=["1"])
    h = start(parts, topology_max_spout_pending=2)
    keep = h.instance("2")
    h.advance(0.1)
    for tup in keep.kept[:2]:
        keep.fail(tup)
    h.advance(0.1)
    assert h.instance("1").failed == [1, 2]
    assert [tup.values.num for tup in keep.kept] == [1, 2, 1, 2]


class Reliable(ReliableSpout):
    outputs = ["num"]
    max_fails = 2

    def initialize(self, conf: Any, context: Any) -> None:
        self.sent = 0

    def next_tuple(self) -> None:
        if self.sent == 3:
            self.finish()
            return
        self.sent += 1
        self.emit([self.sent], self.sent)


def test_a_reliable_spout_sends_again_until_max_fails_and_then_gives_the_message_up(start: Start) -> None:
    class RefuseTwo(Bolt):
        def initialize(self, conf: Any, context: Any) -> None:
            self.seen: list[int] = []

        def process(self, tup: Tuple) -> None:
            self.seen.append(tup.values.num)
            if tup.values.num == 2:
                raise ValueError("two")

    parts = Parts()
    parts.spout("1", Reliable)
    parts.bolt("2", RefuseTwo, reads=["1"])
    h = start(parts)
    bolt = h.instance("2")
    h.run()
    assert sorted(bolt.seen) == [1, 2, 2, 2, 3]


def test_a_reliable_spout_needs_message_ids(start: Start) -> None:
    class Careless(ReliableSpout):
        outputs = ["num"]

        def next_tuple(self) -> None:
            self.emit([1])

    parts = Parts()
    parts.spout("1", Careless)
    with pytest.raises(ComponentError, match="needs a tup_id"):
        start(parts)


def test_a_spout_that_survives_its_own_bad_emit_has_opened_no_tree(start: Start) -> None:
    class Clumsy(Feeder):
        def next_tuple(self) -> None:
            if self.waiting:
                values, tup_id = self.waiting.popleft()
                with pytest.raises((TypeError, ComponentError)):
                    self.emit(values, tup_id)

    parts = Parts()
    parts.spout("1", Clumsy)
    parts.bolt("2", Ack, reads=[("1", "FIELDS", ["num"])])
    h = start(parts)
    h.feed("1", 1, 2, id="wide")
    h.feed("1", object(), id="no key")
    [executor] = h.executors("1")
    assert executor.open == 0
    assert executor.spout.acked == []


# -- routing ----------------------------------------------------------------------------------------------------------


def test_need_task_ids_gives_the_tasks_that_a_tuple_went_to(start: Start) -> None:
    class Asks(Spout):
        outputs = ["num"]

        def initialize(self, conf: Any, context: Any) -> None:
            self.answers: list[Any] = []

        def next_tuple(self) -> None:
            self.answers.append(self.emit([1], 1, need_task_ids=True))
            self.finish()

    class AsksToo(Bolt):
        outputs = ["num"]

        def initialize(self, conf: Any, context: Any) -> None:
            self.answers: list[Any] = []

        def process(self, tup: Tuple) -> None:
            self.answers.append(self.emit([1], need_task_ids=True))
            self.answers.append(self.emit([1]))

    parts = Parts()
    parts.spout("1", Asks)
    parts.bolt("2", AsksToo, reads=["1"])
    parts.bolt("3", Ack, 3, reads=[("2", "ALL")])
    h = start(parts)
    assert h.instance("1").answers == [[2]]
    assert h.instance("2").answers == [[3, 4, 5], None]


class DirectSpout(Feeder):
    outputs = [Stream(["num"], direct=True)]  # type: ignore[list-item]

    def next_tuple(self) -> None:
        if self.waiting:
            values, tup_id = self.waiting.popleft()
            self.emit(values, tup_id, direct_task=values[0])


def test_a_direct_stream_reaches_the_task_that_the_emitter_names(start: Start) -> None:
    parts = Parts()
    parts.spout("1", DirectSpout)
    parts.bolt("2", Keep, 3, reads=[("1", "DIRECT")])
    h = start(parts)
    for task in (4, 2, 4):
        h.feed("1", task, id=task)
    assert [[t.values.num for t in h.instance("2", i).kept] for i in range(3)] == [[2], [], [4, 4]]


@pytest.mark.parametrize("task", [1, 9])
def test_a_direct_emit_to_a_task_that_does_not_read_the_stream_is_refused(start: Start, task: int) -> None:
    parts = Parts()
    parts.spout("1", DirectSpout)
    parts.bolt("2", Keep, reads=[("1", "DIRECT")])
    h = start(parts)
    with pytest.raises(ComponentError, match=rf"component '1': task {task} does not read stream 'default'"):
        h.feed("1", task, id=1)


def test_direct_streams_and_others_are_not_mixed_up(start: Start) -> None:
    class Wrong(Bolt):
        outputs = [Stream(["num"]), Stream(["num"], name="to", direct=True)]

        def process(self, tup: Tuple) -> None:
            if tup.values.num:
                self.emit([1], direct_task=3)
            else:
                self.emit([1], stream="to")

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Wrong, reads=["1"])
    parts.bolt("3", Ack, reads=["2", ("2", "DIRECT", [], "to")])
    h = start(parts)
    h.feed("1", 0, id=0)
    h.feed("1", 1, id=1)
    first, second = (reason for _, reason in h.instance("1").failed)
    assert "stream 'to' is direct, emit needs direct_task" in first
    assert "stream 'default' is not direct" in second


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([1, 2], "a list of 1 values for the fields ['num']"),
        ([], "a list of 1 values for the fields ['num']"),
        ("a", "a list of 1 values"),
        (b"a", "a list of 1 values"),
        ({"num": 1}, "a list of 1 values"),
    ],
)
@pytest.mark.parametrize("grouping", [("2", "SHUFFLE"), ("2", "FIELDS", ["num"])], ids=["shuffle", "fields"])
def test_values_that_do_not_fit_the_fields_fail_the_tuple(
    start: Start, values: Any, complaint: str, grouping: Any
) -> None:
    class Wrong(Bolt):
        outputs = ["num"]

        def process(self, tup: Tuple) -> None:
            self.emit(values)

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Wrong, reads=["1"])
    parts.bolt("3", Ack, reads=[grouping])
    h = start(parts)
    h.feed("1", 1, id=1)
    [(_, reason)] = h.instance("1").failed
    assert complaint in reason
    assert "component '2' emitted" in reason


def test_an_undeclared_stream_is_named_with_the_declared_ones(start: Start) -> None:
    class Wrong(Bolt):
        outputs = [Stream(["a"], name="left"), Stream(["a"], name="right")]

        def process(self, tup: Tuple) -> None:
            self.emit([1], stream="lfet")

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Wrong, reads=["1"])
    h = start(parts)
    h.feed("1", 1, id=1)
    [(_, reason)] = h.instance("1").failed
    assert "'lfet'" in reason
    assert "left, right" in reason


# -- topology.bolt.on.error -------------------------------------------------------------------------------------------


@WORKERS
@pytest.mark.parametrize("is_auto", [True, False])
def test_a_dead_letter_carries_the_error_and_the_values_and_is_acked(
    start: Start, workers: int | None, is_auto: bool
) -> None:
    class Odd(Picky):
        auto_ack = is_auto

    class Letters(Bolt):
        def initialize(self, conf: Any, context: Any) -> None:
            self.seen: list[Any] = []

        def process(self, tup: Tuple) -> None:
            self.seen.append(tup.values)

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Odd, reads=["1"])
    parts.bolt("3", Letters, reads=[("2", "SHUFFLE", [], "dead_letter")])
    h = start(parts, workers=workers, topology_bolt_on_error="dead-letter")
    h.feed("1", 3, id="m")
    [letter] = h.instance("3").seen
    assert letter.error == "ValueError: 3 is odd"
    assert "raise ValueError" in letter.traceback
    assert letter.values == [3]
    assert (h.instance("1").acked, h.instance("1").failed) == (["m"], [])


def test_crash_ends_the_worker_and_fails_what_is_in_flight(start: Start) -> None:
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Picky, reads=["1"])
    h = start(parts, expects_crashes=True, topology_bolt_on_error="crash")
    before = h.workers[1]
    h.feed("1", 3, id="m")
    [(tup_id, reason)] = h.instance("1").failed
    assert tup_id == "m"
    assert "component '2': ValueError: 3 is odd" in reason
    assert h.workers[1] is not before
    h.feed("1", 4, id="n")
    assert h.instance("1").acked == ["n"]


def test_an_exception_in_next_tuple_ends_the_worker_with_its_cause(start: Start) -> None:
    class Breaks(Feeder):
        def next_tuple(self) -> None:
            if self.waiting:
                self.waiting.clear()
                raise KeyError("the source is gone")

    parts = Parts()
    parts.spout("1", Breaks)
    h = start(parts, expects_crashes=True)
    h.feed("1", 1)
    assert "KeyError: 'the source is gone'" in h.reasons[0]


def test_without_auto_fail_a_raising_tuple_stays_open_until_it_times_out(start: Start) -> None:
    class NoFail(Picky):
        auto_fail = False

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", NoFail, reads=["1"])
    h = start(parts, topology_message_timeout_secs=2)
    h.feed("1", 1, id="m")
    assert (h.instance("1").acked, h.instance("1").failed) == ([], [])
    h.advance(3)
    assert h.instance("1").failed[0][1].startswith("timed out after 2 s")


# -- slow is not stuck ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [None, 1])
@pytest.mark.parametrize("is_auto", [True, False])
def test_tuples_that_wait_behind_a_slow_bolt_do_not_time_out(start: Start, workers: int | None, is_auto: bool) -> None:
    """40 tuples of half a second each, timeout 5 s: the last waits 20 s, in a queue or in the batch being worked on."""

    class Slow(Bolt):
        auto_ack = is_auto

        def process(self, tup: Tuple) -> None:
            h.clock.now_s += 0.5
            if not is_auto:
                self.ack(tup)

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Slow, reads=["1"])
    h = start(parts, workers=workers, topology_message_timeout_secs=5)
    for number in range(40):
        h.instance("1").feed(number, id=number)
    h.advance(30)
    spout = h.instance("1")
    assert spout.failed == []
    assert sorted(spout.acked) == list(range(40))


def test_a_tuple_that_is_stuck_times_out_although_others_are_slow(start: Start) -> None:
    class Slow(Bolt):
        auto_ack = False

        def process(self, tup: Tuple) -> None:
            h.clock.now_s += 0.5
            if tup.values.num:
                self.ack(tup)

    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Slow, reads=["1"])
    h = start(parts, topology_message_timeout_secs=5)
    for number in range(40):
        h.instance("1").feed(number, id=number)
    h.advance(30)
    spout = h.instance("1")
    assert [tup_id for tup_id, _ in spout.failed] == [0]
    assert sorted(spout.acked) == list(range(1, 40))
