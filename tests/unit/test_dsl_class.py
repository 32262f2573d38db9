"""A topology as a Python class: what streamparse lets people write, and what it refuses.

Source: the cases are those of streamparse's own test of its DSL (Parsely/streamparse test/streamparse/test_dsl.py).
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import pystorm
from pystorm import Bolt, Component, Grouping, Spout, Stream, Topology, TopologyError
from pystorm.topology import flux, model
from pystorm.topology.dsl import to_model
from pystorm.topology.model import GroupingType


class WordSpout(Spout):
    outputs = ["word"]


class CountBolt(Bolt):
    outputs = ["word", "count"]
    par = 3
    config = {"topology.tick.tuple.freq.secs": 5}


class TwoStreamBolt(Bolt):
    outputs = [Stream(fields=["word", "count"]), Stream(fields=["total"], name="sum")]


class DirectSpout(Spout):
    outputs = [Stream(fields=["word"], direct=True), Stream(fields=["word"], name="other", direct=True)]


class SinkBolt(Bolt):
    """Emits nothing."""


class SilentSpout(Spout):
    """Has no outputs."""


class BadOutputs(Spout):
    outputs = "word"


class Neither(Component):
    pass


class ByLength:
    """A grouping of the user's own."""

    def __init__(self, most: int = 10) -> None:
        self.most = most


def edge_types(topology: Any) -> list[tuple[str, str, str, GroupingType]]:
    made = to_model(topology, name="t")
    return [(e.source, e.stream, e.target, e.grouping.type) for e in made.edges]


# what can be written


def test_components_are_named_by_their_attributes_and_keep_their_order() -> None:
    class WordCount(Topology):
        words = WordSpout.spec(par=2)
        count = CountBolt.spec(inputs={words: Grouping.fields("word")}, par=8)

    made = to_model(WordCount, name="wordcount")
    assert [(c.id, c.kind, c.parallelism, c.spec.class_name) for c in made.components.values()] == [
        ("words", "spout", 2, f"{__name__}.WordSpout"),
        ("count", "bolt", 8, f"{__name__}.CountBolt"),
    ]
    assert made.edges[0].grouping == model.Grouping(type=GroupingType.FIELDS, fields=("word",))
    assert list(WordCount.count.inputs) == [WordCount.words["default"]]
    assert [spec.name for spec in WordCount.specs] == ["words", "count"]


def test_a_name_of_its_own_wins_over_the_attribute() -> None:
    class WordCount(Topology):
        words = WordSpout.spec(name="word-spout")
        count = CountBolt.spec("count-bolt", [words])

    assert edge_types(WordCount) == [("word-spout", "default", "count-bolt", GroupingType.SHUFFLE)]


def test_what_spec_leaves_out_is_taken_from_the_class() -> None:
    class WordCount(Topology):
        words = WordSpout.spec()
        count = CountBolt.spec(inputs=[words])
        other = CountBolt.spec(inputs=[words], par=1, config={"own.key": [1, {"a": None}]})

    components = to_model(WordCount, name="t").components
    assert components["words"].parallelism == 1
    assert (components["count"].parallelism, components["count"].config) == (3, {"topology.tick.tuple.freq.secs": 5})
    assert (components["other"].parallelism, components["other"].config) == (1, {"own.key": [1, {"a": None}]})


@pytest.mark.parametrize(
    "form", [lambda s: s, lambda s: [s], lambda s: (s,), lambda s: s["default"], lambda s: [s["default"]]]
)
def test_an_input_without_a_grouping_is_shuffled(form: Callable[[Any], Any]) -> None:
    class WordCount(Topology):
        words = WordSpout.spec()
        count = CountBolt.spec(inputs=form(words))

    assert edge_types(WordCount) == [("words", "default", "count", GroupingType.SHUFFLE)]


def test_a_direct_stream_without_a_grouping_is_direct() -> None:
    class Direct(Topology):
        words = DirectSpout.spec()
        count = CountBolt.spec(inputs=[words, words["other"]])

    assert [kind for *_, kind in edge_types(Direct)] == [GroupingType.DIRECT, GroupingType.DIRECT]


def test_a_bolt_reads_several_streams_of_one_component() -> None:
    class WordCount(Topology):
        words = WordSpout.spec()
        count = TwoStreamBolt.spec(inputs=[words])
        sink = SinkBolt.spec(inputs={count["sum"]: Grouping.GLOBAL, count: Grouping.ALL})

    assert edge_types(WordCount)[1:] == [
        ("count", "sum", "sink", GroupingType.GLOBAL),
        ("count", "default", "sink", GroupingType.ALL),
    ]


