"""Chunk: the unit in which a task's changes travel to the store.

Small enough that writing or applying one never blocks Redis for long, large enough that a hundred thousand changes
are a few hundred calls. Within one checkpoint of one component no two chunks of a scope name the same entry, so
chunks may be applied in any order and more than once.

Frames: msgpack, in its old form without a bytes type (Redis's cmsgpack knows no other): list of [state name, [field,
value, field, value, ...], [deleted field, ...]].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

#: entries of one chunk; 1000 HSET fields take Redis under a millisecond
MAX_ENTRIES = 1000
#: bytes after which a chunk is closed although it has fewer entries (one larger value still fits)
MAX_BYTES = 1 << 20

#: one state's part of a chunk: its name, fields and values in turn, deleted fields
StateChanges = tuple[str, list[bytes], list[bytes]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Changes of one component in one scope."""

    scope: str
    component: str
    changes: list[StateChanges]

    @property
    def entries(self) -> int:
        """How many entries it sets or deletes."""
        return sum(len(sets) // 2 + len(deletes) for _, sets, deletes in self.changes)

    def pack(self) -> bytes:
        """What the store keeps until the commit."""
        packed: bytes = msgpack.packb(self.changes, use_bin_type=False)
        return packed


def unpack_changes(data: bytes) -> list[StateChanges]:
    """The inverse of `Chunk.pack`."""
    unpacked: list[Any] = msgpack.unpackb(data, raw=True)
    return [(state.decode(), sets, deletes) for state, sets, deletes in unpacked]


def overlay(entries: dict[bytes, bytes], state: str, changes: list[StateChanges]) -> None:
    """Apply to the entries of one state what a chunk changes in it."""
    for name, sets, deletes in changes:
        if name == state:
            entries.update(zip(sets[::2], sets[1::2], strict=True))
            for field_name in deletes:
                entries.pop(field_name, None)
