"""CommittedState: the committed state of a topology, for people: running or stopped, without its topology file.

What a checkpoint prepared and committed but did not yet move is shown as committed. A dump is consistent scope by scope
(a key group, or a task): if commits land while it goes on, two scopes may show neighbouring checkpoints, never half of
one; see `redis_read` for scopes that take longer to read than checkpoints are apart.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pystorm.errors import ConfigError
from pystorm.state.codec import EntryPacker, decode_entry
from pystorm.state.store import Catalog, CheckpointStore


@dataclass(frozen=True, slots=True)
class Entry:
    """One committed entry. `task` is the task's index where state is per task, None where it belongs to key groups."""

    component: str
    state: str
    key: Any
    value: Any
    task: int | None = None


class CommittedState:
    """Reads the committed state of one topology. `topology` is its name, for messages."""

    def __init__(self, store: CheckpointStore, topology: str = "") -> None:
        self._store = store
        self._topology = topology

    def list(self) -> list[tuple[str, str, int]]:
        """(component, state, number of entries), sorted.

        Raises:
            ConfigError: nothing is stored under the topology's name.
        """
        catalog = self._catalog()
        counts = []
        for component, state in catalog.states:
            count = sum(self._store.committed_count(component, state, scope) for scope in catalog.scopes)
            counts.append((component, state, count))
        return counts

    def get(self, component: str, state: str, key: Any, *, task: int | None = None) -> Any:
        """The value of one key.

        Args:
            task: which task's, where several hold the key each for itself.
        Raises:
            ConfigError: no such topology, component, state or key; several tasks hold the key.
        """
        scopes = self._catalog_with(component, state).scopes
        if task is not None:
            scopes = [scope for scope in scopes if scope == f"t{task}"]
        field, _ = EntryPacker().field(key)
        found = self._store.committed_field(component, state, field, scopes)
        if not found:
            where = f"{component}.{state}" + ("" if task is None else f" of task {task}")
            raise ConfigError(f"{where} has no committed entry for key {key!r}")
        if len(found) > 1:
            raise ConfigError(
                f"{component}.{state}: key {key!r} is held more than once: by"
                f" {', '.join(_scope_name(scope) for scope in sorted(found))}",
                hint="dump the state to see all of them",
            )
        return decode_entry(field, next(iter(found.values())))[1]

    def dump(self, component: str | None = None, state: str | None = None) -> Iterator[Entry]:
        """All entries: of the topology, of a component, or of one state.

        Raises:
            ConfigError: before the first entry: no such topology, component or state.
        """
        catalog = self._catalog_with(component, state)
        wanted = [(each, name) for each, name in catalog.states if component in (None, each) and state in (None, name)]
        return self._dump(wanted, catalog.scopes)

    def _dump(self, wanted: Iterable[tuple[str, str]], scopes: Iterable[str]) -> Iterator[Entry]:
        for component, state in wanted:
            for scope in scopes:
                task = int(scope[1:]) if scope.startswith("t") else None
                for field, data in self._store.committed_scope(component, state, scope).items():
                    key, value = decode_entry(field, data)
                    yield Entry(component, state, key, value, task)

    def _catalog(self) -> Catalog:
        catalog = self._store.catalog()
        if not catalog.scopes:
            raise _unknown("topology", self._topology, self._store.topologies(), "in this store")
        return catalog

    def _catalog_with(self, component: str | None, state: str | None) -> Catalog:
        catalog = self._catalog()
        components = sorted({each for each, _ in catalog.states})
        if component is not None and component not in components:
            raise _unknown("component", component, components, "with state")
        states = sorted({name for each, name in catalog.states if component in (None, each)})
        if state is not None and state not in states:
            raise _unknown("state", state, states, f"in component {component!r}" if component else "in this topology")
        return catalog


def _scope_name(scope: str) -> str:
    return f"task {scope[1:]}" if scope.startswith("t") else f"key group {scope}"


def _unknown(kind: str, name: str, known: list[str], where: str) -> ConfigError:
    near = difflib.get_close_matches(name, known, 1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    else:
        hint = f"there are: {', '.join(known)}" if known else "there is none at all"
    return ConfigError(f"no {kind} {name!r} {where}", hint=hint)
