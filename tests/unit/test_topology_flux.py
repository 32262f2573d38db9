"""Flux files: every form that is read, and files that are no YAML at all."""

from __future__ import annotations

import os

import pytest

from pystorm.errors import Place, TopologyError
from pystorm.topology import flux
from pystorm.topology.model import GroupingType, from_wire, to_wire
from pystorm.topology.yaml_source import parse_yaml, value_of
from tests.unit.topologies.marked import GOOD, changed, write_marked

FULL = """\
name: full
config: {topology.workers: 2, own: [1, {a: b}]}
components:
  - id: late
    className: parts.Store
    constructorArgs: [{ref: early}, {reflist: [early, early]}]
  - id: early
    className: parts.Store
    constructorArgs: {size: 3}
    properties:
      - {name: colour, value: red}
      - {name: other, value: [1, 2]}
    configMethods:
      - {name: set, args: [1, {deep: [{ref: other}]}]}
      - {name: go}
  - {id: other, className: parts.Store}
spouts:
  - id: lines
    className: parts.LineSpout
    constructorArgs: [{nested: {store: {ref: late}}}, 5]
    parallelism: 2
    numTasks: 3
    onHeapMemoryLoad: 128
bolts:
  - id: count
    className: parts.CountBolt
    config: {topology.tick.tuple.freq.secs: 1}
    properties: [{name: store, ref: early}]
streams:
  - name: a stream
    from: lines
    to: count
    grouping: {type: fields, args: [line], streamId: other}
"""


def problem_of(path, **kwargs):
    with pytest.raises(TopologyError) as caught:
        flux.load(path, **kwargs)
    [problem] = caught.value.problems
    return problem


def test_every_part_of_a_file_gets_into_the_model(tmp_path):
    path, _ = write_marked(tmp_path, FULL)
    loaded = flux.load_with_places(path)
    topology = loaded.topology
    assert topology.name == "full"
    assert topology.config == {"topology.workers": 2, "own": [1, {"a": "b"}]}
    assert (topology.directory, topology.file) == (str(tmp_path), str(path))
    early, late = topology.objects["early"], topology.objects["late"]
    assert early.args == {"size": 3}
    assert early.properties == [["colour", "red"], ["other", [1, 2]]]
    assert early.config_methods == [["set", [1, {"deep": [{"$ref": "other"}]}]], ["go", []]]
    assert late.args == [{"$ref": "early"}, [{"$ref": "early"}, {"$ref": "early"}]]
    lines, count = topology.components["lines"], topology.components["count"]
    assert (lines.kind, lines.spec.args) == ("spout", [{"nested": {"store": {"$ref": "late"}}}, 5])
    assert (count.kind, count.parallelism, count.config) == ("bolt", 1, {"topology.tick.tuple.freq.secs": 1})
    assert count.spec.properties == [["store", {"$ref": "early"}]]
    [edge] = topology.edges
    assert (edge.source, edge.target, edge.stream) == ("lines", "count", "other")
    assert (edge.grouping.type, edge.grouping.fields) == (GroupingType.FIELDS, ("line",))


def test_objects_come_after_those_that_they_refer_to(tmp_path):
    path, _ = write_marked(tmp_path, FULL)
    assert list(flux.load(path).objects) == ["other", "early", "late"]


def test_num_tasks_is_the_number_of_tasks_and_memory_loads_are_notes(tmp_path):
    path, _ = write_marked(tmp_path, FULL)
    loaded = flux.load_with_places(path)
    assert loaded.topology.components["lines"].parallelism == 3
    [note] = loaded.notes
    assert (note.place.line, "no effect" in note.message) == (23, True)


def test_the_model_survives_the_wire(tmp_path):
    topology = flux.load(write_marked(tmp_path, FULL)[0])
    assert from_wire(to_wire(topology)) == topology


@pytest.mark.parametrize("kind", [kind for kind in GroupingType if kind is not GroupingType.CUSTOM])
@pytest.mark.parametrize("form", ["{}", "{{type: {}}}"])
def test_every_grouping_has_a_long_and_a_short_form_in_any_case(tmp_path, kind, form):
    for text in (kind.value, kind.value.lower(), kind.value.lower().replace("_", "-")):
        path, _ = write_marked(tmp_path, changed(("{type: SHUFFLE}", form.format(text))))
        assert flux.load(path).edges[0].grouping.type is kind


def test_places_point_at_values(tmp_path):
    path, place = write_marked(tmp_path, changed(("args: [word]", "args: [length, §word]")))
    places = flux.load_with_places(path).places
    assert places["edge", "1", "grouping", "args", "1"] == place
    assert places["component", "split"] == Place(str(path), 9, 9)
    assert places["config", "topology.workers"] == Place(str(path), 3, 21)
    assert places["config", "topology.workers", "#key"] == Place(str(path), 3, 3)


def test_objects_that_refer_to_each_other_in_a_circle_are_a_problem(tmp_path):
    text = changed(
        (
            "spouts:",
            "components:\n  - {id: a, className: parts.Store, constructorArgs: [{ref: b}]}\n"
            "  - {id: b, className: parts.Store, constructorArgs: [{ref: §a}]}\nspouts:",
        )
    )
    path, place = write_marked(tmp_path, text)
    problem = problem_of(path)
    assert (problem.place, "in a circle: a -> b -> a" in problem.message) == (place, True)


