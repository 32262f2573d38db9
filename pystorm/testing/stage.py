"""The small topology around a single bolt or spout that a test looks at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pystorm.components import Bolt, Spout, streams_of
from pystorm.components.stream import DEFAULT_STREAM, Stream, StreamDef
from pystorm.errors import ConfigError
from pystorm.testing.feed import FedSpout
from pystorm.testing.registry import class_giving, publish
from pystorm.topology.model import Component, Edge, Grouping, GroupingType, ObjectSpec, Topology

#: Constructor arguments: positional, or by name.
Args = Sequence[Any] | Mapping[str, Any]

#: Name of the topology that is made here.
NAME = "test"


class Sender(FedSpout, Spout):
    """Sends what a test puts into `waiting` and notes what becomes of it."""

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        #: (message id, stream, values)
        self.waiting: deque[tuple[int, str, list[Any]]] = deque()
        self.acked: list[int] = []
        self.failed: dict[int, str] = {}

    @property
    def has_more(self) -> bool:  # type: ignore[override]
        return bool(self.waiting)

    def next_tuple(self) -> None:
        if self.waiting:
            message, stream, values = self.waiting.popleft()
            self.emit(values, message, None if stream == DEFAULT_STREAM else stream)

    def ack(self, tup_id: int) -> None:
        self.acked.append(tup_id)

    def fail(self, tup_id: int, reason: str = "") -> None:
        self.failed[tup_id] = reason


def with_streams(cls: type, streams: Mapping[str, StreamDef]) -> type:
    """A subclass with these output streams."""
    outputs = [Stream(found.fields, found.name, found.direct) for found in streams.values()]
    return type(cls.__name__, (cls,), {"outputs": outputs})


def spec_of(component: Any, args: Args, kind: type, copies: Callable[[], Any] | None = None) -> tuple[ObjectSpec, type]:
    """How the builder makes the component under test, and its class.

    Args:
        component: a class, or an instance, which is used as it is.
        args: constructor arguments, for a class.
        copies: makes the instances, instead of using the given one.

    Raises:
        ConfigError: it is not of that kind, or arguments were given for an instance.
    """
    cls = component if isinstance(component, type) else type(component)
    if not issubclass(cls, kind):
        raise ConfigError(
            f"{cls.__qualname__} is no {kind.__name__}", hint=f"give a subclass of pystorm.{kind.__name__}"
        )
    if isinstance(component, type):
        return ObjectSpec(class_name=publish(cls), args=dict(args) if isinstance(args, Mapping) else list(args)), cls
    if args:
        raise ConfigError(f"args are for a class, got an instance of {cls.__qualname__}", hint="leave args out")
    return ObjectSpec(class_name=publish(class_giving(cls, copies or (lambda: component)))), cls


def bolt_topology(
    spec: ObjectSpec,
    sources: Mapping[str, Mapping[str, StreamDef]],
    source_class: type,
    group_by: Sequence[str],
    bolt_config: Mapping[str, Any],
    config: Mapping[str, Any],
) -> Topology:
    """A topology in which the bolt "bolt" reads every stream of every source."""
    components = {}
    for name, streams in sources.items():
        made = ObjectSpec(class_name=publish(with_streams(source_class, streams)))
        components[name] = Component(id=name, kind="spout", spec=made)
    components["bolt"] = Component(id="bolt", kind="bolt", spec=spec, config=dict(bolt_config))
    kind = GroupingType.FIELDS if group_by else GroupingType.SHUFFLE
    edges = [
        Edge(source=name, target="bolt", grouping=Grouping(type=kind, fields=tuple(group_by)), stream=stream)
        for name, streams in sources.items()
        for stream in streams
    ]
    for name, streams in sources.items():
        for stream in streams.values():
            missing = [field for field in group_by if field not in stream.fields]
            if missing:
                raise ConfigError(
                    f"group_by: the inputs from {name!r} have no field {missing[0]!r}: {list(stream.fields)}"
                )
    return Topology(name=NAME, components=components, edges=tuple(edges), config=dict(config))


def spout_topology(
    spec: ObjectSpec, cls: type, sink: type[Bolt], spout_config: Mapping[str, Any], config: Mapping[str, Any]
) -> Topology:
    """A topology in which the bolt "sink" reads every stream of the spout "spout"."""
    components = {
        "spout": Component(id="spout", kind="spout", spec=spec, config=dict(spout_config)),
        "sink": Component(id="sink", kind="bolt", spec=ObjectSpec(class_name=publish(sink))),
    }
    edges = [
        Edge(
            source="spout",
            target="sink",
            grouping=Grouping(type=GroupingType.DIRECT if stream.direct else GroupingType.SHUFFLE),
            stream=stream.name,
        )
        for stream in streams_of(cls).values()
    ]
    return Topology(name=NAME, components=components, edges=tuple(edges), config=dict(config))


def split_config(config: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A test's `config` as (of the component, of the topology): each key goes where it may stand."""
    from pystorm.topology.options import OPTIONS_BY_KEY

    own: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    for key, value in (config or {}).items():
        option = OPTIONS_BY_KEY.get(key)
        (own if option is None or option.per_component else whole)[key] = value
    return own, whole
