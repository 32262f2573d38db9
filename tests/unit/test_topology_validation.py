"""Mistakes in topology files: each one is found at its place, alone, and with the right advice."""

from __future__ import annotations

import sys

import pytest

from pystorm.errors import Place, TopologyError
from pystorm.topology import flux, validation
from pystorm.topology.loading import load_checked
from pystorm.topology.model import Component, Edge, Grouping, GroupingType, ObjectSpec, Topology
from tests.unit.topologies.marked import GOOD, PARTS, changed, write_marked


def problems_of(path, **kwargs):
    with pytest.raises(TopologyError) as caught:
        load_checked(path, **kwargs)
    return caught.value.problems


SHUFFLE_EDGE = "- {from: lines, to: split, grouping: {type: SHUFFLE}}"
FIELDS_EDGE = "- {from: split, to: count, grouping: {type: FIELDS, args: [word]}}"
COUNT = "className: parts.CountBolt"

# What is replaced in GOOD, what by (the mark shows where the problem is), part of the message, part of the advice.
MISTAKES = {
    # the file's form
    "no name": ("name: words\n", "§", "has no name", "add `name"),
    "empty name": ("name: words", 'name: §""', "name must be text, got an empty text", ""),
    "name is a number": ("name: words", "name: §5", "name must be text, got 5", "quotes"),
    "name with a slash": ("name: words", "name: §words/2", "'words/2' has a character", "letters"),
    "unknown section": ("streams:", "§stream: 1\nstreams:", "unknown key 'stream'", "did you mean 'streams'?"),
    "unknown component key": ("parallelism: 2", "§paralelism: 2", "unknown key 'paralelism'", "'parallelism'"),
    "unknown stream key": ("{from: split, to", "{from: split, §streamId: x, to", "unknown key", "inside grouping"),
    "unknown grouping key": ("args: [word]", "§argz: x, args: [word]", "unknown key 'argz'", "'args'"),
    "duplicate key": ("parallelism: 2", "parallelism: 2\n    §parallelism: 3", "written twice", "remove one"),
    "parallelism is text": ("parallelism: 2", 'parallelism: §"2"', "whole number, got text '2'", "without quotes"),
    "parallelism is true": ("parallelism: 2", "parallelism: §yes", "whole number, got true", ""),
    "constructorArgs is text": ("{path: lines.txt}", "§lines.txt", "list or a map", "[lines.txt]"),
    "config is a list": ("config:\n  topology.workers: 2", "config: §[1]", "config must be a map", "key: value"),
    "component config is text": (COUNT, COUNT + "\n    config: §x", "config must be a map, got text 'x'", ""),
    "factory": (COUNT, COUNT + "\n    §factory: make", "factory is not supported", "under className"),
    "topologySource": ("streams:", "§topologySource: {className: a.B}\nstreams:", "not supported", "Python file"),
    "workerHooks": ("streams:", "§workerHooks: []\nstreams:", "not supported", "initialize"),
    "property without value": (COUNT, COUNT + "\n    properties: [§{name: x}]", "either a value or a ref", "{name"),
    "method without name": (COUNT, COUNT + "\n    configMethods: [§{args: [1]}]", "has a name", "{name"),
    "unknown ref": ("path: lines.txt", "path: {ref: §stor}", "no component 'stor'", "under components"),
    # configuration
    "unknown config key": ("topology.workers: 2", "§topology.wrkers: 2", "unknown config key", "'topology.workers'"),
    "misspelt prefix": ("topology.workers: 2", "§toplogy.workers: 2", "unknown config key", "'topology.workers'"),
    "no worker": ("topology.workers: 2", "topology.workers: §0", "at least 1, or null, got 0", ""),
    "guarantee misspelt": (
        "topology.workers: 2",
        "topology.guarantee: §exactly_once",
        "must be one of",
        "'exactly-once'",
    ),
    "config for the whole topology": (
        COUNT,
        COUNT + "\n    config: {§topology.workers: 2}",
        "whole topology",
        "topology.debug",
    ),
    "component config value": (
        COUNT,
        COUNT + "\n    config: {topology.tick.tuple.freq.secs: §-1}",
        "bolt 'count': config key",
        "",
    ),
    # classes
    "class misspelt": ("parts.SplitBolt", "§parts.SpiltBolt", "has no class 'SpiltBolt'", "'SplitBolt'"),
    "module misspelt": ("parts.SplitBolt", "§partz.SplitBolt", "no module 'partz'", "did you mean 'parts.SplitBolt'?"),
    "no module": ("parts.SplitBolt", "§SplitBolt", "not of the form module.Class", "write parts.SplitBolt"),
    "Java class": ("parts.SplitBolt", "§org.apache.storm.Bolt", "no module 'org'", "in Python"),
    "no class": ("parts.SplitBolt", "§parts.NOT_A_CLASS", "not a class but int", ""),
    "bolt among spouts": (
        "className: parts.LineSpout\n    constructorArgs: {path: lines.txt}",
        "className: §parts.CountBolt",
        "is not a Spout but a Bolt",
        "move it to bolts",
    ),
    "neither spout nor bolt": ("parts.CountBolt", "§parts.Store", "is not a Bolt", "subclass pystorm.Bolt"),
    "no process": ("parts.CountBolt", "§parts.LazyBolt", "does not define process", "def process(self, tup)"),
    "malformed outputs": ("parts.CountBolt", "§parts.MuddledBolt", "outputs must be a list", ""),
    "unknown argument": ("{path: lines.txt}", "{§pth: lines.txt}", "no argument 'pth'", "did you mean 'path'?"),
    "missing argument": ("{path: lines.txt}", "§{limit: 3}", "needs the argument 'path'", ""),
    "no arguments": ("parts.LineSpout\n    constructorArgs: {path: lines.txt}", "§parts.LineSpout", "needs", ""),
    "too many arguments": ("{path: lines.txt}", "[a, 1, §2]", "takes 2 positional arguments, got 3", "too many"),
    "arguments for none": (COUNT, COUNT + "\n    constructorArgs: [§1]", "takes 0 positional", ""),
    "unknown method": (COUNT, COUNT + "\n    configMethods: [{name: §set_limt}]", "no method", "'set_limit'"),
    "method's arguments": (COUNT, COUNT + "\n    configMethods: [{name: §set_limit}]", "needs the argument", ""),
    "unseekable spout": (
        "topology.workers: 2\nspouts:\n  - id: lines\n    className: parts.LineSpout",
        "topology.guarantee: exactly-once\nspouts:\n  - id: lines\n    className: §parts.LineSpout",
        "exactly-once needs spouts that can be read again",
        "ReplayableSpout",
    ),
    "parallelism 0": ("parallelism: 2", "parallelism: §0", "must be at least 1, got 0", ""),
    "parallelism of a keyed bolt": ("parallelism: 4", "parallelism: §129", "1..128, got 129", "max.parallelism"),
    # streams
    "unknown from": ("{from: split, to", "{from: §splt, to", "no spout or bolt 'splt'", "did you mean 'split'?"),
    "grouping misspelt": ("type: SHUFFLE", "type: §SHUFLE", "unknown grouping 'SHUFLE'", "'SHUFFLE'"),
    "no grouping type": ("{type: SHUFFLE}", "§{}", "has no type", "{type: SHUFFLE}"),
    "args is text": ("args: [word]", "args: §word", "args must be a list, got text 'word'", "args: [word]"),
    "no fields": (", args: [word]", ", args: §[]", "grouping FIELDS needs fields", "args: [field, ...]"),
    "short form without fields": ("{type: FIELDS, args: [word]}", "§fields", "needs fields", "args"),
    "unknown field": ("args: [word]", "args: [length, §wrod]", "no field 'wrod'", "did you mean 'word'?"),
    "args of shuffle": ("{type: SHUFFLE}", "{type: SHUFFLE, §args: [line]}", "takes no args", "FIELDS"),
    "unknown stream": (
        "FIELDS, args: [word]",
        "FIELDS, streamId: §rejectd, args: [reason]",
        "no stream 'rejectd'",
        "'rejected'",
    ),
    "direct grouping of a plain stream": (
        "FIELDS, args: [word]",
        "DIRECT, streamId: §default",
        "DIRECT needs a direct stream",
        "direct=True",
    ),
    "plain grouping of a direct stream": (
        "FIELDS, args: [word]",
        "SHUFFLE, streamId: §orders",
        "can only be DIRECT",
        "DIRECT",
    ),
    "custom without class": ("{type: SHUFFLE}", "§{type: CUSTOM}", "CUSTOM needs a class", "customClass"),
    "custom class misspelt": (
        "{type: SHUFFLE}",
        "{type: CUSTOM, customClass: {className: §parts.ByLenght, constructorArgs: [3]}}",
        "no class 'ByLenght'",
        "'ByLength'",
    ),
    "customClass without custom": (
        "{type: SHUFFLE}",
        "{type: ALL, §customClass: {className: parts.ByLength}}",
        "only grouping CUSTOM",
        "CUSTOM",
    ),
    "no dead letters": (
        "FIELDS, args: [word]",
        "SHUFFLE, streamId: §dead_letter",
        "writes no dead letters",
        "topology.bolt.on.error: dead-letter",
    ),
    "declared twice": (
        SHUFFLE_EDGE,
        SHUFFLE_EDGE + "\n  - §{from: lines, to: split, grouping: all}",
        "declared twice, first at",
        "remove one",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_one_mistake_is_one_problem_at_its_place_with_advice(tmp_path, name):
    old, new, message, advice = MISTAKES[name]
    path, place = write_marked(tmp_path, changed((old, new)))
    problems = problems_of(path, env={})
    assert [problem.place for problem in problems] == [place], problems
    assert message in problems[0].message + "; " + problems[0].hint
    assert advice in problems[0].message + "; " + problems[0].hint


# Mistakes whose place is not where the text was changed: whole text changes, with the mark.
FURTHER_MISTAKES = {
    "duplicate id": (
        [("- id: count", "- id: §lines\n    className: parts.SplitBolt\n  - id: count")],
        ["id 'lines' is used twice, first at ", "topology.yaml:5:9", "another id"],
    ),
    "no id": (
        [("  - id: split\n    className", "  - §className")],
        ["this bolt has no id", "add `id"],
    ),
    "no className": (
        [("- id: split\n    className: parts.SplitBolt\n", "- §id: split\n")],
        ["bolt 'split' has no className", "module.Class"],
    ),
    "no grouping": (
        [("- {from: lines, to: split, grouping: {type: SHUFFLE}}", "- §{from: lines, to: split}")],
        ["stream lines -> split has no grouping", "add `grouping: shuffle`"],
    ),
    "bolt without input": (
        [("- id: count", "- id: §count"), ("  " + FIELDS_EDGE + "\n", "")],
        ["bolt 'count' reads no stream", "to: count"],
    ),
    "to a spout": (
        [(SHUFFLE_EDGE, SHUFFLE_EDGE + "\n  - {from: count, to: §lines, grouping: all}")],
        ["'lines' is a spout, which reads no stream", "swap"],
    ),
    "cycle": (
        [
            ("parts.CountBolt", "parts.SplitBolt"),
            (FIELDS_EDGE, FIELDS_EDGE + "\n  - {from: count, to: §split, grouping: all}"),
        ],
        ["streams go in a circle: split -> count -> split", "round for ever"],
    ),
    "self-loop": (
        [
            ("parts.CountBolt", "parts.SplitBolt"),
            (FIELDS_EDGE, FIELDS_EDGE + "\n  - {from: count, to: §count, grouping: all}"),
        ],
        ["streams go in a circle: count -> count"],
    ),
    "no spout": (
        [
            ("spouts:\n  - id: lines\n    className: parts.LineSpout\n    constructorArgs: {path: lines.txt}\n", ""),
            ("  " + SHUFFLE_EDGE + "\n", "  - {from: count, to: split, grouping: all}\n"),
            ("  " + FIELDS_EDGE + "\n", ""),
            ("- id: count", "- id: count"),
        ],
        ["the topology has no spout"],
    ),
}


@pytest.mark.parametrize("name", FURTHER_MISTAKES)
def test_a_mistake_elsewhere_is_found_at_its_place(tmp_path, name):
    replacements, expected = FURTHER_MISTAKES[name]
    path, place = write_marked(tmp_path, changed(*replacements))
    text = "\n".join(str(problem) for problem in problems_of(path, env={}) if problem.place == place)
    for part in expected:
        assert part in text


def test_the_unchanged_topology_has_no_problem(tmp_path):
    path, _ = write_marked(tmp_path, GOOD)
    loaded = load_checked(path, env={})
    assert (loaded.topology.name, list(loaded.topology.components)) == ("words", ["lines", "split", "count"])
    assert loaded.notes == ()


def test_mistakes_of_form_and_of_meaning_come_at_once_in_the_order_of_the_file(tmp_path):
    path, _ = write_marked(
        tmp_path,
        changed(
            ("topology.workers: 2", "topology.wrkers: 2"),
            ("parts.LineSpout", "parts.LineSpot"),
            ("parallelism: 2", "paralelism: 2"),
            ("parallelism: 4", "parallelism: 0"),
            ("to: split", "to: splitt"),
            ("[word]", "[wrd]"),
        ),
    )
    problems = problems_of(path)
    lines = [problem.place.line for problem in problems]
    assert lines == sorted(lines)
    assert {3, 6, 11, 14, 16, 17} <= set(lines)
    assert all(problem.hint for problem in problems if problem.place.line != 14)


def test_every_line_of_the_message_begins_with_file_line_and_column(tmp_path):
    path, place = write_marked(tmp_path, changed(("parallelism: 4", "parallelism: §0")))
    with pytest.raises(TopologyError) as caught:
        load_checked(path)
    assert str(caught.value) == f"{path}:14:18: bolt 'count': parallelism must be 1..128, got 0"
    assert str(place) == f"{path}:14:18"


BROKEN_MODULES = {
    "error": ("\nimport math\nx = math.sqrt(-1)\n", "broken.py:3: ValueError"),
    "name error": ("def f():\n    return nope\nf()\n", "broken.py:2: NameError: name 'nope'"),
    "syntax error": ("class A:\n    def\n", "broken.py:2:"),
    "exit": ("import sys\nsys.exit(3)\n", "broken.py:2: SystemExit: 3"),
    "missing package": ("\n\nimport no_such_package_at_all\n", "broken.py:3: ModuleNotFoundError"),
    "error inside the standard library": ("import json\njson.loads('{')\n", "broken.py:2: JSONDecodeError"),
}


@pytest.mark.parametrize("name", BROKEN_MODULES)
def test_a_module_that_cannot_be_imported_is_reported_with_the_users_own_line(tmp_path, name):
    source, expected = BROKEN_MODULES[name]
    (tmp_path / "broken.py").write_text(source)
    path, place = write_marked(tmp_path, changed(("parts.CountBolt", "§broken.CountBolt")))
    sys.modules.pop("broken", None)
    [problem] = problems_of(path)
    assert problem.place == place
    assert "module 'broken' cannot be imported" in problem.message
    assert expected in problem.message


def test_a_missing_submodule_is_suggested_from_its_package(tmp_path):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "__init__.py").write_text("")
    (tmp_path / "shelf" / "counting.py").write_text("")
    path, place = write_marked(tmp_path, changed(("parts.CountBolt", "§shelf.countin.CountBolt")))
    [problem] = problems_of(path)
    assert (problem.place, problem.hint) == (place, "did you mean 'counting'?")


def test_what_a_module_prints_while_imported_stays_out_of_stdout(tmp_path, capsys):
    path, _ = write_marked(tmp_path, changed(("parts.CountBolt", "chatty.CountBolt")))
    (tmp_path / "chatty.py").write_text("print('hello')\nfrom parts import CountBolt\n")
    sys.modules.pop("chatty", None)
    load_checked(path)
    assert capsys.readouterr() == ("", "hello\n")


def test_components_are_never_built(tmp_path):
    path, _ = write_marked(tmp_path, changed(("parts.CountBolt", "parts.NeverBuilt")))
    assert load_checked(path).topology.components["count"].spec.class_name == "parts.NeverBuilt"


def test_the_import_path_is_restored_after_success_and_failure(tmp_path):
    before = list(sys.path)
    load_checked(write_marked(tmp_path, GOOD)[0])
    assert sys.path == before
    problems_of(write_marked(tmp_path, changed(("parts.CountBolt", "parts.Nope")))[0])
    assert sys.path == before


def test_two_topologies_may_have_different_modules_of_one_name(tmp_path):
    for name, parent in (("first", "SplitBolt"), ("second", "LineSpout")):
        path, _ = write_marked(tmp_path / name, changed(("parts.CountBolt", "same.Thing")))
        (path.parent / "same.py").write_text(f"from parts import {parent}\nclass Thing({parent}): pass\n")
    load_checked(tmp_path / "first" / "topology.yaml")
    problems = problems_of(tmp_path / "second" / "topology.yaml")
    assert any("same.Thing is not a Bolt but a Spout" in problem.message for problem in problems)
    load_checked(tmp_path / "first" / "topology.yaml")


def test_a_spout_without_readers_is_allowed(tmp_path):
    extra = "  - id: idle\n    className: parts.SeekableSpout\nbolts:"
    load_checked(write_marked(tmp_path, changed(("bolts:", extra)))[0])


def test_exactly_once_is_fine_with_replayable_spouts(tmp_path):
    text = changed(
        ("topology.workers: 2", "topology.guarantee: exactly-once"),
        ("parts.LineSpout\n    constructorArgs: {path: lines.txt}", "parts.SeekableSpout"),
    )
    load_checked(write_marked(tmp_path, text)[0])


def test_dead_letters_can_be_read_where_they_are_written(tmp_path):
    text = changed(
        ("topology.workers: 2", "topology.bolt.on.error: dead-letter"),
        ("{type: FIELDS, args: [word]}", "{type: FIELDS, streamId: dead_letter, args: [error]}"),
    )
    load_checked(write_marked(tmp_path, text)[0])


def test_named_direct_and_custom_streams_pass(tmp_path):
    text = changed(
        (
            FIELDS_EDGE,
            "- {from: split, to: count, grouping: {type: DIRECT, streamId: orders}}\n"
            "  - from: split\n    to: count\n    grouping:\n      type: CUSTOM\n      streamId: rejected\n"
            "      customClass: {className: parts.ByLength, constructorArgs: [3]}\n"
            "  - {from: split, to: count, grouping: {type: PARTIAL_KEY, args: [word, length]}}",
        )
    )
    topology = load_checked(write_marked(tmp_path, text)[0]).topology
    assert [edge.grouping.type for edge in topology.inputs_of("count")] == [
        GroupingType.DIRECT,
        GroupingType.CUSTOM,
        GroupingType.PARTIAL_KEY,
    ]


def test_the_limit_of_a_keyed_bolt_follows_max_parallelism_and_binds_no_other(tmp_path):
    text = changed(("topology.workers: 2", "topology.max.parallelism: 3"), ("parallelism: 4", "parallelism: §4"))
    path, place = write_marked(tmp_path, text)
    [problem] = problems_of(path)
    assert (problem.place, "1..3, got 4" in problem.message) == (place, True)
    load_checked(write_marked(tmp_path, changed(("parallelism: 2", "parallelism: 500")))[0])


def test_storm_keys_without_effect_are_notes_not_problems(tmp_path):
    path, place = write_marked(tmp_path, changed(("topology.workers: 2", "§topology.acker.executors: 2")))
    [note] = load_checked(path).notes
    assert (note.place, "no effect" in note.message) == (place, True)


def test_a_model_without_places_is_checked_too():
    topology = Topology(
        name="words",
        directory=str(PARTS.parent),
        components={
            "lines": Component(id="lines", kind="spout", spec=ObjectSpec(class_name="parts.LineSpout", args=["x"])),
            "count": Component(
                id="count", kind="bolt", spec=ObjectSpec(class_name="parts.CountBolt"), place=Place("words.py", 7)
            ),
        },
        edges=(
            Edge(
                source="lines",
                target="count",
                grouping=Grouping(type=GroupingType.FIELDS, fields=("lin",)),
                place=Place("words.py", 9),
            ),
        ),
    )
    [problem] = validation.check(topology)
    assert str(problem) == (
        "words.py:9:0: stream lines -> count: stream 'default' of 'lines' has no field 'lin'; did you mean 'line'?"
    )
    with pytest.raises(TopologyError, match="did you mean 'line'"):
        validation.check_or_raise(topology)


def test_load_alone_does_not_import_anything(tmp_path):
    path, _ = write_marked(tmp_path, changed(("parts.CountBolt", "nowhere.CountBolt")))
    assert flux.load(path).components["count"].spec.class_name == "nowhere.CountBolt"
