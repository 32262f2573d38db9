"""`pystorm graph`: a topology's graph as text, Mermaid, Graphviz's dot or JSON.

All of them are plain functions of the model; no component is imported and nothing has to be valid, so that a graph can
show what is wrong with a topology. The text is ASCII, as it may end in a log or an e-mail.

Source: mermaid.js.org/syntax/flowchart.html, graphviz.org/doc/info/lang.html.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import click

from pystorm.cli.options import file_argument, json_option, parse_overrides, set_option
from pystorm.cli.output import print_json, print_line
from pystorm.errors import TopologyError
from pystorm.topology.config import OPTIONS_BY_KEY
from pystorm.topology.model import DEFAULT_STREAM, Component, Edge, Topology
from pystorm.topology.shape import in_order

GraphFormat = Literal["text", "mermaid", "dot"]


@click.command()
@file_argument
@click.option("--format", "form", type=click.Choice(["text", "mermaid", "dot"]), default="text", show_default=True)
@set_option
@json_option("Components and streams as one JSON object, instead of --format.")
def graph(file: Path, form: GraphFormat, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print the graph of the topology in FILE.

    Nothing of a YAML file is imported or run; a Python file is run. What can be read of a file with mistakes is drawn,
    and the mistakes follow on stderr.
    """
    from pystorm.topology import loading

    loaded, problems = loading.read(file, parse_overrides(overrides))
    if loaded is not None and as_json:
        print_json(to_json(loaded.topology))
    elif loaded is not None:
        print_line(render(loaded.topology, form))
    if problems:
        raise TopologyError(problems)


def to_json(topology: Topology) -> dict[str, Any]:
    """The graph for machines."""
    return {
        "topology": topology.name,
        "components": {
            c.id: {"kind": c.kind, "parallelism": c.parallelism, "class": c.spec.class_name}
            for c in topology.components.values()
        },
        "streams": [
            {
                "from": edge.source,
                "to": edge.target,
                "stream": edge.stream,
                "grouping": edge.grouping.type.value,
                "fields": list(edge.grouping.fields),
            }
            for edge in topology.edges
        ],
    }


def render(topology: Topology, format: GraphFormat) -> str:
    """The graph of a topology, without a final newline.

    Args:
        topology: as a loader made it.
        format: "text" for people, "mermaid" for Markdown, "dot" for Graphviz.
    """
    return {"text": _text, "mermaid": _mermaid, "dot": _dot}[format](topology)


def _ordered(topology: Topology) -> list[Component]:
    """Components, every one after those that it reads from."""
    ends = [(edge.source, edge.target) for edge in topology.edges]
    return [topology.components[name] for name in in_order(topology.components, ends)]


def _edge_label(edge: Edge) -> str:
    """The grouping with its arguments, and the stream if it is not the default one."""
    label = edge.grouping.type.value
    if edge.grouping.fields:
        label += f"({', '.join(edge.grouping.fields)})"
    elif edge.grouping.custom:
        label += f"({edge.grouping.custom.class_name})"
    return label if edge.stream == DEFAULT_STREAM else f"{edge.stream}: {label}"


def _text(topology: Topology) -> str:
    components = _ordered(topology)
    lines = [headline(topology), ""]
    width = max((len(component.id) for component in components), default=0)
    for component in components:
        parallelism = f"x{component.parallelism}"
        lines.append(f"{component.id:<{width}}  {component.kind:<5}  {parallelism:<4}  {component.spec.class_name}")
        outputs = topology.outputs_of(component.id)
        width_of_labels = max((len(_edge_label(edge)) for edge in outputs), default=0)
        for edge in outputs:
            label = _edge_label(edge)
            lines.append(f"  +-- {label} {'-' * (width_of_labels - len(label) + 2)}> {edge.target}")
    return "\n".join(lines)


def headline(topology: Topology) -> str:
    """The topology in one line: its name, what it consists of, its guarantee."""
    tasks = sum(component.parallelism for component in topology.components.values())
    key = "topology.guarantee"
    guarantee = topology.config.get(key, OPTIONS_BY_KEY[key].default.value)
    counts = [_count(len(topology.spouts), "spout"), _count(len(topology.bolts), "bolt"), _count(tasks, "task")]
    return f"{topology.name}: {', '.join(counts)}, {guarantee}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _mermaid(topology: Topology) -> str:
    components = _ordered(topology)
    # Node names of our own: an id may be one of Mermaid's words, such as "end".
    names = {component.id: f"n{index}" for index, component in enumerate(components)}
    lines = ["flowchart LR"]
    for component in components:
        label = _mermaid_text(f"{component.id} x{component.parallelism}")
        shape = f'(["{label}"])' if component.kind == "spout" else f'["{label}"]'
        lines.append(f"    {names[component.id]}{shape}")
    for edge in topology.edges:
        if edge.source in names and edge.target in names:
            label = _mermaid_text(_edge_label(edge))
            lines.append(f'    {names[edge.source]} -->|"{label}"| {names[edge.target]}')
    return "\n".join(lines)


def _mermaid_text(text: str) -> str:
    """Text inside double quotes; Mermaid has entity codes for what would end or format it."""
    codes = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"}
    return "".join(codes.get(char, char) for char in text)


def _dot(topology: Topology) -> str:
    lines = [f"digraph {_dot_text(topology.name)} {{", "    rankdir=LR;"]
    for component in _ordered(topology):
        shape = "ellipse" if component.kind == "spout" else "box"
        label = _dot_text(f"{component.id} x{component.parallelism}")
        lines.append(f"    {_dot_text(component.id)} [shape={shape}, label={label}];")
    for edge in topology.edges:
        ends = f"{_dot_text(edge.source)} -> {_dot_text(edge.target)}"
        lines.append(f"    {ends} [label={_dot_text(_edge_label(edge))}];")
    return "\n".join([*lines, "}"])


def _dot_text(text: str) -> str:
    """A quoted string of dot's; its escapes are JSON's as far as names go."""
    return json.dumps(text, ensure_ascii=False)