def test_a_file_without_any_list_but_a_name_is_read(tmp_path):
    path, _ = write_marked(tmp_path, "name: x\nconfig:\nspouts:\nbolts:\nstreams:\nincludes:\n")
    assert flux.load(path).components == {}


# files that cannot be read

UNREADABLE = {
    "empty": ("§", "the file is empty", "name"),
    "only a comment": ("§# nothing\n", "the file is empty", "name"),
    "a list": ("§- a\n- b\n", "must be a map", "begin it with"),
    "a text": ("§hello\n", "must be a map", "begin it with"),
    "tab": ("name: x\nspouts:\n§\t- id: a\n", "not valid YAML", "spaces, not tabs"),
    "unclosed list": ("name: [a\n§", "not valid YAML", "close every bracket"),
    "colon in text": ("name: x§: y\n", "mapping values are not allowed", "quote"),
    "wrong indentation": ("name: x\n config§: {}\n", "not valid YAML", ""),
    "two documents": ("name: x\n§---\nname: y\n", "single document", "---"),
    "undefined alias": ("name: §*nope\n", "undefined alias", "anchor"),
    "unclosed quotes": ('name: "x\n§', "not valid YAML", "close the quotes"),
    "control character": ("name: x§\x07\n", "does not allow the character '\\x07'", "remove"),
    "python object": (
        "name: x\nconfig: {a: §!!python/object/apply:os.system ['true']}\n",
        "tag '!!python/object",
        "remove the tag",
    ),
    "own tag": ("name: §!mine x\n", "tag '!mine' is not supported", "remove the tag"),
    "wrong integer": ("name: x\nconfig: {a: §!!int b}\n", "not a valid value of YAML's type int", "quote"),
    "binary": ("name: x\nconfig: {a: §!!binary aGk=}\n", "tag '!!binary' is not supported", ""),
    "anchor in itself": ("name: x\nconfig: {a: §&a [*a]}\n", "contains itself", "alias"),
    "merging a text": ("name: x\nconfig: {<<: §abc}\n", "'<<' merges a map", "*anchor"),
    "a list as key": ("name: x\nconfig: {§[1, 2]: 3}\n", "key must be a single value", "quote"),
    "the same key twice": ("name: x\n§name: y\n", "key 'name' is written twice", "remove one"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_is_no_topology_is_one_problem_at_its_place(tmp_path, name):
    text, message, advice = UNREADABLE[name]
    path, place = write_marked(tmp_path, text)
    problem = problem_of(path)
    assert (message in problem.message, advice in problem.hint) == (True, True), problem
    assert problem.place == place


def test_bytes_that_are_not_utf_8_are_placed(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: x\n# Stück é\n".encode() + "config: {a: für}\n".encode("latin-1"))
    problem = problem_of(path)
    assert str(problem) == f"{path}:3:14: the file is not UTF-8 text: byte 0xfc; save it as UTF-8"


def test_a_byte_order_mark_is_no_problem(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert flux.load(path).name == "words"


def test_a_missing_file_is_a_problem_with_the_nearest_name(tmp_path):
    write_marked(tmp_path, GOOD, "wordcount.yaml")
    problem = problem_of(tmp_path / "wordcuont.yaml")
    assert (problem.message, problem.place) == ("there is no such file", Place(str(tmp_path / "wordcuont.yaml")))
    assert problem.hint == f"did you mean {str(tmp_path / 'wordcount.yaml')!r}?"
    assert "no directory" in problem_of(tmp_path / "no" / "x.yaml").hint


def test_a_directory_is_a_problem_that_lists_its_topologies(tmp_path):
    write_marked(tmp_path, GOOD, "wordcount.yaml")
    problem = problem_of(tmp_path)
    assert ("directory" in problem.message, problem.hint) == (True, "in it: wordcount.yaml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_a_problem(tmp_path):
    path, _ = write_marked(tmp_path, GOOD)
    path.chmod(0)
    assert "cannot be read: Permission denied" in problem_of(path).message


def test_a_name_that_no_file_can_have_is_a_problem():
    assert "cannot be read" in problem_of("a\x00b.yaml").message


def test_very_deep_nesting_is_a_problem(tmp_path):
    path, _ = write_marked(tmp_path, "[" * 5000)
    assert "nested too deeply" in problem_of(path).message


# YAML itself


def test_merge_keys_take_what_the_map_does_not_have():
    problems = []
    node = parse_yaml("base: &b {x: 1, y: 2}\nmore: &m {z: 3}\nout: {<<: [*b, *m], y: 5}\n", "f", problems)
    assert (value_of(node)["out"], problems) == ({"y": 5, "x": 1, "z": 3}, [])


def test_dates_stay_text_and_one_and_true_are_two_keys():
    problems = []
    node = parse_yaml("{day: 2024-02-30, at: 12:30:45, 1: a, true: b}", "f", problems)
    data = value_of(node)
    assert (data["day"], problems) == ("2024-02-30", [])


def test_an_alias_is_a_copy_of_its_anchor():
    assert value_of(parse_yaml("{a: &x [1, {b: 2}], c: *x}", "f", [])) == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}
