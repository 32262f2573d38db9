"""Reads the files that benchmark components append to while they run: pairs of 64-bit integers, nothing else.

A component writes each pair with one `os.write` to a file opened for appending, so that pairs of several processes (a
killed worker and its successor) never mix, and what was written survives the writer's `kill -9`.

Frames: two little-endian signed 64-bit integers; the first is CLOCK_MONOTONIC in ns, which all processes share.
"""

from __future__ import annotations

import struct
from pathlib import Path

_PAIR = struct.Struct("<qq")


class Records:
    """Follows one such file, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def poll(self) -> list[tuple[int, int]]:
        """The pairs that came since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = len(data) - len(data) % _PAIR.size
        self._offset += whole
        return list(_PAIR.iter_unpack(data[:whole]))
