"""Frozen: what changed in a task's states up to a barrier, and its way into chunks.

Theory of operation
    Made on the task's thread, so it does only what must not wait: take the dirty keys and fix their values. Values of
    immutable types are kept by reference. If there is any other value among a state's dirty ones, all of them are
    packed at once, in one C call, since user code goes on changing them. Placing and packing of entries is `chunks`,
    which runs on a background thread.

Invariants
    - `chunks` may be called again after a failed write and gives the same entries in the same scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

from pystorm.errors import ComponentError
from pystorm.state.chunk import MAX_BYTES, MAX_ENTRIES, Chunk, StateChanges
from pystorm.state.codec import PACK_ERRORS, EntryPacker, split_packed_list
from pystorm.state.keyvalue import KeyValueState
from pystorm.values import pack


class _Gone:
    """The type of the mark for a deleted key."""


_GONE = _Gone()

#: types whose values cannot change after the barrier, so that a reference is as good as a copy
_IMMUTABLE = frozenset({str, int, float, bytes, bool, type(None), _Gone})


class FrozenState:
    """One state's dirty keys, the tuples that they were written under, and their values as of the barrier."""

    def __init__(self, component: str, name: str, state: KeyValueState[Any, Any]) -> None:
        dirty = state.take_dirty()
        self.component = component
        self.name = name
        self.keys: list[Any] = list(dirty)
        #: emptied once the entries are placed, so that the tuples can go
        self.tuples: list[Any] = list(dirty.values())
        self._packed: list[bytes] | None = None
        self._blob = b""
        try:
            self._fix_values(state)
        except ComponentError:
            for key, tup in dirty.items():  # a failed freeze forgets nothing
                state.note_dirty(key, tup)
            raise

    def _fix_values(self, state: KeyValueState[Any, Any]) -> None:
        values: list[Any] = list(map(state.get, self.keys, repeat(_GONE)))
        kinds = set(map(type, values))
        self.gone: frozenset[int] = frozenset()
        if _Gone in kinds:
            self.gone = frozenset([index for index, value in enumerate(values) if value is _GONE])
        if not kinds <= _IMMUTABLE:
            if self.gone:
                values = [None if value is _GONE else value for value in values]
            try:
                self._blob = pack(values)
            except PACK_ERRORS:
                self._find_unpackable(values)
                raise
            values = []
        self._values = values

    def _find_unpackable(self, values: Sequence[Any]) -> None:
        for key, value in zip(self.keys, values, strict=True):
            try:
                pack(value)
            except PACK_ERRORS as error:
                raise self.unpackable(key, value, error) from error

    def unpackable(self, key: Any, value: Any, error: Exception) -> ComponentError:
        """The error for an entry that cannot be stored."""
        kind = type(value)
        return ComponentError(
            f"{self.component}: state {self.name!r}: the value of key {key!r:.200} cannot be saved: it is of type"
            f" {kind.__module__}.{kind.__qualname__}: {error}; states hold None, booleans, numbers, text, bytes,"
            " dates and times, lists, tuples, sets and dicts of these, and types registered with register_type"
        )

    def unpackable_key(self, key: Any, error: Exception) -> ComponentError:
        """The error for a key that cannot be stored."""
        kind = type(key)
        return ComponentError(
            f"{self.component}: state {self.name!r}: key {key!r:.200} of type {kind.__module__}.{kind.__qualname__}"
            f" cannot be saved: {error}; keys are None, booleans, numbers, text, bytes, dates and times, tuples"
            " and frozensets of these, and types registered with register_type"
        )

    def entry(self, index: int, packer: EntryPacker) -> tuple[bytes, bytes]:
        """Field and value of one live entry."""
        key = self.keys[index]
        field, written_key = self.field(key, packer)
        if self._blob:
            if self._packed is None:
                self._packed = split_packed_list(self._blob)
            return field, self._packed[index] + written_key
        value = self._values[index]
        try:
            return field, packer.value(value) + written_key
        except PACK_ERRORS as error:
            raise self.unpackable(key, value, error) from error

    def field(self, key: Any, packer: EntryPacker) -> tuple[bytes, bytes]:
        """The field of a key, and what follows its value."""
        try:
            return packer.field(key)
        except PACK_ERRORS as error:
            raise self.unpackable_key(key, error) from error


#: by scope and state: the indices of its live entries, the keys to delete
Placement = dict[str, list[tuple[FrozenState, Sequence[int], Sequence[Any]]]]


class Frozen:
    """The changes of one task's states up to one barrier."""

    def __init__(
        self, component: str, states: list[FrozenState], place: Callable[[list[FrozenState]], Placement]
    ) -> None:
        self._component = component
        self._states = states
        self._place = place
        self._placement: Placement | None = None
        #: how many keys were written or deleted
        self.dirty_keys: int = sum(len(state.keys) for state in states)

    def chunks(self) -> Iterator[Chunk]:
        """The changes, scope by scope. For a background thread; one freeze's at a time.

        Raises:
            ComponentError: a key or value cannot be packed; names component, state, key and type.
        """
        if self._placement is None:
            self._placement = self._place(self._states)
        packer = EntryPacker()
        for scope, parts in self._placement.items():
            yield from self._chunks_of_scope(scope, parts, packer)

    def _chunks_of_scope(
        self, scope: str, parts: list[tuple[FrozenState, Sequence[int], Sequence[Any]]], packer: EntryPacker
    ) -> Iterator[Chunk]:
        changes: list[StateChanges] = []
        count = size = 0
        for state, live, gone in parts:
            sets: list[bytes] = []
            deletes: list[bytes] = []
            changes.append((state.name, sets, deletes))
            for field, value in _entries(state, live, gone, packer):
                if value is None:
                    deletes.append(field)
                else:
                    sets += (field, value)
                    size += len(value)
                size += len(field)
                count += 1
                if count >= MAX_ENTRIES or size >= MAX_BYTES:
                    yield Chunk(scope, self._component, changes)
                    sets, deletes, count, size = [], [], 0, 0
                    changes = [(state.name, sets, deletes)]
        if count:
            yield Chunk(scope, self._component, [part for part in changes if part[1] or part[2]])


def _entries(
    state: FrozenState, live: Sequence[int], gone: Sequence[Any], packer: EntryPacker
) -> Iterator[tuple[bytes, bytes | None]]:
    for index in live:
        yield state.entry(index, packer)
    for key in gone:
        yield state.field(key, packer)[0], None
