"""What a topology may be, beyond its syntax: every rule that can be checked without building a component.

Theory of operation: `check` goes over the model once for each matter (names, configuration, classes, streams, shape,
guarantee) and collects problems. What a loader could not read is the empty text in the model; it was reported there
and is passed over here, as is whatever depends on a class that could not be found.

Invariants: nothing is built. Modules of the user's are imported, as their classes' `outputs` and signatures are needed.

Source: Storm's StormCommon.validateStructure and TopologyBuilder; Flux checks nothing of this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pystorm.components import BatchingBolt, Bolt, ReplayableSpout, Spout, StreamDef, streams_of
from pystorm.components.stream import DEAD_LETTER_FIELDS, DEAD_LETTER_STREAM
from pystorm.errors import ComponentError, Place, Problem, TopologyError
from pystorm.topology.classes import find_class, importing_from
from pystorm.topology.config import (
    OPTIONS_BY_KEY,
    Guarantee,
    Settings,
    check_component_config,
    check_config,
    notes_on_config,
)
from pystorm.topology.definitions import Places
from pystorm.topology.model import DEFAULT_STREAM, Component, Edge, GroupingType, ObjectSpec, Topology
from pystorm.topology.shape import cycles
from pystorm.topology.signatures import constructor_problems, method_problems
from pystorm.topology.suggest import hint, nearest

#: Names become folders, log files and parts of Redis keys: no separators, no leading dot.
_NAME = re.compile(r"\w[\w.\- ]*")
#: File systems allow 255 bytes; a log file's name also holds the task and a suffix.
_NAME_LENGTH = 100


def check(topology: Topology, places: Places | None = None) -> list[Problem]:
    """Everything wrong with a topology.

    Args:
        topology: as a loader made it.
        places: where its parts were written; without it problems carry the model's own, coarser places.
    """
    checker = _Checker(topology, places or {})
    with importing_from(topology.directory):
        checker.check_all()
    return checker.problems


def check_or_raise(topology: Topology, places: Places | None = None) -> None:
    """As `check`.

    Raises:
        TopologyError: with every problem, if there are any.
    """
    problems = check(topology, places)
    if problems:
        raise TopologyError(problems)


def notes(topology: Topology, places: Places | None = None) -> list[Problem]:
    """What is accepted and does nothing: for people to read, not mistakes."""
    checker = _Checker(topology, places or {})
    found = notes_on_config(topology.config, lambda key: checker.place("config", key, "#key"))
    for component in topology.components.values():
        found += notes_on_config(component.config, checker.place_of_config_key(component))
    return found


class _Checker:
    def __init__(self, topology: Topology, places: Places) -> None:
        self.problems: list[Problem] = []
        self._topology = topology
        self._places = places
        self._settings = _lenient_settings(Settings(), topology.config)
        #: classes that could be found, by component
        self._classes: dict[str, type] = {}
        #: declared streams of those, by component
        self._streams: dict[str, dict[str, StreamDef]] = {}

    def check_all(self) -> None:
        self._check_names()
        self._check_config()
        for name, spec in self._topology.objects.items():
            self._check_spec(spec, f"component {name!r}", ("object", name))
        for component in self._topology.components.values():
            self._check_component(component)
        for index, edge in enumerate(self._topology.edges):
            self._check_edge(index, edge)
        self._check_shape()

    def place(self, *path: str, fallback: Place | None = None) -> Place | None:
        """The place of a part, or of the nearest part around it that has one."""
        for length in range(len(path), 0, -1):
            found = self._places.get(path[:length])
            if found:
                return found
        return fallback

    def place_of_config_key(self, component: Component) -> Callable[[str], Place | None]:
        """Gives the places of the keys in a component's own config."""
        return lambda key: self.place("component", component.id, "config", key, "#key", fallback=component.place)

    def _report(self, message: str, place: Place | None, advice: str = "") -> None:
        self.problems.append(Problem(message, place, advice))

    # names and configuration

    def _check_names(self) -> None:
        whole = Place(self._topology.file) if self._topology.file else None
        if self._topology.name:
            self._check_name("topology name", self._topology.name, self.place("name", fallback=whole))
        for component in self._topology.components.values():
            self._check_name(f"{component.kind} id", component.id, component.place)
        if not self._topology.spouts:
            self._report("the topology has no spout", whole, "add one under spouts")

    def _check_name(self, what: str, name: str, place: Place | None) -> None:
        advice = "use letters, digits, '_', '-', '.' and spaces, and begin with a letter, a digit or '_'"
        if not _NAME.fullmatch(name):
            self._report(f"{what} {name!r} has a character that a file's name cannot have", place, advice)
        elif len(name) > _NAME_LENGTH:
            self._report(f"{what} has {len(name)} characters, at most {_NAME_LENGTH} are allowed", place)
        elif name.startswith("__"):
            self._report(f"{what} {name!r}: names that begin with '__' are pystorm's own", place, "choose another one")

    def _check_config(self) -> None:
        self.problems += check_config(
            self._topology.config,
            lambda key: self.place("config", key, "#key"),
            value_place_of=lambda key: self.place("config", key),
        )
        for component in self._topology.components.values():
            found = check_component_config(
                component.config,
                self.place_of_config_key(component),
                value_place_of=self._place_of_config_value(component),
            )
            self.problems += [
                Problem(f"{component.kind} {component.id!r}: {p.message}", p.place, p.hint) for p in found
            ]

    def _place_of_config_value(self, component: Component) -> Callable[[str], Place | None]:
        return lambda key: self.place("component", component.id, "config", key, fallback=component.place)

    # components and objects

    def _check_component(self, component: Component) -> None:
        what = f"{component.kind} {component.id!r}"
        self._check_parallelism(component, what)
        cls = self._check_spec(component.spec, what, ("component", component.id))
        if cls is None:
            return
        base = Spout if component.kind == "spout" else Bolt
        place = self.place("component", component.id, "className", fallback=component.spec.place)
        if not isinstance(cls, type) or not issubclass(cls, base):
            self._report(*_wrong_kind(what, component, cls, place))
            return
        self._classes[component.id] = cls
        self._check_methods(component, what, cls, place)
        try:
            self._streams[component.id] = dict(streams_of(cls))
        except ComponentError as exc:
            self._report(f"{what}: {exc}", place)

    def _check_parallelism(self, component: Component, what: str) -> None:
        highest = self._settings.max_parallelism
        place = self.place("component", component.id, "parallelism", fallback=component.place)
        if self._topology.is_keyed(component.id):
            if not 1 <= component.parallelism <= highest:
                advice = "topology.max.parallelism sets the upper limit" if component.parallelism > highest else ""
                self._report(f"{what}: parallelism must be 1..{highest}, got {component.parallelism}", place, advice)
        elif component.parallelism < 1:
            self._report(f"{what}: parallelism must be at least 1, got {component.parallelism}", place)

    def _check_spec(self, spec: ObjectSpec, what: str, path: tuple[str, ...]) -> Any:
        """Whether an object can be built; returns its class, None if there is none."""
        if not spec.class_name:
            return None
        place = self.place(*path, "className", fallback=spec.place)
        found = find_class(spec.class_name, self._topology.directory)
        if isinstance(found, Problem):
            self._report(f"{what}: {found.message}", place, found.hint)
            return None
        args_path = (*path, "constructorArgs")
        for argument, problem in constructor_problems(found, spec.args):
            where = self.place(*args_path, argument, "#key") if args_path in self._places else place
            self._report(f"{what}: {problem.message}", where, problem.hint)
        for index, (name, args) in enumerate(spec.config_methods):
            where = self.place(*path, "configMethods", str(index), fallback=place)
            self._check_config_method(found, name, args, what, where)
        return found

    def _check_config_method(self, cls: Any, name: str, args: list[Any], what: str, place: Place | None) -> None:
        if not name or not isinstance(cls, type):
            return
        if not callable(getattr(cls, name, None)):
            methods = [other for other in dir(cls) if not other.startswith("_") and callable(getattr(cls, other))]
            close = nearest(name, methods)
            advice = f"did you mean {close!r}?" if close else ""
            self._report(f"{what}: {cls.__name__} has no method {name!r}", place, advice)
            return
        for _, problem in method_problems(cls, name, args):
            self._report(f"{what}: {problem.message}", place, problem.hint)

    def _check_methods(self, component: Component, what: str, cls: type, place: Place | None) -> None:
        """The methods that a component cannot do without, and what the guarantee asks of a spout."""
        required = [(Bolt, "process", "process(self, tup)"), (Spout, "next_tuple", "next_tuple(self)")]
        required.append((ReplayableSpout, "seek", "seek(self, partition, position)"))
        required.append((BatchingBolt, "process_batch", "process_batch(self, key, tups)"))
        for base, name, signature in required:
            if issubclass(cls, base) and getattr(cls, name) is getattr(base, name):
                self._report(f"{what}: {cls.__name__} does not define {name}", place, f"add `def {signature}:`")
        exactly_once = self._settings.guarantee is Guarantee.EXACTLY_ONCE
        if exactly_once and component.kind == "spout" and not issubclass(cls, ReplayableSpout):
            advice = (
                "let it subclass pystorm.ReplayableSpout (define seek, and give emit a position), or set "
                "topology.guarantee: at-least-once"
            )
            self._report(
                f"{what}: exactly-once needs spouts that can be read again, {cls.__name__} is none", place, advice
            )

    # streams

    def _check_edge(self, index: int, edge: Edge) -> None:
        what = f"stream {edge.source or '?'} -> {edge.target or '?'}"
        path = ("edge", str(index))
        self._check_end(edge.source, what, self.place(*path, "from", fallback=edge.place))
        target_place = self.place(*path, "to", fallback=edge.place)
        self._check_end(edge.target, what, target_place)
        target = self._topology.components.get(edge.target)
        if target and target.kind == "spout":
            self._report(f"{what}: {edge.target!r} is a spout, which reads no stream", target_place, "swap from and to")
        if edge.grouping.custom:
            self._check_spec(edge.grouping.custom, f"{what}: customClass", (*path, "grouping", "customClass"))
        elif edge.grouping.type is GroupingType.CUSTOM:
            place = self.place(*path, "grouping", fallback=edge.place)
            self._report(f"{what}: grouping CUSTOM needs a class", place, "add customClass: {className: module.Class}")
        self._check_duplicate(index, edge, what)
        self._check_stream(edge, what, (*path, "grouping"))

    def _check_end(self, name: str, what: str, place: Place | None) -> None:
        if name and name not in self._topology.components:
            self._report(f"{what}: there is no spout or bolt {name!r}", place, hint(name, self._topology.components))

    def _check_duplicate(self, index: int, edge: Edge, what: str) -> None:
        for other in self._topology.edges[:index]:
            same = (other.source, other.stream, other.target) == (edge.source, edge.stream, edge.target)
            if same and edge.source and edge.target:
                first = f", first at {other.place}" if other.place else ""
                stream = f" ({edge.stream!r})" if edge.stream != DEFAULT_STREAM else ""
                self._report(f"{what}{stream} is declared twice{first}", edge.place, "remove one of the two")
                return

    def _check_stream(self, edge: Edge, what: str, path: tuple[str, ...]) -> None:
        """The stream that an edge reads, and the fields that its grouping uses."""
        place = self.place(*path, "streamId", fallback=edge.place)
        uses_fields = edge.grouping.type in (GroupingType.FIELDS, GroupingType.PARTIAL_KEY)
        if uses_fields and not edge.grouping.fields:
            where = self.place(*path, "args", fallback=edge.place)
            self._report(f"{what}: grouping {edge.grouping.type.value} needs fields", where, "add args: [field, ...]")
        if edge.source not in self._streams or not edge.stream:
            return
        stream = self._stream(edge, what, place)
        if stream is None:
            return
        is_direct = edge.grouping.type is GroupingType.DIRECT
        if is_direct and not stream.direct:
            message = f"{what}: grouping DIRECT needs a direct stream, {edge.stream!r} of {edge.source!r} is none"
            self._report(message, place, "declare it with Stream(..., direct=True), or use another grouping")
        elif stream.direct and not is_direct:
            message = f"{what}: {edge.stream!r} is a direct stream, its grouping can only be DIRECT"
            self._report(message, place, "use {type: DIRECT}: the emitter chooses the task")
        if uses_fields:
            self._check_fields(edge, stream, what, path)

    def _stream(self, edge: Edge, what: str, place: Place | None) -> StreamDef | None:
        streams = self._streams[edge.source]
        if edge.stream in streams:
            return streams[edge.stream]
        source = self._topology.components[edge.source]
        if edge.stream == DEAD_LETTER_STREAM and source.kind == "bolt":
            settings = _lenient_settings(self._settings, source.config)
            if settings.bolt_on_error != "dead-letter":
                message = f"{what}: {edge.source!r} writes no dead letters"
                self._report(message, place, "set topology.bolt.on.error: dead-letter, there or for the topology")
            return StreamDef(DEAD_LETTER_STREAM, DEAD_LETTER_FIELDS)
        name = self._classes[edge.source].__name__
        if streams:
            self._report(f"{what}: {name} has no stream {edge.stream!r}", place, hint(edge.stream, streams))
        else:
            advice = f"add `outputs = [...]` with the fields' names to {name}"
            self._report(f"{what}: {name} declares no outputs, so there is nothing to read", place, advice)
        return None

    def _check_fields(self, edge: Edge, stream: StreamDef, what: str, path: tuple[str, ...]) -> None:
        for index, name in enumerate(edge.grouping.fields):
            if name and name not in stream.fields:
                place = self.place(*path, "args", str(index), fallback=edge.place)
                of = f"stream {edge.stream!r} of {edge.source!r}"
                self._report(f"{what}: {of} has no field {name!r}", place, hint(name, stream.fields))

    # shape

    def _check_shape(self) -> None:
        components, edges = self._topology.components, self._topology.edges
        read = {edge.target for edge in edges}
        for bolt in self._topology.bolts:
            # An edge whose target could not be read may well be this bolt's.
            if bolt.id not in read and "" not in read:
                advice = f"add a stream with `to: {bolt.id}`, or remove the bolt"
                self._report(f"bolt {bolt.id!r} reads no stream", bolt.place, advice)
        index_by_ends: dict[tuple[str, str], int] = {}
        for index, edge in enumerate(edges):
            if edge.source in components and edge.target in components:
                index_by_ends.setdefault((edge.source, edge.target), index)
        for circle in cycles(index_by_ends):
            index = index_by_ends[circle[-2], circle[-1]]
            where = self.place("edge", str(index), "to", fallback=edges[index].place)
            advice = "tuples would go round for ever: remove one of these streams"
            self._report(f"streams go in a circle: {' -> '.join(circle)}", where, advice)


def _wrong_kind(what: str, component: Component, cls: Any, place: Place | None) -> tuple[str, Place | None, str]:
    wanted, other, section = (Spout, Bolt, "bolts") if component.kind == "spout" else (Bolt, Spout, "spouts")
    message = f"{what}: {component.spec.class_name} is not a {wanted.__name__}"
    if isinstance(cls, type) and issubclass(cls, other):
        return f"{message} but a {other.__name__}", place, f"move it to {section}"
    bases = cls.__mro__ if isinstance(cls, type) else ()
    if any(base.__module__.partition(".")[0] == "streamparse" for base in bases):
        return message, place, f"it is streamparse's: write `from pystorm import {wanted.__name__}`"
    return message, place, f"let it subclass pystorm.{wanted.__name__}"


def _lenient_settings(settings: Settings, config: Mapping[str, Any]) -> Settings:
    """Settings from those keys that are fine; the others are reported elsewhere."""
    changes = settings
    for key, value in config.items():
        if key in OPTIONS_BY_KEY and not check_config({key: value}, lambda _: None):
            changes = changes.with_value(OPTIONS_BY_KEY[key], value)
    return changes
