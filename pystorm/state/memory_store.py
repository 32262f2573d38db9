"""MemoryStore: the store's twin without Redis, for tests and simulations. Same guarantees, until the process ends.

Several stores on one `MemoryBackend` are like several connections to one Redis.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pystorm.state.chunk import Chunk, overlay, unpack_changes
from pystorm.state.record import CheckpointRecord, unpack_record
from pystorm.state.store import (
    HISTORY_LENGTH,
    Catalog,
    PrepareResult,
    epoch_refused,
    foreign_chunk,
    mixed_generations,
    stale,
)


@dataclass(slots=True)
class _Prepared:
    """The prepared list of one scope of one component."""

    generation: int
    epoch: int
    chunks: list[bytes] = field(default_factory=list)


class _TopologyData:
    """All that is stored of one topology."""

    def __init__(self) -> None:
        self.generation = 0
        self.clear()

    def clear(self) -> None:
        self.fences: dict[str, int] = {}
        self.states: set[tuple[str, str]] = set()
        #: by (scope, component)
        self.prepared: dict[tuple[str, str], _Prepared] = {}
        #: by (scope, component, state)
        self.entries: dict[tuple[str, str, str], dict[bytes, bytes]] = {}
        #: packed records, newest first
        self.records: list[bytes] = []
        #: by epoch and task
        self.snapshots: dict[int, dict[str, bytes]] = {}


class MemoryBackend:
    """What a Redis would hold."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.data: dict[str, _TopologyData] = {}


