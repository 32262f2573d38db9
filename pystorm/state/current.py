"""Which tuple a task is processing right now.

One `Current` is shared by the executor, which sets `tup` around `process`, and by every state of the task, which notes
it with each write. A plain slot, because it is written once per tuple and read once per state write.
"""

from __future__ import annotations

from typing import Any


class Current:
    """`tup` is the tuple being processed; None outside `process` (ticks, `initialize`, background work)."""

    __slots__ = ("tup",)

    def __init__(self) -> None:
        self.tup: Any = None
