"""The graph of a topology in its three forms."""

from __future__ import annotations

from pystorm.cli.graph import render
from pystorm.topology import flux
from pystorm.topology.model import Component, Edge, Grouping, GroupingType, ObjectSpec, Topology
from pystorm.topology.shape import cycles, in_order
from tests.unit.topologies.marked import changed, write_marked

NAMED = (
    "- {from: split, to: count, grouping: {type: FIELDS, args: [word]}}",
    "- {from: split, to: count, grouping: {type: FIELDS, args: [word, length]}}\n"
    "  - {from: split, to: count, grouping: {type: DIRECT, streamId: orders}}",
)


def topology(tmp_path):
    return flux.load(write_marked(tmp_path, changed(NAMED))[0])


def test_text_shows_order_parallelism_groupings_and_streams(tmp_path):
    assert render(topology(tmp_path), "text").splitlines() == [
        "words: 1 spout, 2 bolts, 7 tasks, at-least-once",
        "",
        "lines  spout  x1    parts.LineSpout",
        "  +-- SHUFFLE --> split",
        "split  bolt   x2    parts.SplitBolt",
        "  +-- FIELDS(word, length) --> count",
        "  +-- orders: DIRECT --------> count",
        "count  bolt   x4    parts.CountBolt",
    ]


def test_mermaid_names_nodes_itself(tmp_path):
    assert render(topology(tmp_path), "mermaid").splitlines() == [
        "flowchart LR",
        '    n0(["lines x1"])',
        '    n1["split x2"]',
        '    n2["count x4"]',
        '    n0 -->|"SHUFFLE"| n1',
        '    n1 -->|"FIELDS(word, length)"| n2',
        '    n1 -->|"orders: DIRECT"| n2',
    ]


def test_dot_quotes_everything(tmp_path):
    lines = render(topology(tmp_path), "dot").splitlines()
    assert lines[0] == 'digraph "words" {'
    assert '    "split" [shape=box, label="split x2"];' in lines
    assert '    "split" -> "count" [label="orders: DIRECT"];' in lines
    assert lines[-1] == "}"


def test_awkward_names_are_escaped_and_cycles_do_not_hang():
    names = ['a"b', "end", "<i>"]
    components = {
        name: Component(id=name, kind="bolt", spec=ObjectSpec(class_name="m.C"), parallelism=1) for name in names
    }
    pairs = list(zip(names, names[1:] + names[:1], strict=True))
    edges = tuple(Edge(source=a, target=b, grouping=Grouping(type=GroupingType.ALL)) for a, b in pairs)
    awkward = Topology(name='x"', components=components, edges=edges)
    assert '["a#quot;b x1"]' in render(awkward, "mermaid")
    assert "#lt;i#gt;" in render(awkward, "mermaid")
    assert r'"a\"b" -> "end"' in render(awkward, "dot")
    assert render(awkward, "text").count("+--") == 3


def test_a_cycle_is_named_from_its_first_node_round_to_it():
    assert cycles([("a", "b"), ("b", "c")]) == []
    assert cycles([("a", "b"), ("b", "c"), ("c", "a")]) == [["a", "b", "c", "a"]]
    assert cycles([("x", "x")]) == [["x", "x"]]
    assert cycles([("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]) == []


def test_a_long_chain_is_no_matter_of_recursion():
    chain = [(str(n), str(n + 1)) for n in range(20_000)]
    assert cycles(chain) == []
    assert len(cycles([*chain, ("20000", "0")])[0]) == 20_002


def test_order_keeps_the_files_order_where_the_streams_leave_it_free():
    assert in_order(["b", "a", "c"], [("c", "a")]) == ["b", "c", "a"]
