"""Object definitions: a class, its arguments, and what to set or call on the object afterwards.

Spouts, bolts, the objects under `components` and the classes of CUSTOM groupings are all written in this way. `flux`
builds on it for the rest of the file.

Source: Flux's ObjectDef and BeanReference (apache/storm flux-core, model package).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pystorm.errors import Place, Problem
from pystorm.topology.config import shown
from pystorm.topology.model import ObjectSpec
from pystorm.topology.node_reader import Entries, NodeReader
from pystorm.topology.suggest import hint
from pystorm.topology.yaml_source import ListNode, MapNode, Node, ScalarNode

#: Where things were written, finer than the model's own `place` fields. Keys begin with "name", ("config", key),
#: ("component", id), ("object", id) or ("edge", index), followed by the names of the keys on the way down; a last
#: element "#key" means the key itself in place of its value.
Places = dict[tuple[str, ...], Place]

#: Ids that something refers to, and where.
Refs = list[tuple[str, Place]]

FACTORY_KEYS = ("factory", "factoryArgs")
_FACTORY_HINT = "name a class or function under className that returns the object"

#: The keys of an object definition; the factory keys are among them to be refused with a reason.
OBJECT_KEYS = ("className", "constructorArgs", "properties", "configMethods", *FACTORY_KEYS)


@dataclass(frozen=True, slots=True)
class Scope:
    """The definition that is being read."""

    #: names it in messages
    what: str
    #: begins its keys in the table of places
    path: tuple[str, ...]
    #: gets the ids that it refers to
    refs: Refs


class DefinitionReader(NodeReader):
    """Reads object definitions, and keeps the places of their parts.

    Args:
        problems: gets what is wrong.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.places: Places = {}
        #: what each object of `components` refers to, by its id; under "" what spouts, bolts and groupings do
        self.refs: dict[str, Refs] = {"": []}

    def mark(self, place: Place, *path: str) -> None:
        """Keep the place of a part."""
        self.places[path] = place

    def objects(self, nodes: list[Node]) -> dict[str, ObjectSpec]:
        """The objects of the section `components`, in the order of the file."""
        objects: dict[str, ObjectSpec] = {}
        for node in nodes:
            entries = self.entries(node, "component", ("id", *OBJECT_KEYS))
            name = self.new_id(node, entries, "component", "object")
            scope = Scope(f"component {name!r}" if name else "component", ("object", name), [])
            spec = self.spec(node, entries, scope)
            if name:
                objects[name], self.refs[name] = spec, scope.refs
        return objects

    def new_id(self, node: Node, entries: Entries, what: str, table: str) -> str:
        """A definition's id; the empty text if it has none, or one that another definition of this table has."""
        if "id" not in entries:
            if isinstance(node, MapNode):
                self.report(f"this {what} has no id", node.place, "add `id: ...`")
            return ""
        place = entries["id"][1].place
        name = self.text(entries["id"][1], f"the {what}'s id")
        first = self.places.get((table, name))
        if first:
            self.report(f"id {name!r} is used twice, first at {first}", place, "give one of the two another id")
            return ""
        if name:
            self.places[(table, name)] = place
        return name

    def spec(self, node: Node, entries: Entries, scope: Scope) -> ObjectSpec:
        """An object definition."""
        for key in FACTORY_KEYS:
            if key in entries:
                self.report(f"{scope.what}: {key} is not supported", entries[key][0], _FACTORY_HINT)
        class_name, place = "", node.place
        if "className" in entries:
            place = entries["className"][1].place
            class_name = self.text(entries["className"][1], f"{scope.what}: className")
        elif isinstance(node, MapNode) and "factory" not in entries:
            self.report(f"{scope.what} has no className", node.place, "add `className: module.Class`")
        self.mark(place, *scope.path, "className")
        return ObjectSpec(
            class_name=class_name,
            args=self._constructor_args(entries, scope),
            properties=self._properties(entries, scope),
            config_methods=self._config_methods(entries, scope),
            place=place,
        )

    def in_order(self, objects: dict[str, ObjectSpec]) -> dict[str, ObjectSpec]:
        """Objects, every one after those that it refers to; unknown and circular references are reported."""
        for refs in self.refs.values():
            for name, place in refs:
                if name not in objects:
                    advice = hint(name, objects) or "declare it under components"
                    self.report(f"ref: there is no component {name!r}", place, advice)
        ordered: dict[str, ObjectSpec] = {}
        for name in objects:
            self._append(name, objects, ordered, ())
        return ordered

    def _append(
        self, name: str, objects: dict[str, ObjectSpec], ordered: dict[str, ObjectSpec], chain: tuple[str, ...]
    ) -> None:
        if name in ordered:
            return
        for other, place in self.refs[name]:
            if other == name or other in chain:
                path = [*chain, name, other]
                circle = " -> ".join(path[path.index(other) :])
                self.report(f"components refer to each other in a circle: {circle}", place, "remove one of the refs")
            elif other in objects:
                self._append(other, objects, ordered, (*chain, name))
        ordered[name] = objects[name]

    def _constructor_args(self, entries: Entries, scope: Scope) -> list[Any] | dict[str, Any]:
        if "constructorArgs" not in entries:
            return []
        node = entries["constructorArgs"][1]
        path = (*scope.path, "constructorArgs")
        self.places[path] = node.place
        if isinstance(node, ListNode):
            self.places.update({(*path, str(index)): item.place for index, item in enumerate(node.items)})
            return [self._argument(item, scope) for item in node.items]
        if isinstance(node, MapNode):
            for key, _ in node.entries:
                self.mark(key.place, *path, str(key.value), "#key")
                if not isinstance(key.value, str):
                    self.report(f"{scope.what}: an argument's name must be text, got {shown(key.value)}", key.place)
            return {str(key.value): self._argument(value, scope) for key, value in node.entries}
        if node.value is not None:
            message = f"{scope.what}: constructorArgs must be a list or a map, got {shown(node.value)}"
            self.report(message, node.place, f"for one argument write [{node.text}]")
        return []

    def _argument(self, node: Node, scope: Scope) -> Any:
        """An argument as plain data; `{ref: id}` and `{reflist: [ids]}` become `{"$ref": id}` maps."""
        if isinstance(node, ListNode):
            return [self._argument(item, scope) for item in node.items]
        if not isinstance(node, MapNode):
            return node.value
        if len(node.entries) == 1:
            key, value = node.entries[0]
            if key.value in ("ref", "$ref") and isinstance(value, ScalarNode) and isinstance(value.value, str):
                return self._ref(value, scope)
            if key.value == "reflist" and isinstance(value, ListNode):
                return [self._ref(item, scope) for item in value.items]
        return {key.value: self._argument(value, scope) for key, value in node.entries}

    def _ref(self, node: Node, scope: Scope) -> dict[str, str]:
        name = self.text(node, f"{scope.what}: ref")
        if name:
            scope.refs.append((name, node.place))
        return {"$ref": name}

    def _properties(self, entries: Entries, scope: Scope) -> list[list[Any]]:
        made: list[list[Any]] = []
        for item in self._list(entries, "properties", scope):
            fields = self.entries(item, f"{scope.what}: property", ("name", "value", "ref", "reflist"))
            given = [key for key in ("value", "ref", "reflist") if key in fields]
            if "name" in fields and len(given) == 1:
                name = self.text(fields["name"][1], f"{scope.what}: a property's name")
                made.append([name, self._property(given[0], fields[given[0]][1], scope)])
            elif isinstance(item, MapNode):
                advice = "write {name: ..., value: ...} or {name: ..., ref: ...}"
                self.report(f"{scope.what}: a property has a name and either a value or a ref", item.place, advice)
        return made

    def _property(self, key: str, node: Node, scope: Scope) -> Any:
        if key == "ref":
            return self._ref(node, scope)
        if key == "reflist":
            return [self._ref(item, scope) for item in self.items(node, f"{scope.what}: reflist")]
        return self._argument(node, scope)

    def _config_methods(self, entries: Entries, scope: Scope) -> list[list[Any]]:
        made: list[list[Any]] = []
        for item in self._list(entries, "configMethods", scope):
            fields = self.entries(item, f"{scope.what}: configMethod", ("name", "args"))
            if "name" in fields:
                name = self.text(fields["name"][1], f"{scope.what}: a configMethod's name")
                self.mark(fields["name"][1].place, *scope.path, "configMethods", str(len(made)))
                made.append([name, [self._argument(arg, scope) for arg in self._list(fields, "args", scope)]])
            elif isinstance(item, MapNode):
                self.report(f"{scope.what}: a configMethod has a name", item.place, "write {name: ..., args: [...]}")
        return made

    def _list(self, entries: Entries, key: str, scope: Scope) -> tuple[Node, ...]:
        return self.items(entries[key][1], f"{scope.what}: {key}") if key in entries else ()
