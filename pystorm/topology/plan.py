"""The layout of a running topology: numbered tasks, the worker of each, numbered streams.

Every process of a topology works from the same plan. Task ids count from 1 in the order of the file; workers and
streams count from 0. Tasks go round-robin over the workers, so that the tasks of one component land on different ones.

Source: Storm's even scheduler (storm-server, DefaultScheduler.java).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pystorm.components.stream import DEAD_LETTER_FIELDS, DEAD_LETTER_STREAM, StreamDef
from pystorm.topology.model import Topology, from_wire, to_wire


@dataclass(frozen=True, slots=True)
class Task:
    """One task: its id (from 1), its component, its index among the component's tasks (from 0), its worker (from 0)."""

    id: int
    component: str
    index: int
    worker: int

    @property
    def label(self) -> str:
        """How logs and snapshots name the task."""
        return f"{self.component}-{self.index}"


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream of the topology and the number that stands for it on the wire."""

    index: int
    component: str
    name: str
    fields: tuple[str, ...]
    direct: bool


class Plan:
    """Tasks, workers and streams of one topology. Immutable after construction."""

    def __init__(self, topology: Topology, streams: Mapping[str, Mapping[str, StreamDef]], workers: int | None) -> None:
        self.topology = topology
        total = sum(c.parallelism for c in topology.components.values())
        self.workers = max(1, min(workers or total, total))
        self.tasks: dict[int, Task] = {}
        self.tasks_of: dict[str, list[Task]] = {}
        for component in topology.components.values():
            for index in range(component.parallelism):
                task_id = len(self.tasks) + 1
                task = Task(task_id, component.id, index, (task_id - 1) % self.workers)
                self.tasks[task_id] = task
                self.tasks_of.setdefault(component.id, []).append(task)
        self.streams: list[StreamInfo] = []
        self.stream_of: dict[tuple[str, str], StreamInfo] = {}
        for component in topology.components.values():
            for stream in streams[component.id].values():
                self._add_stream(component.id, stream)
            if component.kind == "bolt" and DEAD_LETTER_STREAM not in streams[component.id]:
                self._add_stream(component.id, StreamDef(DEAD_LETTER_STREAM, DEAD_LETTER_FIELDS))

    def _add_stream(self, component: str, stream: StreamDef) -> None:
        info = StreamInfo(len(self.streams), component, stream.name, tuple(stream.fields), stream.direct)
        self.streams.append(info)
        self.stream_of[component, stream.name] = info

    def tasks_on(self, worker: int) -> list[Task]:
        """The tasks of one worker, by id."""
        return [task for task in self.tasks.values() if task.worker == worker]

    @functools.cached_property
    def depth(self) -> dict[str, int]:
        """Longest way from a spout to each component, in edges."""
        depths = {c.id: 0 for c in self.topology.components.values()}
        for _ in depths:  # a longest path visits each component at most once
            for edge in self.topology.edges:
                depths[edge.target] = max(depths[edge.target], depths[edge.source] + 1)
        return depths

    def input_tasks_of(self, component: str) -> list[int]:
        """Ids of the tasks that have a channel to each task of `component`."""
        sources = {edge.source for edge in self.topology.inputs_of(component)}
        return sorted(task.id for source in sources for task in self.tasks_of[source])

    def peers_of(self, worker: int) -> set[int]:
        """The workers that `worker` sends to: tuples downstream, acks and credits upstream."""
        found: set[int] = set()
        spouts = [task for c in self.topology.spouts for task in self.tasks_of[c.id]]
        for task in self.tasks_on(worker):
            for edge in self.topology.edges:
                if edge.source == task.component:
                    found.update(t.worker for t in self.tasks_of[edge.target])
                if edge.target == task.component:
                    found.update(t.worker for t in self.tasks_of[edge.source])
            if self.topology.components[task.component].kind == "bolt":
                found.update(t.worker for t in spouts)
        found.discard(worker)
        return found

    def to_wire(self) -> dict[str, Any]:
        """The plan as plain data."""
        streams: dict[str, list[Any]] = {component: [] for component in self.topology.components}
        for s in self.streams:
            streams[s.component].append([s.name, list(s.fields), s.direct])
        return {"topology": to_wire(self.topology), "workers": self.workers, "streams": streams}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Plan:
        """The inverse of `to_wire`."""
        streams = {
            component: {name: StreamDef(name, tuple(fields), direct) for name, fields, direct in entries}
            for component, entries in wire["streams"].items()
        }
        return cls(from_wire(wire["topology"]), streams, wire["workers"])
