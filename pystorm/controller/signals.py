"""Stop signals as something to poll: SIGINT, SIGTERM and SIGHUP ask for a drain, a second one for the end."""

from __future__ import annotations

import os
import signal
from types import TracebackType
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """A context manager; handlers are put back at its end. Main thread only."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._count = 0
        self._old: dict[int, Any] = {}
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)

    def __enter__(self) -> StopSignals:
        for number in _STOPPING:
            self._old[number] = signal.signal(number, self._on_signal)
        self._old_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def _on_signal(self, number: int, frame: Any) -> None:
        self._count += 1

    def fileno(self) -> int:
        """Readable when a signal has come."""
        return self._read

    def take(self) -> int:
        """How many stop signals have come since the last call."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            pass
        count, self._count = self._count, 0
        return count
