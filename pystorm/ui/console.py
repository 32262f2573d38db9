"""A run on the console: a live display on a terminal, plain lines everywhere else; all of it on standard error."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Protocol

from pystorm.controller.status import Observer, RunResult, RunStatus
from pystorm.ui.lines import clock_time, event_lines, progress_line
from pystorm.ui.rates import Rates
from pystorm.ui.stream import PatientStream
from pystorm.ui.summary import plain

#: Seconds between two lines of progress.
PROGRESS_LINES_S = 5.0


class Console(Observer, Protocol):
    """Shows a run from its start to its summary; leaving the context gives the terminal back."""

    def __enter__(self) -> Console: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def summary(self, result: RunResult, logs: Path) -> None:
        """How the run ended, and where its logs are."""


class PlainConsole:
    """One line per event, one line of progress every few seconds."""

    def __init__(self, stream: PatientStream) -> None:
        self._stream = stream
        self._rates = Rates(window_s=PROGRESS_LINES_S)
        self._next_line_s = PROGRESS_LINES_S

    def __enter__(self) -> PlainConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def event(self, level: str, text: str) -> None:
        """Something worth a line happened."""
        self._print(event_lines(level, text, clock_time()))

    def progress(self, status: RunStatus) -> None:
        """Called about twice a second."""
        self._rates.add(status)
        if status.elapsed_s >= self._next_line_s:
            self._next_line_s = status.elapsed_s + PROGRESS_LINES_S
            self._print([f"{clock_time()} {progress_line(status, self._rates)}"])

    def summary(self, result: RunResult, logs: Path) -> None:
        """How the run ended, and where its logs are."""
        self._stream.wait_for_reader()
        self._print(plain(result, logs))

    def _print(self, lines: list[str]) -> None:
        self._stream.write("\n".join(lines) + "\n")


def open_console(*, as_json: bool) -> Console:
    """The console that fits where standard error goes; `as_json` asks for plain lines."""
    descriptor = sys.stderr.fileno() if sys.stderr is not None else None
    stream = PatientStream(descriptor, getattr(sys.stderr, "encoding", None) or "utf-8")
    # A dumb terminal cannot move its cursor.
    if as_json or not stream.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        return PlainConsole(stream)
    # rich takes some 50 ms to import, and only terminals need it.
    from pystorm.ui.live import LiveConsole

    return LiveConsole(stream)
