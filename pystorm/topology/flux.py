"""YAML to `Topology`: Flux's definitions, read with the place of everything.

Theory of operation: `includes` gives one document with placeholders replaced; here its definitions become the model's.
Reading never stops at a mistake: a definition with a mistake is still made as far as possible, so that validation can
look at the rest and all mistakes are shown at once. What cannot be known is the empty text, which validation passes
over. `load` raises at the end, `read` hands the problems over.

Invariants: objects come in an order in which every `{"$ref": id}` points to an earlier one.

Source: apache/storm docs/flux.md and flux-core's model package; what differs is in `includes` and `substitution`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pystorm.errors import Place, Problem, TopologyError
from pystorm.topology.config import shown
from pystorm.topology.definitions import OBJECT_KEYS, DefinitionReader, Places, Scope
from pystorm.topology.includes import Document, read_document
from pystorm.topology.model import DEFAULT_STREAM, Component, Edge, Grouping, GroupingType, ObjectSpec, Topology
from pystorm.topology.node_reader import Entries
from pystorm.topology.suggest import hint
from pystorm.topology.yaml_source import MapNode, Node, ScalarNode, value_of

LOAD_KEYS = ("onHeapMemoryLoad", "offHeapMemoryLoad", "cpuLoad")
COMPONENT_KEYS = ("id", *OBJECT_KEYS, "parallelism", "numTasks", "config")
EDGE_KEYS = ("name", "from", "to", "grouping")
GROUPING_KEYS = ("type", "args", "streamId", "customClass")
_EDGE_HINTS = {
    "streamId": "it belongs inside grouping: {type: ..., streamId: ...}",
    "stream": "write grouping: {type: ..., streamId: ...}",
    "args": "it belongs inside grouping: {type: FIELDS, args: [...]}",
    "type": "it belongs inside grouping: {type: ...}",
}


__all__ = ["LoadedTopology", "Places", "in_file_order", "load", "load_with_places", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTopology:
    """A topology with the places of its parts and notes for people: things accepted that have no effect."""

    topology: Topology
    places: Places = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()


def load(
    path: str | Path, overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> Topology:
    """Read a topology file. Only its syntax and shape are checked here, `validation` does the rest.

    Args:
        path: the YAML file.
        overrides: values by name, from `--set`. Keys of configuration, and keys that the file's `config` has, replace
            what is there; others stand for `${name}`.
        env: the environment for `${ENV-NAME}`; default: the process's.

    Raises:
        TopologyError: with every mistake found, in the order of the file.
    """
    return load_with_places(path, overrides, env).topology


def load_with_places(
    path: str | Path, overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> LoadedTopology:
    """As `load`, with the places of everything."""
    loaded, problems = read(path, overrides, env)
    if loaded is None or problems:
        raise TopologyError(problems)
    return loaded


def read(
    path: str | Path, overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> tuple[LoadedTopology | None, list[Problem]]:
    """A topology as far as it can be read, and everything wrong with it; None if there is nothing to go on with.

    A topology that comes with problems is good for finding more of them and for nothing else.
    """
    problems: list[Problem] = []
    file = Path(path)
    document = read_document(file, overrides or {}, os.environ if env is None else env, problems)
    loaded = _FluxReader(problems).topology(document, file) if document else None
    return loaded, in_file_order(problems, str(file))


def in_file_order(problems: list[Problem], file: str) -> list[Problem]:
    """Problems without repetitions, those of `file` first, in the order of lines."""

    def rank(problem: Problem) -> tuple[bool, str, int, int]:
        place = problem.place or Place("")
        return place.file != file, place.file, place.line, place.column

    return sorted(dict.fromkeys(problems), key=rank)


class _FluxReader(DefinitionReader):
    """Makes the model's objects out of a document."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self._notes: list[Problem] = []

    def topology(self, document: Document, file: Path) -> LoadedTopology:
        objects = self.objects(document.definitions["components"])
        components: dict[str, Component] = {}
        for kind in ("spout", "bolt"):
            for node in document.definitions[kind + "s"]:
                self._add_component(kind, node, components)
        edges = tuple(self._edge(index, node) for index, node in enumerate(document.streams))
        topology = Topology(
            name=self._name(document),
            components=components,
            edges=edges,
            config=self._config(document),
            objects=self.in_order(objects),
            directory=os.path.abspath(file.parent),
            file=str(file),
        )
        return LoadedTopology(topology=topology, places=self.places, notes=tuple(self._notes))

    def _name(self, document: Document) -> str:
        if document.name is None:
            self.report("the topology has no name", document.place, "add `name: ...` at the top")
            return ""
        self.places[("name",)] = document.name.place
        return self.text(document.name, "name")

    def _config(self, document: Document) -> dict[str, Any]:
        for key, (name, node) in document.config.items():
            self.places[("config", key, "#key")] = name.place
            self.places[("config", key)] = node.place
        return {key: value_of(node) for key, (_, node) in document.config.items()}

    def _add_component(self, kind: str, node: Node, components: dict[str, Component]) -> None:
        entries = self.entries(node, kind, (*COMPONENT_KEYS, *LOAD_KEYS))
        name = self.new_id(node, entries, kind, "component")
        scope = Scope(f"{kind} {name!r}" if name else kind, ("component", name), self.refs[""])
        component = Component(
            id=name,
            kind=kind,
            spec=self.spec(node, entries, scope),
            parallelism=self._parallelism(entries, scope),
            config=self._component_config(entries, scope),
            place=entries["id"][1].place if "id" in entries else node.place,
        )
        for key in LOAD_KEYS:
            if key in entries:
                self._notes.append(Problem(f"{scope.what}: {key} has no effect here", entries[key][0]))
        if name:
            components[name] = component

    def _parallelism(self, entries: Entries, scope: Scope) -> int:
        number = 1
        # numTasks comes last: where both are given it is the number of tasks, as in Storm.
        for key in ("parallelism", "numTasks"):
            if key in entries:
                self.mark(entries[key][1].place, *scope.path, "parallelism")
                number = self.whole_number(entries[key][1], f"{scope.what}: {key}", 1)
        return number

    def _component_config(self, entries: Entries, scope: Scope) -> dict[str, Any]:
        node = entries["config"][1] if "config" in entries else None
        if not isinstance(node, MapNode):
            if node is not None and value_of(node) is not None:
                self.report(f"{scope.what}: config must be a map, got {shown(value_of(node))}", node.place)
            return {}
        for key, value in node.entries:
            self.mark(key.place, *scope.path, "config", str(key.value), "#key")
            self.mark(value.place, *scope.path, "config", str(key.value))
        return {key.value: value_of(value) for key, value in node.entries}

    # streams

    def _edge(self, index: int, node: Node) -> Edge:
        entries = self.entries(node, "stream", EDGE_KEYS, _EDGE_HINTS)
        path = ("edge", str(index))
        self.places[path] = node.place
        ends = {}
        for key in ("from", "to"):
            if key in entries:
                self.mark(entries[key][1].place, *path, key)
                ends[key] = self.text(entries[key][1], f"stream: {key}")
            elif isinstance(node, MapNode):
                self.report(f"this stream has no {key!r}", node.place, "write {from: ..., to: ..., grouping: ...}")
        what = f"stream {ends.get('from') or '?'} -> {ends.get('to') or '?'}"
        grouping, stream = Grouping(type=GroupingType.SHUFFLE), DEFAULT_STREAM
        if "grouping" in entries:
            self.mark(entries["grouping"][1].place, *path, "grouping")
            grouping, stream = self._grouping(entries["grouping"][1], what, (*path, "grouping"))
        elif isinstance(node, MapNode):
            self.report(f"{what} has no grouping", node.place, "add `grouping: shuffle`")
        return Edge(
            source=ends.get("from", ""), target=ends.get("to", ""), grouping=grouping, stream=stream, place=node.place
        )

    def _grouping(self, node: Node, what: str, path: tuple[str, ...]) -> tuple[Grouping, str]:
        """A grouping and the stream that it reads."""
        if not isinstance(node, MapNode):
            return Grouping(type=self._grouping_type(node, what) or GroupingType.SHUFFLE), DEFAULT_STREAM
        entries = self.entries(node, f"{what}: grouping", GROUPING_KEYS, {"fields": "write args: [...]"})
        kind = None
        if "type" in entries:
            kind = self._grouping_type(entries["type"][1], what)
        else:
            self.report(f"{what}: this grouping has no type", node.place, "write {type: SHUFFLE}")
        stream = DEFAULT_STREAM
        if "streamId" in entries:
            self.mark(entries["streamId"][1].place, *path, "streamId")
            stream = self.text(entries["streamId"][1], f"{what}: streamId")
        if kind is None:  # reported; whether the rest fits the type that was meant nobody can say
            return Grouping(type=GroupingType.SHUFFLE), stream
        custom = None
        if "customClass" in entries:
            custom = self._custom_class(entries["customClass"], kind, what, path)
        fields = self._grouping_args(entries["args"], kind, what, path) if "args" in entries else ()
        return Grouping(type=kind, fields=fields, custom=custom), stream

    def _grouping_type(self, node: Node, what: str) -> GroupingType | None:
        """The type; None, and it is reported, if there is no such one."""
        names = [kind.value for kind in GroupingType]
        value = value_of(node)
        if value is None:
            self.report(f"{what}: the grouping is missing", node.place, "known: " + ", ".join(names))
            return None
        text = self.text(node, f"{what}: grouping")
        wanted = text.upper().replace("-", "_").replace(" ", "_")
        if wanted in names:
            return GroupingType(wanted)
        if text:
            self.report(f"{what}: unknown grouping {text!r}", node.place, hint(wanted, names))
        return None

    def _grouping_args(
        self, entry: tuple[Place, Node], kind: GroupingType, what: str, path: tuple[str, ...]
    ) -> tuple[str, ...]:
        key_place, node = entry
        self.mark(node.place, *path, "args")
        advice = f"write args: [{node.text}]" if isinstance(node, ScalarNode) else ""
        items = self.items(node, f"{what}: args", advice)
        if kind not in (GroupingType.FIELDS, GroupingType.PARTIAL_KEY):
            if items:
                self.report(f"{what}: grouping {kind.value} takes no args", key_place, "remove them, or use FIELDS")
            return ()
        self.places |= {(*path, "args", str(index)): item.place for index, item in enumerate(items)}
        return tuple(self.text(item, f"{what}: a field's name") for item in items)

    def _custom_class(
        self, entry: tuple[Place, Node], kind: GroupingType, what: str, path: tuple[str, ...]
    ) -> ObjectSpec | None:
        key_place, node = entry
        if kind is not GroupingType.CUSTOM:
            self.report(f"{what}: only grouping CUSTOM has a customClass", key_place, "use type: CUSTOM")
            return None
        entries = self.entries(node, f"{what}: customClass", OBJECT_KEYS)
        return self.spec(node, entries, Scope(f"{what}: customClass", (*path, "customClass"), self.refs[""]))
