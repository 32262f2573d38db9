"""What users type: streams, tuples and the calls of spouts and bolts."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from pystorm.components import Bolt, ReliableSpout, ReplayableSpout, Spout, Stream, Tuple, streams_of
from pystorm.components.tuples import SYSTEM_COMPONENT, TICK_STREAM, values_class
from pystorm.errors import ComponentError
from tests.harness import Feeder, Harness, Parts


def declaring(outputs: Any) -> type:
    return type("Declares", (Bolt,), {"outputs": outputs})


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([], {}),
        (None, {}),
        (["word"], {"default": (("word",), False)}),
        (("word", "count"), {"default": (("word", "count"), False)}),
        ([Stream(["a"])], {"default": (("a",), False)}),
        (
            [Stream(fields=["a"], name="x"), Stream(fields=("b", "c"), name="y", direct=True)],
            {"x": (("a",), False), "y": (("b", "c"), True)},
        ),
        ([Stream(name="signal")], {"signal": ((), False)}),
    ],
)
def test_outputs_are_field_names_or_streams(outputs: Any, expected: dict[str, Any]) -> None:
    found = {name: (stream.fields, stream.direct) for name, stream in streams_of(declaring(outputs)).items()}
    assert found == expected


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        ("word", "must be a list of field names or of Stream objects, got 'word'"),
        ({"a": 1}, "must be a list"),
        (["a", "a"], "field 'a' is declared twice"),
        (["a", ""], "must be a non-empty string, got ''"),
        (["a", Stream(["b"])], "expected only field names or only Stream objects, got 'a' among them"),
        ([Stream(["a"]), Stream(["b"])], "stream 'default' is declared twice"),
        ([3], "got 3 among them"),
    ],
)
def test_other_outputs_are_refused_with_the_class_s_name(outputs: Any, complaint: str) -> None:
    with pytest.raises(ComponentError, match=complaint) as caught:
        streams_of(declaring(outputs))
    assert "Declares.outputs" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"fields": "word"}, "must be a list of names, got the string 'word'"),
        ({"fields": ["a", "a"]}, "declared twice"),
        ({"fields": [1]}, "got 1"),
        ({"name": ""}, "name must be a non-empty string"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ComponentError, match=complaint):
        Stream(**arguments)


def test_values_are_reached_by_name_and_by_position() -> None:
    values = values_class("default", ("word", "count"))(*["whale", 2])
    assert (values.word, values[1]) == ("whale", 2)
    assert values == ("whale", 2)


def test_fields_that_are_no_identifiers_are_reached_by_position() -> None:
    values: Any = values_class("1st stream!", ("class", "a b", "ok"))(*[1, 2, 3])
    assert (values[0], values[1], values.ok) == (1, 2, 3)


def test_a_tick_is_known_by_its_stream() -> None:
    assert Bolt.is_tick(Tuple(1, SYSTEM_COMPONENT, TICK_STREAM, -1, (1.0,)))
    assert not Bolt.is_tick(Tuple(1, "lines", "default", 1, ("a",)))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Bolt().emit([1]), "Bolt.emit"),
        (lambda: Bolt().ack(1), "Bolt.ack"),
        (lambda: Bolt().fail(1), "Bolt.fail"),
        (lambda: Spout().emit([1]), "Spout.emit"),
        (lambda: Spout().finish(), "Spout.finish"),
        (lambda: ReliableSpout().emit([1], 1), "ReliableSpout.emit"),
        (lambda: ReplayableSpout().emit([1], position=1), "ReplayableSpout.emit"),
        (lambda: Bolt().report_metric("m", 1), "report_metric"),
    ],
)
def test_outside_a_topology_calls_say_that_they_need_one(call: Any, name: str) -> None:
    with pytest.raises(ComponentError, match="works only inside a running topology") as caught:
        call()
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: Bolt().process(Tuple(1, "a", "b", 1, ())), "Bolt must define process"),
        (lambda: Spout().next_tuple(), "Spout must define next_tuple"),
        (lambda: ReplayableSpout().seek("", None), "ReplayableSpout must define seek"),
    ],
)
def test_what_a_subclass_must_define_is_named(call: Any, complaint: str) -> None:
    with pytest.raises(NotImplementedError, match=complaint):
        call()


def test_components_know_who_they_are(tmp_path: Path) -> None:
    class Curious(Bolt):
        outputs = ["num"]

        def __init__(self, greeting: str) -> None:
            self.greeting = greeting

        def initialize(self, conf: Any, context: Any) -> None:
            self.known = (self.component_name, self.task_id, self.topology_name, conf["own"], conf["shared"])
            assert conf == self.conf
            assert context == self.context

    parts = Parts()
    parts.spout("src", Feeder)
    parts.bolt(
        "curious",
        Curious,
        2,
        reads=[("src", "FIELDS", ["num"])],
        args={"greeting": "hi"},
        config={"own": 1, "shared": 2},
    )
    with Harness(parts.plan(shared=1), tmp_path) as h:
        h.settle()
        bolt = h.instance("curious", 1)
        assert bolt.known == ("curious", 3, "t", 1, 2)
        assert bolt.greeting == "hi"
        context = bolt.context
        assert (context["taskid"], context["componentid"], context["task_index"]) == (3, "curious", 1)
        assert context["task->component"] == {"1": "src", "2": "curious", "3": "curious"}
        assert context["source->stream->fields"] == {"src": {"default": ["num"]}}
        assert context["source->stream->grouping"] == {"src": {"default": {"type": "FIELDS", "fields": ["num"]}}}
        assert h.instance("src").context["stream->target->grouping"]["default"]["curious"]["fields"] == ["num"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("is_auto", [True, False])
def test_a_bolt_may_keep_tuples_values_and_ids_for_as_long_as_it_likes(
    tmp_path: Path, workers: int, is_auto: bool
) -> None:
    class Keeps(Bolt):
        auto_ack = is_auto

        def initialize(self, conf: Any, context: Any) -> None:
            self.tuples: list[Tuple] = []
            self.values: list[Any] = []
            self.later: list[Any] = []

        def process(self, tup: Tuple) -> None:
            number = tup.values.num
            if number % 3 == 0:
                self.tuples.append(tup)
            elif number % 3 == 1:
                self.values.append(tup.values)
            else:
                self.later.append(lambda: (tup.id, tup.values.num))
            if not is_auto:
                self.ack(tup)

    parts = Parts()
    parts.spout("src", Feeder)
    parts.bolt("keeps", Keeps, reads=["src"])
    with Harness(parts.plan(workers=workers), tmp_path) as h:
        h.settle()
        for number in range(3000):
            h.instance("src").feed(number, id=number)
        h.advance(1)
        bolt = h.instance("keeps")
        assert [tup.values.num for tup in bolt.tuples] == list(range(0, 3000, 3))
        assert [values.num for values in bolt.values] == list(range(1, 3000, 3))
        later = [ask() for ask in bolt.later]
        assert [number for _, number in later] == list(range(2, 3000, 3))
        ids = [tup.id for tup in bolt.tuples] + [tup_id for tup_id, _ in later]
        assert len(set(ids)) == 2000
        assert len(h.instance("src").acked) == 3000


def test_ticks_come_at_their_beat_and_missed_ones_are_not_made_up_for(tmp_path: Path) -> None:
    class Ticks(Bolt):
        def initialize(self, conf: Any, context: Any) -> None:
            self.ticks: list[float] = []

        def process_tick(self, tup: Tuple) -> None:
            assert Bolt.is_tick(tup)
            self.ticks.append(round(h.clock.now_s - 1000, 1))

    parts = Parts()
    parts.spout("src", Feeder)
    parts.bolt("ticks", Ticks, reads=["src"], config={"topology.tick.tuple.freq.secs": 1})
    with Harness(parts.plan(), tmp_path) as h:
        h.advance(3.5, 0.1)
        assert h.instance("ticks").ticks == pytest.approx([1, 2, 3], abs=0.11)
        h.clock.now_s += 5
        h.advance(1.5, 0.1)
        late, *after = h.instance("ticks").ticks[3:]
        assert late == pytest.approx(8.6, abs=0.11)
        assert all(second - first >= 0.9 for first, second in itertools.pairwise([late, *after]))


def test_emit_many_is_many_emits(tmp_path: Path) -> None:
    class Many(Bolt):
        outputs = ["num"]

        def process(self, tup: Tuple) -> None:
            self.emit_many([[n] for n in range(tup.values.num)])

    class Sink(Bolt):
        def initialize(self, conf: Any, context: Any) -> None:
            self.seen: list[int] = []

        def process(self, tup: Tuple) -> None:
            self.seen.append(tup.values.num)

    parts = Parts()
    parts.spout("src", Feeder)
    parts.bolt("many", Many, reads=["src"])
    parts.bolt("sink", Sink, reads=[("many", "FIELDS", ["num"])])
    with Harness(parts.plan(), tmp_path) as h:
        h.settle()
        h.feed("src", 500, id="m")
        assert h.instance("sink").seen == list(range(500))
        assert h.instance("src").acked == ["m"]
        assert h.executors("many")[0].outbox.emitted() == 500