@pytest.mark.parametrize(
    ("grouping", "kind", "fields"),
    [
        (Grouping.SHUFFLE, "SHUFFLE", ()),
        (Grouping.GLOBAL, "GLOBAL", ()),
        (Grouping.ALL, "ALL", ()),
        (Grouping.NONE, "NONE", ()),
        (Grouping.LOCAL_OR_SHUFFLE, "LOCAL_OR_SHUFFLE", ()),
        (Grouping.DIRECT, "DIRECT", ()),
        (Grouping.fields("word"), "FIELDS", ("word",)),
        (Grouping.fields("word", "count"), "FIELDS", ("word", "count")),
        (Grouping.fields(["word", "count"]), "FIELDS", ("word", "count")),
        (Grouping.partial_key("word"), "PARTIAL_KEY", ("word",)),
    ],
)
def test_groupings_have_streamparses_names(grouping: model.Grouping, kind: str, fields: tuple[str, ...]) -> None:
    assert (grouping.type.value, grouping.fields) == (kind, fields)


@pytest.mark.parametrize("custom", [ByLength, f"{__name__}.ByLength"])
def test_a_custom_grouping_is_a_class_and_its_arguments(custom: Any) -> None:
    grouping = Grouping.custom_object(custom, [7])
    assert grouping.custom is not None
    assert (grouping.custom.class_name, grouping.custom.args) == (f"{__name__}.ByLength", [7])


def test_constructor_arguments_are_a_list_or_a_map() -> None:
    class WordCount(Topology):
        words = WordSpout.spec(args={"path": "a.txt"})
        count = CountBolt.spec(inputs=[words], args=(1, ["two"]))

    components = to_model(WordCount, name="t").components
    assert components["words"].spec.args == {"path": "a.txt"}
    assert components["count"].spec.args == [1, ["two"]]


def test_parallelism_may_differ_by_environment() -> None:
    class WordCount(Topology):
        words = WordSpout.spec(par={"prod": 5, "beta": 1})

    assert to_model(WordCount, name="t", env="prod").components["words"].parallelism == 5
    with pytest.raises(TopologyError, match=r"environments beta, prod, and none is chosen; .*--set env=beta"):
        to_model(WordCount, name="t")
    with pytest.raises(TopologyError, match="none for 'test'"):
        to_model(WordCount, name="t", env="test")


def test_many_spouts_feed_one_bolt_in_a_long_chain() -> None:
    class Chain(Topology):
        config = {"topology.workers": 2}
        one = WordSpout.spec()
        two = WordSpout.spec()
        first = CountBolt.spec(inputs=[one, two])
        second = CountBolt.spec(inputs=[first])
        third = CountBolt.spec(inputs=[second, first])

    assert [(source, target) for source, _, target, _ in edge_types(Chain)] == [
        ("one", "first"), ("two", "first"), ("first", "second"), ("second", "third"), ("first", "third"),
    ]  # fmt: skip
    assert to_model(Chain, name="t").config == {"topology.workers": 2}


def test_the_names_are_found_where_streamparse_has_them() -> None:
    import pystorm.dsl

    assert {"Grouping", "Stream", "Topology"} <= set(pystorm.__all__) & set(pystorm.dsl.__all__)
    assert all(hasattr(pystorm, name) for name in ("JavaBolt", "JavaSpout", "ShellBolt", "ShellSpout"))


# to Flux


def without_places(topology: model.Topology) -> dict[str, Any]:
    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if k not in ("place", "file", "directory")}
        return [clean(item) for item in value] if isinstance(value, list) else value

    found: dict[str, Any] = clean(model.to_wire(topology))
    return found


def test_the_flux_file_of_a_topology_reads_back_as_the_same_topology(tmp_path: Path) -> None:
    class Everything(Topology):
        config = {"topology.workers": 2, "text": "a ${b} $${c} 2024-01-01", "on": True}
        words = WordSpout.spec(args={"path": "${HOME}/x", "on": None, "number": "1"}, par={"prod": 4, "beta": 1})
        direct = DirectSpout.spec(name="direct.spout")
        count = TwoStreamBolt.spec(inputs={words: Grouping.fields("word"), direct["other"]: Grouping.DIRECT})
        sink = SinkBolt.spec(
            inputs={
                count["sum"]: Grouping.custom_object(ByLength, {"most": 3}),
                count: Grouping.partial_key("word", "count"),
            },
            args=[1.5, ["x", {"y": [True]}]],
            config={"topology.max.spout.pending": 5},
        )

    file = tmp_path / "everything.yaml"
    file.write_text(yaml.safe_dump(Everything.to_flux_dict("everything", "prod")), encoding="utf-8")
    assert without_places(flux.load(file)) == without_places(to_model(Everything, name="everything", env="prod"))


