"""A run on the console: plain lines."""

from __future__ import annotations

import sys
from types import TracebackType

from pystorm.controller.status import RunResult, RunStatus


class PlainConsole:
    """One line per event, one line of progress every few seconds, on standard error."""

    def __enter__(self) -> PlainConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def event(self, level: str, text: str) -> None:
        """Something worth a line happened."""
        print(f"{level}: {text}", file=sys.stderr, flush=True)

    def progress(self, status: RunStatus) -> None:
        """Called about twice a second."""
        print(status, file=sys.stderr, flush=True)

    def summary(self, result: RunResult) -> None:
        """How the run ended."""
        print(result, file=sys.stderr, flush=True)


def open_console(*, as_json: bool) -> PlainConsole:
    """The console that fits where the output goes."""
    return PlainConsole()
