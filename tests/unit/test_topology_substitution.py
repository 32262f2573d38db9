"""Placeholders: what they become, where they are allowed, and that nothing in a file can break the reader."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystorm.errors import Place, TopologyError
from pystorm.topology import flux
from pystorm.topology.loading import load_checked
from pystorm.topology.substitution import Substitution
from pystorm.topology.yaml_source import node_of, parse_yaml, value_of
from tests.unit.topologies.marked import changed, write_marked


def substituted(text, *, values=None, config=None, env=None, directory="/topologies"):
    """A YAML text with placeholders replaced, as plain data, and the problems."""
    problems = []
    node = parse_yaml(text, "file.yaml", problems)
    nodes = {key: node_of(value, Place("config.yaml", 1, 1)) for key, value in (config or {}).items()}
    substitution = Substitution(
        values=values or {}, config=nodes, env=env or {}, directory=directory, problems=problems
    )
    return value_of(substitution.apply(node)) if node else None, problems


WORKING = [
    # a whole value takes the type
    ("a: ${n}", {"n": 3}, {"a": 3}),
    ("a: ${n}", {"n": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
    ("a: ${n}", {"n": True}, {"a": True}),
    ("a: ${n}", {"n": "3"}, {"a": "3"}),
    # in quotes and inside text it is text
    ('a: "${n}"', {"n": 3}, {"a": "3"}),
    ("a: x${n}y", {"n": 3}, {"a": "x3y"}),
    ("a: ${n}${n}", {"n": 3}, {"a": "33"}),
    ("a: is ${n}", {"n": True}, {"a": "is true"}),
    ("a: is ${n}", {"n": None}, {"a": "is "}),
    # several on a line, in flow maps and lists, as keys
    ("{a: ${n}, b: [${n}, ${m}], c: ${m}/${n}}", {"n": 1, "m": "x"}, {"a": 1, "b": [1, "x"], "c": "x/1"}),
    ("${m}: 1", {"m": "x"}, {"x": 1}),
    ("a: '${m} and ${n}'", {"m": "x", "n": 1}, {"a": "x and 1"}),
    ("a: |\n  line ${n}\n  line ${m}\n", {"n": 1, "m": 2}, {"a": "line 1\nline 2\n"}),
    # an element of a list
    ("{a: ${n[1]}}", {"n": [5, 6]}, {"a": 6}),
    # escapes
    ("a: $${n}", {"n": 1}, {"a": "${n}"}),
    ("{a: $${n}, b: $n, c: $}", {"n": 1}, {"a": "${n}", "b": "$n", "c": "$"}),
    ("a: costs $5 {now}", {}, {"a": "costs $5 {now}"}),
    # a value may hold placeholders itself
    ("a: ${n}", {"n": "${m}/x", "m": "y"}, {"a": "y/x"}),
    ("a: ${n}", {"n": ["${m}"], "m": 2}, {"a": [2]}),
    # a name may hold what YAML gives a meaning
    ("{a: ${topology.dir}/x, b: 1}", {}, {"a": "/topologies/x", "b": 1}),
]


@pytest.mark.parametrize(("text", "values", "expected"), WORKING)
def test_placeholders_become_what_they_stand_for(text, values, expected):
    assert substituted(text, values=values) == (expected, [])
    assert substituted(text, config=values) == (expected, [])


ENVIRONMENT = [
    ("8", 8),
    ("true", True),
    ("text", "text"),
    ("", ""),
    ("a: b", "a: b"),
    ("[1]", "[1]"),
    ("p#ss #word", "p#ss #word"),
    ("{broken", "{broken"),
    ("${n}", "${n}"),
    ("$${n}", "$${n}"),
    ("!tag x", "!tag x"),
    ("'quoted'", "'quoted'"),
]


@pytest.mark.parametrize(("text", "expected"), ENVIRONMENT)
def test_an_environment_variable_is_a_single_value_or_else_its_text(text, expected):
    assert substituted("a: ${ENV-X}", env={"X": text}, values={"n": 1}) == ({"a": expected}, [])
    assert substituted("a: '${ENV-X}'", env={"X": text}, values={"n": 1}) == ({"a": text}, [])


def test_the_command_line_wins_over_the_config():
    assert substituted("a: ${n}", values={"n": 1}, config={"n": 2}) == ({"a": 1}, [])


def test_a_folder_whose_name_looks_like_a_placeholder_stays_as_it_is():
    assert substituted("a: ${topology.dir}", directory="/x/${y}") == ({"a": "/x/${y}"}, [])


FAILING = [
    ("a: ${limt}", 4, "nothing is known for ${limt}", "did you mean 'limit'?"),
    ("{b: 1, a: x ${limt}}", 11, "nothing is known for ${limt}", "did you mean 'limit'?"),
    ("a: ${ENV-HOMEE}", 4, "environment variable 'HOMEE' is not set", "did you mean 'HOME'?"),
    ("a: ${}", 4, "nothing is known for ${}", ""),
    ("a: ${limit", 4, "'${' without its '}'", "close it"),
    ("a: ${list[7]}", 4, "nothing is known for ${list[7]}", ""),
    ("a: x ${list}", 4, "${list} is a list", "whole value"),
    ('a: "${map}"', 4, "${map} is a map", "without quotes"),
    ("${list}: 1", 1, "not a single value", ""),
    ("a: ${self}", 4, "${self} stands for itself: self -> self", ""),
    ("a: ${ping}", 4, "stands for itself: ping -> pong -> ping", ""),
]


@pytest.mark.parametrize(("text", "column", "message", "advice"), FAILING)
def test_a_placeholder_that_stands_for_nothing_is_a_problem_at_its_place(text, column, message, advice):
    values = {"limit": 1, "list": [1], "map": {"k": 1}, "self": "${self}", "ping": "${pong}", "pong": "x${ping}"}
    _, problems = substituted(text, values=values, env={"HOME": "/root"})
    [problem] = [problem for problem in problems if message in problem.message]
    assert problem.place.column == column
    assert advice in problem.hint


def test_places_after_a_placeholder_on_the_same_line_are_right(tmp_path):
    text = changed(("{path: lines.txt}", "{path: ${topology.dir}/${ENV-A}, limit: ${ENV-B}, §pth: 1}"))
    path, place = write_marked(tmp_path, text)
    topology = flux.load_with_places(path, env={"A": "x", "B": "2"})
    assert topology.topology.components["lines"].spec.args == {"path": f"{tmp_path}/x", "limit": 2, "pth": 1}
    assert topology.places["component", "lines", "constructorArgs", "pth", "#key"] == place


def test_characters_of_icon_fonts_survive(tmp_path):
    icons = "\U0010f024\ue000\U000f0001"
    assert substituted(f"{{a: {icons}${{n}}, b: '{icons}'}}", values={"n": 1}) == ({"a": f"{icons}1", "b": icons}, [])


# --set


def test_config_keys_of_the_command_line_go_to_the_config(tmp_path):
    path, _ = write_marked(tmp_path, changed(("topology.workers: 2", "topology.workers: 2\n  own.key: 1")))
    topology = flux.load(path, {"topology.workers": 5, "topology.debug": True, "own.key": 7})
    assert topology.config == {"topology.workers": 5, "topology.debug": True, "own.key": 7}


def test_other_keys_of_the_command_line_stand_for_placeholders_and_win_over_the_config(tmp_path):
    path, _ = write_marked(tmp_path, changed(("parallelism: 2", "parallelism: ${par}")))
    topology = flux.load(path, {"par": 6})
    assert topology.components["split"].parallelism == 6
    assert "par" not in topology.config


def test_a_key_of_the_command_line_that_nothing_uses_is_a_problem(tmp_path):
    path, _ = write_marked(tmp_path, changed(("parallelism: 2", "parallelism: ${par}")))
    with pytest.raises(TopologyError) as caught:
        flux.load(path, {"par": 6, "pra": 3})
    assert str(caught.value) == "--set pra: no placeholder ${pra} uses it; did you mean 'par'?"


def test_a_wrong_config_key_of_the_command_line_is_placed_there(tmp_path):
    path, _ = write_marked(tmp_path, changed())
    with pytest.raises(TopologyError) as caught:
        load_checked(path, {"topology.wrkers": 3, "topology.workers": 0})
    assert [str(problem.place) for problem in caught.value.problems] == [
        "--set topology.workers",
        "--set topology.wrkers",
    ]


# whatever stands in a file

_SCRAPS = st.sampled_from(
    [
        "${",
        "}",
        "$${",
        "${a}",
        "${b}",
        "${ENV-X}",
        "${topology.dir}",
        "${a[0]}",
        "${l}",
        "${l[0]}",
        "{",
        "[",
        "]",
        ": ",
        "\n",
        "- ",
        "a",
        "b: 1",
        '"',
        "'",
        "#",
        "&x ",
        "*x",
        "<<: ",
        "|",
        ">",
        "\t",
        "  ",
        "!!int ",
        "? ",
        "é",
        "\U0010f000",
        "\x00",
    ]
)
_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(string.printable, max_size=8)
    | st.sampled_from(["${a}", "${b}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(scraps=st.lists(_SCRAPS, max_size=14), a=_PLAIN, b=_PLAIN, x=st.text(max_size=6))
def test_any_text_with_any_values_gives_data_or_problems_never_an_exception(scraps, a, b, x):
    _, problems = substituted("".join(scraps), values={"a": a}, config={"b": b, "l": [1]}, env={"X": x})
    assert all(problem.message and problem.place for problem in problems)


@settings(max_examples=100, deadline=None)
@given(
    scraps=st.lists(_SCRAPS, max_size=12),
    where=st.sampled_from(["parts.SplitBolt", "{path: lines.txt}", "[word]", "2\nspouts"]),
)
def test_any_text_inside_a_topology_gives_a_topology_or_its_problems(tmp_path_factory, scraps, where):
    text = changed((where, "".join(scraps) + where)).replace("\x00", "")
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    loaded, problems = flux.read(path, {"topology.debug": True}, env={"X": "1"})
    assert problems or loaded.topology.name == "words"
    assert all(problem.message and problem.place for problem in problems)


@settings(max_examples=100, deadline=None)
@given(value=_PLAIN.filter(lambda value: "$" not in repr(value)))
def test_a_whole_placeholder_is_exactly_its_value(value):
    assert substituted("{x: ${a}}", values={"a": value}) == ({"x": value}, [])


@settings(max_examples=100, deadline=None)
@given(before=st.text("ab /.", max_size=5), value=st.text("xyz$}{'\"", max_size=6), after=st.text("ab /.", max_size=5))
def test_text_around_a_placeholder_stays(before, value, after):
    if "${" in value:
        return
    assert substituted(f'"{before}${{a}}{after}"', values={"a": value}) == (before + value + after, [])