def test_a_flux_dict_has_only_what_is_needed() -> None:
    class WordCount(Topology):
        words = WordSpout.spec(par=2)
        sink = SinkBolt.spec(inputs={words: Grouping.fields("word")}, par=8)

    assert WordCount.to_flux_dict("word_count") == {
        "name": "word_count",
        "spouts": [{"id": "words", "className": f"{__name__}.WordSpout", "parallelism": 2}],
        "bolts": [{"id": "sink", "className": f"{__name__}.SinkBolt", "parallelism": 8}],
        "streams": [
            {"from": "words", "to": "sink", "grouping": {"type": "FIELDS", "streamId": "default", "args": ["word"]}}
        ],
    }


# what is refused


def unknown_field() -> None:
    class Wrong(Topology):
        words = WordSpout.spec()
        count = CountBolt.spec(inputs={words: Grouping.fields("wrod")})


def duplicate_name() -> None:
    class Wrong(Topology):
        word = WordSpout.spec()
        word_ = CountBolt.spec(name="word", inputs=[word])


def bolt_without_input() -> None:
    class Wrong(Topology):
        words = WordSpout.spec()
        count = CountBolt.spec(inputs=[])


def spout_without_outputs() -> None:
    class Wrong(Topology):
        words = SilentSpout.spec()


def instance_in_place_of_a_spec() -> None:
    class Wrong(Topology):
        words = WordSpout()


def class_in_place_of_a_spec() -> None:
    class Wrong(Topology):
        words = WordSpout


def no_spout() -> None:
    class Wrong(Topology):
        pass


def config_is_text() -> None:
    class Wrong(Topology):
        config: Any = '{"foo": "bar"}'
        words = WordSpout.spec()


def input_of_another_topology() -> None:
    foreign = WordSpout.spec(name="foreign")

    class Wrong(Topology):
        words = WordSpout.spec()
        count = CountBolt.spec(inputs=[foreign])


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (unknown_field, ValueError, r"stream 'default' of WordSpout 'words' has no field 'wrod' .*did you mean 'word'\?"),
    (duplicate_name, ValueError, r"component name 'word' is used twice, first at .*test_dsl_class.py:\d+:\d+; give"),
    (bolt_without_input, ValueError, r"bolt CountBolt 'count': it has no inputs; write \.spec\(inputs="),
    (spout_without_outputs, ValueError, r"spout SilentSpout 'words': it has no outputs; add `outputs = "),
    (instance_in_place_of_a_spec, TypeError, r"words is WordSpout itself and not a spec of it; write .*\.spec\(\)"),
    (class_in_place_of_a_spec, TypeError, r"words is WordSpout itself and not a spec of it; write .*\.spec\(\)"),
    (no_spout, ValueError, r"topology Wrong has no spout; add one"),
    (config_is_text, TypeError, r"topology Wrong: config must be a dictionary, got "),
    (input_of_another_topology, ValueError, r"reads from WordSpout 'foreign', which is no attribute of the topology"),
    (lambda: Grouping.fields(), ValueError, r"Grouping\.fields needs the names of fields, got none; write"),
    (lambda: Grouping.fields(1), ValueError, r"needs the names of fields, got 1"),  # type: ignore[arg-type]
    (lambda: Grouping.partial_key([]), ValueError, r"Grouping\.partial_key needs the names of fields"),
    (lambda: Grouping.custom_object(3), TypeError, r"takes a class or its name, got 3"),  # type: ignore[arg-type]
    (lambda: Grouping.custom_object(ByLength, [{1}]), TypeError, r"ByLength must be plain data, got \{1\}"),
    (lambda: Grouping.custom_serialized(b"x"), TypeError, r"cannot run here; write the grouping as a Python class"),
    (lambda: Neither.spec(), TypeError, r"Neither is neither a spout nor a bolt; let it subclass"),
    (lambda: BadOutputs.spec(), TypeError, r"BadOutputs\.outputs must be a list of field names"),
    (lambda: WordSpout.spec(par=0), ValueError, r"WordSpout: par must be at least 1, got 0"),
    (lambda: WordSpout.spec(par=-1), ValueError, r"par must be at least 1, got -1"),
    (lambda: WordSpout.spec(par=5.4), TypeError, r"par must be a whole number or map"),  # type: ignore[arg-type]
    (lambda: WordSpout.spec(par=True), TypeError, r"par must be a whole number or map"),
    (lambda: WordSpout.spec(par={}), ValueError, r"par is an empty map"),
    (lambda: WordSpout.spec(par={1: 5}), TypeError, r"par must be a whole number or map"),  # type: ignore[dict-item]
    (lambda: WordSpout.spec(par={"prod": 5.5}), TypeError, r"par must be"),  # type: ignore[dict-item]
    (lambda: WordSpout.spec(par={"prod": 0}), ValueError, r"par of environment 'prod' must be at least 1, got 0"),
    (lambda: WordSpout.spec(name=3), TypeError, r"a component's name must be text, got 3"),  # type: ignore[arg-type]
    (lambda: WordSpout.spec(config="{}"), TypeError, r"config must be a dictionary or None"),  # type: ignore[arg-type]
    (lambda: WordSpout.spec(config={"a": {1, 2}}), TypeError, r"config must be plain data, got \{1, 2\}"),
    (lambda: WordSpout.spec(args="path"), TypeError, r"args must be a list or a dictionary, got 'path'"),
    (lambda: WordSpout.spec(args=[io.BytesIO()]), TypeError, r"args must be plain data, got <_io"),
    (lambda: WordSpout.spec(args=[{"ref": "x"}]), TypeError, r"would stand for an object of a YAML file's components"),
    (lambda: WordSpout.spec()["words"], KeyError, r"WordSpout has no stream 'words'; known: default"),
    (
        lambda: SinkBolt.spec(inputs=[SinkBolt.spec(inputs=[])]),
        KeyError,
        r"has no stream 'default'; declare it in Sink",
    ),
    (lambda: CountBolt.spec(inputs="words"), TypeError, r"inputs must be a list .* got 'words'; .*without quotes"),
    (lambda: CountBolt.spec(inputs=["words"]), TypeError, r"an input must be a spec or a stream of one, got 'words'"),  # type: ignore[list-item]
    (lambda: CountBolt.spec(inputs={"words": Grouping.ALL}), TypeError, r"an input must be a spec .* got 'words'"),
    (lambda: CountBolt.spec(inputs=[WordSpout]), TypeError, r"got <class .*; call its \.spec\(\) first"),  # type: ignore[list-item]
    (
        lambda: CountBolt.spec(inputs={WordSpout.spec(): "word"}),  # type: ignore[dict-item]
        TypeError,
        r"grouping must be a Grouping, got 'word'; write Grouping\.fields\('word'\)",
    ),
    (lambda: pystorm.JavaBolt.spec(full_class_name="a.B"), TypeError, r"a JavaBolt cannot run here; there is no JVM"),
    (lambda: pystorm.JavaSpout.spec(full_class_name="a.B"), TypeError, r"a subclass of pystorm\.Spout"),
    (lambda: pystorm.ShellBolt.spec(command="perl"), TypeError, r"a ShellBolt cannot run here; .* with subprocess"),
    (lambda: pystorm.ShellSpout.spec("x"), TypeError, r"subclass of pystorm\.Spout that starts the program"),
]


