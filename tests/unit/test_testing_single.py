"""One bolt or spout by itself: `run_bolt` and `run_spout`."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pystorm import BatchingBolt, Bolt, ComponentError, ConfigError, KeyValueState, ReplayableSpout, Spout, Stream
from pystorm.testing import TICK, Input, Pause, check_bolt, run_bolt, run_spout


class CountBolt(Bolt):
    outputs = ["word", "count"]
    counts = KeyValueState()

    def process(self, tup: Any) -> None:
        word = tup.values.word
        self.counts[word] = count = self.counts.get(word, 0) + 1
        self.emit([word, count])


class SortBolt(Bolt):
    """Does with a number what it says."""

    outputs = [Stream(["number"]), Stream(["number", "origin"], name="odd")]

    def process(self, tup: Any) -> None:
        number = tup.values[0]
        if number < 0:
            raise ValueError(f"{number} is negative")
        if number == 0:
            self.fail(tup, "nothing to do with 0")
        elif number % 2:
            self.emit([number, f"{tup.component}/{tup.stream}"], stream="odd")
        else:
            self.emit([number])


class ClockBolt(Bolt):
    outputs = ["kind", "time"]

    def process(self, tup: Any) -> None:
        self.emit([tup.values[0], time.time()])

    def process_tick(self, tup: Any) -> None:
        self.emit(["tick", time.time()])


class PairBolt(Bolt):
    """Holds a tuple until the next one comes."""

    outputs = ["first", "second"]
    auto_ack = False

    def __init__(self, label: str = "") -> None:
        self.label, self.held = label, None

    def process(self, tup: Any) -> None:
        if self.held is None:
            self.held = tup
            return
        self.emit([self.label + self.held.values[0], tup.values[0]], anchors=[self.held, tup])
        self.ack(self.held)
        self.ack(tup)
        self.held = None


class NumberSpout(ReplayableSpout):
    outputs = ["number"]

    def __init__(self, last: int) -> None:
        self.last = last

    def seek(self, partition: str, position: Any) -> None:
        self.next = position or 0

    def next_tuple(self) -> None:
        if self.next == self.last:
            self.finish()
            return
        self.next += 1
        self.emit([self.next], position=self.next)


def test_a_bolt_turns_lists_into_lists_and_state() -> None:
    result = run_bolt(CountBolt, [["a"], ["b"], ["a"]], fields=["word"])

    assert result.emitted == [["a", 1], ["b", 1], ["a", 2]]
    assert result.state == {"counts": {"a": 2, "b": 1}}
    assert result.acked == [["a"], ["b"], ["a"]]
    assert (result.failed, result.pending, result.errors) == ([], [], [])


def test_every_stream_has_its_own_list() -> None:
    result = run_bolt(SortBolt, [[2], Input([3], component="left", stream="numbers"), [4]])

    assert result.emitted == [[2], [4]]
    assert result.streams["odd"] == [[3, "left/numbers"]]


def test_an_exception_of_process_surfaces_in_the_test() -> None:
    with pytest.raises(ValueError, match="-1 is negative"):
        run_bolt(SortBolt, [[2], [-1]])


def test_an_exception_of_process_can_be_looked_at_instead() -> None:
    result = run_bolt(SortBolt, [[-1], [0], [2]], raises=False)

    assert result.failed == [[-1], [0]]
    assert "-1 is negative" in result.reasons[0]
    assert result.reasons[1] == "nothing to do with 0"
    assert [type(error) for error in result.errors] == [ValueError]
    assert "ValueError: -1 is negative" in result.logs[0]
    assert result.emitted == [[2]]


def test_dead_letters_are_a_stream_like_others() -> None:
    result = run_bolt(SortBolt, [[-1]], config={"topology.bolt.on.error": "dead-letter"})

    [[error, text, values]] = result.streams["dead_letter"]
    assert error == "ValueError: -1 is negative"
    assert "in process" in text
    assert values == [-1]
    assert result.acked == [[-1]]


def test_a_tick_comes_where_the_inputs_say_so() -> None:
    result = run_bolt(ClockBolt, [["a"], TICK, ["b"]])

    assert [row[0] for row in result.emitted] == ["a", "tick", "b"]


def test_virtual_time_passes_in_a_pause_and_ticks_fire_on_time() -> None:
    began = time.monotonic()
    result = run_bolt(ClockBolt, [["a"], Pause(3600), ["b"]], config={"topology.tick.tuple.freq.secs": 600})

    kinds = [row[0] for row in result.emitted]
    start = result.emitted[0][1]
    assert kinds == ["a", *["tick"] * 6, "b"]
    assert [round(row[1] - start) for row in result.emitted] == [0, 600, 1200, 1800, 2400, 3000, 3600, 3600]
    assert time.monotonic() - began < 5


def test_the_real_clock_is_back_afterwards() -> None:
    run_bolt(ClockBolt, [["a"], Pause(3600)])

    assert abs(time.time() - __import__("time").time()) < 5


def test_what_a_bolt_still_holds_is_pending() -> None:
    result = run_bolt(PairBolt("x"), [["a"], ["b"], ["c"]])

    assert result.emitted == [["xa", "b"]]
    assert result.acked == [["a"], ["b"]]
    assert result.pending == [["c"]]
    assert result.bolt.held.values[0] == "c"


def test_constructor_arguments_are_given_as_in_a_topology_file() -> None:
    assert run_bolt(PairBolt, [["a"], ["b"]], args={"label": "x"}).emitted == [["xa", "b"]]
    assert run_bolt(PairBolt, [["a"], ["b"]], args=["y"]).emitted == [["ya", "b"]]


def test_grouped_state_can_be_written_in_process_only() -> None:
    class TickCounter(Bolt):
        counts = KeyValueState()

        def process(self, tup: Any) -> None:
            self.counts[tup.values.word] = 1

        def process_tick(self, tup: Any) -> None:
            self.counts["ticks"] = 1

    assert run_bolt(TickCounter, [["a"], TICK], fields=["word"]).state["counts"] == {"a": 1, "ticks": 1}
    with pytest.raises(ComponentError, match="outside process"):
        run_bolt(TickCounter, [["a"], TICK], fields=["word"], group_by=["word"])


def test_emitted_values_are_kept_as_they_were_when_they_were_emitted() -> None:
    class Growing(Bolt):
        outputs = ["seen"]

        def initialize(self, conf: Any, context: Any) -> None:
            self.seen: list[str] = []

        def process(self, tup: Any) -> None:
            self.seen.append(tup.values[0])
            self.emit([self.seen])

    assert run_bolt(Growing, [["a"], ["b"]]).emitted == [[["a"]], [["a", "b"]]]


def test_emit_many_is_seen_row_by_row() -> None:
    class Letters(Bolt):
        outputs = ["letter"]

        def process(self, tup: Any) -> None:
            self.emit_many([letter] for letter in tup.values.word)

    result = run_bolt(Letters, [["abc"]], fields=["word"])
    assert result.emitted == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: run_bolt(NumberSpout, []), "NumberSpout is no Bolt; give a subclass of pystorm.Bolt"),
        (lambda: run_bolt(CountBolt(), [], args=[1]), "args are for a class, got an instance of CountBolt"),
        (lambda: run_bolt(CountBolt, ["a"]), "an input is a list of values, .* got 'a'"),
        (
            lambda: run_bolt(CountBolt, [["a"]], fields="word"),
            r"fields is a list of names, got 'word'; write \['word'\]",
        ),
        (lambda: run_bolt(CountBolt, [["a"]], fields=["a", "b"]), "do not fit inputs of 1 values"),
        (lambda: run_bolt(CountBolt, [["a"], ["a", "b"]]), "inputs of one stream are of one length"),
        (lambda: run_bolt(CountBolt, [["a"]], group_by=["x"]), "group_by: the inputs from 'input' have no field 'x'"),
    ],
)
def test_a_wrong_call_says_what_is_right(call: Any, text: str) -> None:
    with pytest.raises((ConfigError, TypeError), match=text):
        call()


def test_a_failed_comparison_shows_both_sides() -> None:
    result = run_bolt(CountBolt, [["a"], ["b"]], fields=["word"])

    with pytest.raises(AssertionError) as caught:
        result.assert_emitted([["a", 1], ["b", 2]])
    assert str(caught.value).splitlines() == [
        "emitted to stream 'default': expected 2 rows, got 2 rows",
        "    expected | got",
        "    ['a', 1] | ['a', 1]",
        "  ! ['b', 2] | ['b', 1]",
    ]
    with pytest.raises(AssertionError) as caught:
        result.assert_state("counts", {"a": 1, "c": 1})
    assert str(caught.value).splitlines() == [
        "state 'counts': 2 keys differ of 3",
        "    expected       | got",
        "  ! 'c': 1         | 'c': (nothing)",
        "  ! 'b': (nothing) | 'b': 1",
    ]
    result.assert_emitted([["b", 1], ["a", 1]], any_order=True)
    result.assert_state("counts", {"b": 1, "a": 1})


class SumBatches(BatchingBolt):
    outputs = ["word", "sum"]
    sums = KeyValueState()

    def group_key(self, tup: Any) -> Any:
        return tup.values.word

    def process_batch(self, key: Any, tups: Any) -> None:
        self.sums[key] = total = self.sums.get(key, 0) + sum(tup.values.number for tup in tups)
        self.emit([key, total])


def test_a_batching_bolt_works_at_ticks() -> None:
    rows = [["a", 1], ["b", 2], ["a", 3]]
    result = run_bolt(SumBatches, rows, fields=["word", "number"])
    assert (result.emitted, result.pending) == ([], rows)

    result = run_bolt(SumBatches, [*rows, TICK], fields=["word", "number"])
    result.assert_emitted([["a", 4], ["b", 2]])
    assert result.acked == rows

    check_bolt(SumBatches, [*rows, TICK, *rows, TICK], fields=["word", "number"], group_by=["word"])


def test_a_batching_bolt_works_after_its_seconds() -> None:
    class Timed(SumBatches):
        secs_between_batches = 20.0

    result = run_bolt(Timed, [["a", 1], Pause(19), ["a", 2], Pause(2), ["a", 3]], fields=["word", "number"])
    assert result.emitted == [["a", 3]]
    assert result.pending == [["a", 3]]


# -- spouts ------------------------------------------------------------------------------------------------------------


def test_a_spout_that_finishes_gives_all_its_tuples() -> None:
    result = run_spout(NumberSpout(3))

    assert result.emitted == [[1], [2], [3]]
    assert result.finished
    assert result.positions == {"": 3}
    assert (result.acked, result.failed) == (3, 0)


def test_an_endless_spout_is_stopped_at_the_number_asked_for() -> None:
    result = run_spout(NumberSpout, args=[-1], max_tuples=4)

    assert result.emitted == [[1], [2], [3], [4]]
    assert not result.finished
    assert result.spout.next == 4


def test_a_silent_spout_is_given_up_without_waiting_for_it() -> None:
    class Silent(Spout):
        def initialize(self, conf: Any, context: Any) -> None:
            self.calls = 0

        def next_tuple(self) -> None:
            self.calls += 1

    began = time.monotonic()
    result = run_spout(Silent, idle_s=60.0)
    assert result.spout.calls > 100
    assert result.emitted == []
    assert time.monotonic() - began < 5


def test_a_spout_is_told_of_the_tuples_that_fail() -> None:
    class Telling(Spout):
        outputs = ["number"]

        def initialize(self, conf: Any, context: Any) -> None:
            self.next, self.told = 0, []

        def next_tuple(self) -> None:
            if self.next == 3:
                self.finish()
                return
            self.next += 1
            self.emit([self.next], tup_id=self.next)

        def ack(self, tup_id: Any) -> None:
            self.told.append(("ack", tup_id))

        def fail(self, tup_id: Any, reason: str = "") -> None:
            self.told.append(("fail", tup_id, reason))

    result = run_spout(Telling, fail=lambda values: values == [2])
    assert result.spout.told == [("ack", 1), ("fail", 2, "the test failed it"), ("ack", 3)]


def test_an_instance_is_initialized_once() -> None:
    class Counting(NumberSpout):
        starts = 0

        def initialize(self, conf: Any, context: Any) -> None:
            self.starts += 1

    spout = Counting(2)
    assert run_spout(spout).spout is spout
    assert spout.starts == 1