class MemoryStore:
    """A CheckpointStore in this process's memory."""

    def __init__(self, topology: str, backend: MemoryBackend | None = None) -> None:
        self._topology = topology
        self._backend = backend or MemoryBackend()
        self._lock = self._backend.lock
        with self._lock:
            self._data = self._backend.data.setdefault(topology, _TopologyData())

    def acquire(self, scopes: Collection[str]) -> int:
        with self._lock:
            self._data.generation += 1
            for scope in {*scopes, *self._data.fences}:
                self._data.fences[scope] = self._data.generation
            return self._data.generation

    def settle(self, generation: int, components: Mapping[str, Collection[str]]) -> None:
        with self._lock:
            self._check(generation)
            for scope in {*self._data.fences, *(scope for scopes in components.values() for scope in scopes)}:
                self._check_scope(generation, scope)
            record = self.last_commit()
            for scope, component in list(self._data.prepared):
                if record:
                    self._apply(record.generation, record.epoch, component, scope)
                self._data.prepared.pop((scope, component), None)
            for epoch in list(self._data.snapshots):
                if record is None or epoch != record.epoch:
                    del self._data.snapshots[epoch]

    def commit(self, generation: int, record: CheckpointRecord) -> None:
        with self._lock:
            self._check(generation)
            if record.generation != generation:
                raise mixed_generations(self._topology, generation, record)
            last = self.last_commit()
            if last and last.epoch >= record.epoch:
                if (last.generation, last.epoch) == (record.generation, record.epoch):
                    return
                raise epoch_refused(self._topology, record, f"epoch {last.epoch} of generation {last.generation}")
            self._data.records.insert(0, record.pack())
            del self._data.records[HISTORY_LENGTH:]

    def last_commit(self) -> CheckpointRecord | None:
        with self._lock:
            return unpack_record(self._data.records[0]) if self._data.records else None

    def history(self, limit: int = HISTORY_LENGTH) -> list[CheckpointRecord]:
        with self._lock:
            return [unpack_record(data) for data in self._data.records[: max(limit, 0)]]

    def forget(self) -> None:
        with self._lock:
            self._data.generation += 1
            self._data.clear()

    def drop_snapshots(self, generation: int, before_epoch: int) -> None:
        with self._lock:
            self._check(generation)
            for epoch in [epoch for epoch in self._data.snapshots if epoch < before_epoch]:
                del self._data.snapshots[epoch]

    def prepare(self, generation: int, epoch: int, component: str, chunks: Iterable[Chunk]) -> PrepareResult:
        size = keys = 0
        started: set[str] = set()
        for chunk in chunks:
            if chunk.component != component:
                raise foreign_chunk(self._topology, component, chunk)
            packed = chunk.pack()
            with self._lock:
                self._check_scope(generation, chunk.scope)
                if chunk.scope not in started:
                    started.add(chunk.scope)
                    self._move_committed(component, chunk.scope)
                    self._data.prepared[chunk.scope, component] = _Prepared(generation, epoch)
                self._data.prepared[chunk.scope, component].chunks.append(packed)
                self._data.states.update((component, state) for state, _, _ in chunk.changes)
            size += len(packed)
            keys += chunk.entries
        return PrepareResult(size, keys)

    def move(self, generation: int, epoch: int, component: str, scopes: Collection[str]) -> None:
        with self._lock:
            for scope in scopes:
                self._check_scope(generation, scope)
                self._apply(generation, epoch, component, scope)

    def write_snapshot(self, generation: int, epoch: int, task: str, data: bytes) -> None:
        with self._lock:
            self._check(generation)
            self._data.snapshots.setdefault(epoch, {})[task] = data

    def read_snapshot(self, epoch: int, task: str) -> bytes | None:
        with self._lock:
            return self._data.snapshots.get(epoch, {}).get(task)

    def load(
        self, component: str, states: Sequence[str], scopes: Collection[str]
    ) -> Iterator[tuple[str, str, bytes, bytes]]:
        for state in states:
            for scope in scopes:
                with self._lock:
                    entries = dict(self._data.entries.get((scope, component, state), {}))
                for key, value in entries.items():
                    yield state, scope, key, value

    def topologies(self) -> list[str]:
        with self._lock:
            return sorted(name for name, data in self._backend.data.items() if data.fences)

    def catalog(self) -> Catalog:
        with self._lock:
            return Catalog(sorted(self._data.states), sorted(self._data.fences))

    def committed_count(self, component: str, state: str, scope: str) -> int:
        return len(self.committed_scope(component, state, scope))

    def committed_scope(self, component: str, state: str, scope: str) -> dict[bytes, bytes]:
        with self._lock:
            entries = dict(self._data.entries.get((scope, component, state), {}))
            record = self.last_commit()
            prepared = self._data.prepared.get((scope, component))
            if record and prepared and (prepared.generation, prepared.epoch) == (record.generation, record.epoch):
                for packed in prepared.chunks:
                    overlay(entries, state, unpack_changes(packed))
            return entries

    def committed_field(self, component: str, state: str, field: bytes, scopes: Sequence[str]) -> dict[str, bytes]:
        by_scope = {scope: self.committed_scope(component, state, scope).get(field) for scope in scopes}
        return {scope: value for scope, value in by_scope.items() if value is not None}

    def close(self) -> None:
        """Nothing to give up."""

    def _check(self, generation: int) -> None:
        if generation != self._data.generation:
            raise stale(self._topology, generation, "the topology", self._data.generation)

    def _check_scope(self, generation: int, scope: str) -> None:
        fence = self._data.fences.get(scope)
        if generation != fence:
            raise stale(self._topology, generation, f"scope {scope}", fence)

    def _move_committed(self, component: str, scope: str) -> None:
        record = self.last_commit()
        if record:
            self._apply(record.generation, record.epoch, component, scope)

    def _apply(self, generation: int, epoch: int, component: str, scope: str) -> None:
        prepared = self._data.prepared.get((scope, component))
        if prepared is None or (prepared.generation, prepared.epoch) != (generation, epoch):
            return
        for packed in prepared.chunks:
            changes = unpack_changes(packed)
            for state in {name for name, _, _ in changes}:
                overlay(self._data.entries.setdefault((scope, component, state), {}), state, changes)
        del self._data.prepared[scope, component]