@pytest.mark.parametrize(("write", "kind", "message"), REFUSED)
def test_a_mistake_raises_streamparses_error_with_its_place(
    write: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(TopologyError, match=message) as caught:
        write()
    assert isinstance(caught.value, kind)
    place = caught.value.problems[0].place
    assert place is not None
    assert place.file == __file__
    first = write.__code__.co_firstlineno
    assert first <= place.line <= first + 6


def test_a_stream_is_not_read_twice() -> None:
    words = WordSpout.spec()
    with pytest.raises(ValueError, match="reads stream 'default' of WordSpout twice"):
        CountBolt.spec(inputs=[words, words["default"]])


def test_all_mistakes_of_a_class_come_at_once() -> None:
    with pytest.raises(ValueError, match="has no field") as caught:

        class Wrong(Topology):
            words = WordSpout.spec()
            silent = SilentSpout.spec()
            count = CountBolt.spec(inputs={words: Grouping.fields("x", "y")})

    assert isinstance(caught.value, TopologyError)
    assert len(caught.value.problems) == 3


def test_a_class_that_workers_could_not_import_is_refused() -> None:
    class Local(Bolt):
        pass

    class WordCount(Topology):
        words = WordSpout.spec()
        count = Local.spec(inputs=[words])

    with pytest.raises(TopologyError, match="written inside another class or a function; move it to the top level"):
        to_model(WordCount, name="t")


def test_a_class_written_inside_the_topology_is_not_taken_for_a_forgotten_spec() -> None:
    class WordCount(Topology):
        class Inner(Spout):
            outputs = ["word"]

        words = Inner.spec()

    assert [spec.name for spec in WordCount.specs] == ["words"]


def test_a_topology_class_can_be_used_for_two_models() -> None:
    class WordCount(Topology):
        words = WordSpout.spec()

    one, two = (to_model(WordCount, name=name) for name in "ab")
    assert dataclasses.replace(one, name="b") == two
