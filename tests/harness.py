"""Topologies of tests' own classes, run in one thread by `pystorm.testing.driver` over ZeroMQ's inproc sockets.

`Parts` makes a topology out of classes; `Harness` is the `Driver` (see there) with real sockets; `Feeder` is a spout
that sends what a test feeds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zmq

from pystorm.components import Bolt, Spout, streams_of
from pystorm.state.memory_store import MemoryBackend
from pystorm.testing.driver import Driver
from pystorm.testing.registry import publish
from pystorm.topology.model import Component, Edge, Grouping, GroupingType, ObjectSpec, Topology
from pystorm.topology.plan import Plan


class Parts:
    """Collects components and edges and makes a topology and its plan of them.

    >>> parts = Parts(); parts.spout("s", Spout); parts.topology().spouts[0].id
    's'
    """

    def __init__(self) -> None:
        self._components: dict[str, Component] = {}
        self._edges: list[Edge] = []
        self._classes: dict[str, type] = {}

    def spout(self, name: str, cls: type[Spout], parallelism: int = 1, **rest: Any) -> None:
        """Add a spout; `args` and `config` as in a topology file."""
        self._add(name, "spout", cls, parallelism, **rest)

    def bolt(self, name: str, cls: type[Bolt], parallelism: int = 1, *, reads: Iterable[Any] = (), **rest: Any) -> None:
        """Add a bolt; `reads` takes sources: an id (SHUFFLE), or the arguments of `edge` without the target."""
        self._add(name, "bolt", cls, parallelism, **rest)
        for source in reads:
            source = (source,) if isinstance(source, str) else source
            self.edge(source[0], name, *source[1:])

    def _add(
        self,
        name: str,
        kind: str,
        cls: type,
        parallelism: int,
        *,
        args: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        spec = ObjectSpec(class_name=publish(cls), args=args or {})
        self._components[name] = Component(id=name, kind=kind, spec=spec, parallelism=parallelism, config=config or {})
        self._classes[name] = cls

    def edge(
        self,
        source: str,
        target: str,
        grouping: str = "SHUFFLE",
        fields: Iterable[str] = (),
        stream: str = "default",
        custom: type | None = None,
    ) -> None:
        """Add an edge."""
        spec = ObjectSpec(class_name=publish(custom)) if custom else None
        kind = Grouping(type=GroupingType(grouping), fields=tuple(fields), custom=spec)
        self._edges.append(Edge(source=source, target=target, grouping=kind, stream=stream))

    def topology(self, **config: Any) -> Topology:
        """The topology; config keys are written with _ for each dot."""
        return Topology(name="t", components=self._components, edges=tuple(self._edges), config=dotted(config))

    def plan(self, *, workers: int | None = None, **config: Any) -> Plan:
        """The plan of the topology."""
        streams = {name: streams_of(cls) for name, cls in self._classes.items()}
        return Plan(self.topology(**config), streams, workers)


def dotted(config: Mapping[str, Any]) -> dict[str, Any]:
    """{"topology_guarantee": ...} as {"topology.guarantee": ...}."""
    return {key.replace("_", "."): value for key, value in config.items()}


class Harness(Driver):
    """A running topology of a test, over ZeroMQ's inproc sockets; see `Driver`."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        *,
        checkpoints: bool = False,
        backend: MemoryBackend | None = None,
        seed: int = 0,
        expects_crashes: bool = False,
    ) -> None:
        super().__init__(
            plan,
            folder,
            checkpoints=checkpoints,
            backend=backend,
            seed=seed,
            expects_crashes=expects_crashes,
            context=zmq.Context(),
        )

    def __enter__(self) -> Harness:
        super().__enter__()
        return self

    def feed(self, component: str, *values: Any, id: Any = None) -> None:
        """Give a `Feeder` a tuple to send, and work until nothing moves."""
        self.instance(component).feed(*values, id=id)
        self.advance(0.02, 0.02)  # longer than a spout with nothing to send rests


class Feeder(Spout):
    """A spout that sends what a test feeds it and notes what becomes of it."""

    outputs = ["num"]

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        self.waiting: deque[tuple[list[Any], Any]] = deque()
        self.acked: list[Any] = []
        self.failed: list[tuple[Any, str]] = []

    def feed(self, *values: Any, id: Any = None) -> None:
        """Send these values at the next chance."""
        self.waiting.append((list(values), id))

    def next_tuple(self) -> None:
        if self.waiting:
            values, tup_id = self.waiting.popleft()
            self.emit(values, tup_id)

    def ack(self, tup_id: Any) -> None:
        self.acked.append(tup_id)

    def fail(self, tup_id: Any, reason: str = "") -> None:
        self.failed.append((tup_id, reason))

    def take_acked(self) -> list[Any]:
        """The messages acked since the last call."""
        found, self.acked = self.acked, []
        return found
