"""What the tests of the state layer share: stores of either kind, records, and a task with its states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pystorm.state.chunk import Chunk
from pystorm.state.current import Current
from pystorm.state.keyvalue import KeyValueState
from pystorm.state.local import LocalStateManager
from pystorm.state.record import CheckpointRecord
from pystorm.state.store import CheckpointStore
from pystorm.topology.keygroups import groups_of_task, key_group
from pystorm.values import pack, unpack

GROUPS = 8

NewStore = Callable[..., CheckpointStore]


def record(generation: int, epoch: int, **fields: Any) -> CheckpointRecord:
    """A checkpoint record with nothing special in it."""
    return CheckpointRecord(
        epoch=epoch, generation=generation, wall_time=1e9, duration_ms=1.0, keys=1, bytes=1, **fields
    )


def chunk(
    scope: str,
    sets: Mapping[Any, Any] | None = None,
    *,
    component: str = "count",
    state: str = "counts",
    deletes: Iterable[Any] = (),
    **more: Any,
) -> Chunk:
    """A chunk that sets what the map and the keywords say, and deletes keys."""
    flat = [item for key, value in {**(sets or {}), **more}.items() for item in (pack(key), pack(value))]
    return Chunk(scope, component, [(state, flat, [pack(key) for key in deletes])])


def content(store: CheckpointStore, *scopes: str, component: str = "count", state: str = "counts") -> dict[Any, Any]:
    """The moved entries of some scopes, unpacked."""
    return {unpack(key): unpack(value) for _, _, key, value in store.load(component, [state], scopes)}


def committed(store: CheckpointStore, scope: str, component: str = "count", state: str = "counts") -> dict[Any, Any]:
    """The committed entries of a scope, moved or not, unpacked."""
    entries = store.committed_scope(component, state, scope)
    return {unpack(key): unpack(value) for key, value in entries.items()}


class Bolt:
    """A class that declares states, as a user's bolt does."""

    counts: KeyValueState[Any, Any] = KeyValueState()
    seen: KeyValueState[Any, Any] = KeyValueState()


class Task:
    """One task of a bolt: an instance with states, and what stands around it. A tuple is the list of its key values."""

    def __init__(self, index: int = 0, tasks: int = 1, *, keyed: bool = True, component: str = "count") -> None:
        self.component = component
        self.current = Current()
        self.groups = groups_of_task(index, tasks, GROUPS)
        self.manager = LocalStateManager(
            component, index, keyed, self.groups, self.current, lambda tup: key_group(tup, GROUPS), GROUPS
        )
        self.bolt = Bolt()
        self.manager.bind(self.bolt)

    def write(self, key: Any, value: Any, *, under: Any = None) -> None:
        """counts[key] = value while a tuple with grouping key `under` (else the key itself) is processed."""
        self.current.tup = [key if under is None else under]
        self.bolt.counts[key] = value

    def delete(self, key: Any, *, under: Any = None) -> None:
        self.current.tup = [key if under is None else under]
        self.bolt.counts.delete(key)

    def checkpoint(self, store: CheckpointStore, generation: int, epoch: int) -> None:
        """Freeze, prepare, commit and move, with nothing going wrong."""
        store.prepare(generation, epoch, self.component, self.manager.freeze().chunks())
        store.commit(generation, record(generation, epoch))
        store.move(generation, epoch, self.component, self.manager.scopes())

    def restore(self, store: CheckpointStore) -> None:
        self.manager.restore(store.load(self.component, self.manager.declared, self.manager.scopes()))


def key_of_group(group: int, *, other_than: Iterable[str] = ()) -> str:
    """A key whose default home is this group."""
    taken = set(other_than)
    return next(k for k in (f"k{i}" for i in range(10_000)) if key_group([k], GROUPS) == group and k not in taken)
