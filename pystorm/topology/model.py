"""What a topology is: components, streams between them, and its configuration, as plain frozen data.

Everybody imports this module and it imports nobody but the errors. Loaders (`flux`) produce a `Topology`, `validation`
checks it, `plan` lays it out over workers, and it crosses process borders as a msgpack map (`to_wire`, `from_wire`).

Source: the concepts are Storm's (apache/storm docs/Concepts.md), the object definitions are Flux's (docs/flux.md).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pystorm.errors import Place

#: The stream that a component emits to when it names none.
DEFAULT_STREAM = "default"


class GroupingType(str, enum.Enum):
    """How the tuples of a stream are spread over the tasks of the bolt that reads it."""

    SHUFFLE = "SHUFFLE"
    FIELDS = "FIELDS"
    PARTIAL_KEY = "PARTIAL_KEY"
    ALL = "ALL"
    GLOBAL = "GLOBAL"
    NONE = "NONE"
    DIRECT = "DIRECT"
    LOCAL_OR_SHUFFLE = "LOCAL_OR_SHUFFLE"
    CUSTOM = "CUSTOM"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """How to build one object: a class, its arguments, and what to set or call on it afterwards.

    `args` is a list (positional) or a map (keywords). Anywhere inside it a map `{"$ref": id}` stands for the object
    declared under `components:` with that id.

    Source: Flux's object definition.
    """

    class_name: str
    args: list[Any] | dict[str, Any] = field(default_factory=list)
    #: `[name, value]` pairs, set in order with setX(value) if the object has it, else as an attribute
    properties: list[list[Any]] = field(default_factory=list)
    #: `[method, args]` pairs, called in order
    config_methods: list[list[Any]] = field(default_factory=list)
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A spout or bolt of the topology."""

    id: str
    kind: str  # "spout" or "bolt"
    spec: ObjectSpec
    parallelism: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """A grouping and its arguments: the field names of FIELDS and PARTIAL_KEY, the class of CUSTOM."""

    type: GroupingType
    fields: tuple[str, ...] = ()
    custom: ObjectSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Bolt `target` reads `stream` of component `source`, spread over its tasks by `grouping`."""

    source: str
    target: str
    grouping: Grouping
    stream: str = DEFAULT_STREAM
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A whole topology. Components and edges keep the order of the file."""

    name: str
    components: Mapping[str, Component]
    edges: tuple[Edge, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    #: objects of Flux's `components:` section, in order, by id
    objects: Mapping[str, ObjectSpec] = field(default_factory=dict)
    #: folder of the topology file: first on the import path, value of ${topology.dir}
    directory: str = "."
    file: str = ""

    @property
    def spouts(self) -> list[Component]:
        """The spouts, in the order of the file."""
        return [c for c in self.components.values() if c.kind == "spout"]

    @property
    def bolts(self) -> list[Component]:
        """The bolts, in the order of the file."""
        return [c for c in self.components.values() if c.kind == "bolt"]

    def inputs_of(self, component_id: str) -> list[Edge]:
        """The edges into a component."""
        return [e for e in self.edges if e.target == component_id]

    def outputs_of(self, component_id: str) -> list[Edge]:
        """The edges out of a component."""
        return [e for e in self.edges if e.source == component_id]

    def is_keyed(self, component_id: str) -> bool:
        """Whether a bolt's state belongs to key groups: every input is FIELDS-grouped (and there is one)."""
        inputs = self.inputs_of(component_id)
        return bool(inputs) and all(e.grouping.type is GroupingType.FIELDS for e in inputs)


def _spec_to_wire(spec: ObjectSpec) -> dict[str, Any]:
    return {
        "class": spec.class_name,
        "args": spec.args,
        "properties": spec.properties,
        "methods": spec.config_methods,
        "place": _place_to_wire(spec.place),
    }


def _spec_from_wire(wire: Mapping[str, Any]) -> ObjectSpec:
    return ObjectSpec(
        class_name=wire["class"],
        args=wire["args"],
        properties=wire["properties"],
        config_methods=wire["methods"],
        place=_place_from_wire(wire["place"]),
    )


def _place_to_wire(place: Place | None) -> list[Any] | None:
    return [place.file, place.line, place.column] if place else None


def _place_from_wire(wire: list[Any] | None) -> Place | None:
    return Place(*wire) if wire else None


def to_wire(topology: Topology) -> dict[str, Any]:
    """The topology as nested maps and lists that msgpack and JSON carry."""
    return {
        "name": topology.name,
        "config": dict(topology.config),
        "directory": topology.directory,
        "file": topology.file,
        "objects": {name: _spec_to_wire(spec) for name, spec in topology.objects.items()},
        "components": [
            {
                "id": c.id,
                "kind": c.kind,
                "spec": _spec_to_wire(c.spec),
                "parallelism": c.parallelism,
                "config": dict(c.config),
                "place": _place_to_wire(c.place),
            }
            for c in topology.components.values()
        ],
        "edges": [
            {
                "source": e.source,
                "target": e.target,
                "stream": e.stream,
                "grouping": e.grouping.type.value,
                "fields": list(e.grouping.fields),
                "custom": _spec_to_wire(e.grouping.custom) if e.grouping.custom else None,
                "place": _place_to_wire(e.place),
            }
            for e in topology.edges
        ],
    }


def from_wire(wire: Mapping[str, Any]) -> Topology:
    """The inverse of `to_wire`."""
    return Topology(
        name=wire["name"],
        config=wire["config"],
        directory=wire["directory"],
        file=wire["file"],
        objects={name: _spec_from_wire(spec) for name, spec in wire["objects"].items()},
        components={
            c["id"]: Component(
                id=c["id"],
                kind=c["kind"],
                spec=_spec_from_wire(c["spec"]),
                parallelism=c["parallelism"],
                config=c["config"],
                place=_place_from_wire(c["place"]),
            )
            for c in wire["components"]
        },
        edges=tuple(
            Edge(
                source=e["source"],
                target=e["target"],
                stream=e["stream"],
                grouping=Grouping(
                    type=GroupingType(e["grouping"]),
                    fields=tuple(e["fields"]),
                    custom=_spec_from_wire(e["custom"]) if e["custom"] else None,
                ),
                place=_place_from_wire(e["place"]),
            )
            for e in wire["edges"]
        ),
    )
