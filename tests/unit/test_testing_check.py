"""check_bolt and check_spout find components that remember outside of what checkpoints save."""

from __future__ import annotations

import collections
import threading
from typing import Any

import pytest

from pystorm import Bolt, KeyValueState, ReplayableSpout
from pystorm.testing import TICK, Pause, check_bolt, check_spout

WORDS = [["a"], ["b"], ["a"]]

SEEN: collections.Counter[str] = collections.Counter()
LAST = "nothing"


class StatefulBolt(Bolt):
    outputs = ["word", "count"]
    counts = KeyValueState()

    def process(self, tup: Any) -> None:
        word = tup.values.word
        self.counts[word] = count = self.counts.get(word, 0) + 1
        self.emit([word, count])

    def process_tick(self, tup: Any) -> None:
        self.emit(["all", sum(self.counts.values())])


class AttributeBolt(Bolt):
    outputs = ["total"]

    def initialize(self, conf: Any, context: Any) -> None:
        self.total = 0
        self.lock = threading.Lock()

    def process(self, tup: Any) -> None:
        self.total += 1
        self.emit([self.total])


class GlobalBolt(Bolt):
    outputs = ["count"]

    def process(self, tup: Any) -> None:
        global LAST
        SEEN[tup.values.word] += 1
        LAST = tup.values.word
        self.emit([SEEN[tup.values.word]])


class ClassAttributeBolt(Bolt):
    outputs = ["count"]
    words: list[str] = []

    def process(self, tup: Any) -> None:
        self.words.append(tup.values.word)
        self.emit([len(self.words)])


class InPlaceBolt(Bolt):
    pages = KeyValueState()

    def process(self, tup: Any) -> None:
        if tup.values.word not in self.pages:
            self.pages[tup.values.word] = []
        self.pages[tup.values.word].append(1)


class SilentLeak(Bolt):
    """Emits nothing, but its state depends on an attribute."""

    largest = KeyValueState()

    def initialize(self, conf: Any, context: Any) -> None:
        self.best = ""

    def process(self, tup: Any) -> None:
        self.best = max(self.best, tup.values.word)
        self.largest["word"] = self.best


class PairBolt(Bolt):
    """Holds tuples, which checkpoints of exactly-once keep for it."""

    auto_ack = False
    outputs = ["first", "second"]

    def initialize(self, conf: Any, context: Any) -> None:
        self.held: list[Any] = []

    def process(self, tup: Any) -> None:
        self.held.append(tup)
        if len(self.held) == 2:
            first, second = self.held
            self.emit([first.values.word, second.values.word], anchors=self.held)
            self.ack(first)
            self.ack(second)
            self.held = []


def complaint(bolt: Any, inputs: Any = WORDS, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        check_bolt(bolt, inputs, fields=["word"], **options)
    return str(caught.value)


@pytest.mark.parametrize("group_by", [[], ["word"]])
def test_a_bolt_that_keeps_all_in_its_state_passes(group_by: list[str]) -> None:
    check_bolt(StatefulBolt, [*WORDS, TICK, *WORDS, Pause(60)], fields=["word"], group_by=group_by)


def test_an_attribute_that_carries_a_total_is_named_with_both_sides() -> None:
    assert complaint(AttributeBolt).splitlines() == [
        "check_bolt(AttributeBolt): from input 2 of 3, ['b'] on, a bolt that is restored from checkpoints differs from "
        "one that is not",
        "  emitted, with the stream first",
        "    expected       | got",
        "  ! ['default', 2] | ['default', 1]",
        "  changed while it worked, and not saved:",
        "    attribute self.total: 0 -> 3",
        "  keep it in a KeyValueState that is declared on the class",
    ]


def test_globals_are_named_and_put_back() -> None:
    SEEN["before"] = 7
    seen = SEEN
    text = complaint(GlobalBolt)

    assert (
        f"module global {__name__}.SEEN: Counter({{'before': 7}}) -> Counter({{'before': 7, 'a': 2, 'b': 1}})" in text
    )
    assert f"module global {__name__}.LAST: 'nothing' -> 'a'" in text
    assert seen is SEEN
    assert SEEN == {"before": 7}
    assert LAST == "nothing"
    del SEEN["before"]


def test_a_class_attribute_is_named_and_put_back() -> None:
    assert "class attribute ClassAttributeBolt.words: [] -> ['a', 'b', 'a']" in complaint(ClassAttributeBolt)
    assert ClassAttributeBolt.words == []


def test_a_value_that_was_changed_in_place_is_named_by_its_key() -> None:
    text = complaint(InPlaceBolt)

    assert "state 'pages', key 'a': the value was changed in place and not written back" in text
    assert "  ! [1, 1]   | [1]" in text
    assert "write self.pages['a'] = value after the change" in text


def test_a_leak_that_shows_only_in_the_state_is_found() -> None:
    text = complaint(SilentLeak, [["b"], ["a"]])

    assert "['largest', 'word', 'b'] | ['largest', 'word', 'a']" in text
    assert "attribute self.best: '' -> 'b'" in text


def test_tuples_that_a_bolt_holds_are_no_leak() -> None:
    check_bolt(PairBolt, [*WORDS, *WORDS], fields=["word"])


def test_a_given_instance_is_copied_for_every_start() -> None:
    class Prefix(Bolt):
        outputs = ["word"]

        def __init__(self, prefix: str) -> None:
            self.prefix = prefix

        def process(self, tup: Any) -> None:
            self.emit([self.prefix + tup.values.word])
            self.prefix += "!"

    bolt = Prefix("x")
    assert "attribute self.prefix: 'x' -> 'x!!!'" in complaint(bolt)
    assert bolt.prefix == "x"


def test_an_exception_of_process_surfaces() -> None:
    class Picky(Bolt):
        def process(self, tup: Any) -> None:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        check_bolt(Picky, WORDS)


class NumberSpout(ReplayableSpout):
    outputs = ["number"]

    def __init__(self, last: int, off: int = 0) -> None:
        self.last, self.off = last, off

    def seek(self, partition: str, position: Any) -> None:
        self.next = position or 0

    def next_tuple(self) -> None:
        if self.next == self.last:
            self.finish()
            return
        self.next += 1
        self.emit([self.next], position=self.next + self.off)


def test_a_spout_with_right_positions_passes() -> None:
    check_spout(NumberSpout(5))
    check_spout(NumberSpout, args=[-1], max_tuples=20)


def test_a_spout_whose_position_is_that_of_the_tuple_itself_is_found() -> None:
    with pytest.raises(AssertionError) as caught:
        check_spout(NumberSpout(3, off=-1))
    assert "from tuple 2 on; the position of a tuple must be the one from which the next tuple is read" in str(
        caught.value
    )
    assert "  ! ['default', 2] | ['default', 1]" in str(caught.value)
