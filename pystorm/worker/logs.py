"""Logs of a worker: one rotated file per task, warnings also to the console, user tracebacks once per cause.

A record goes to `<logs>/<component>-<task>.log`; from WARNING on it also goes to the controller, which prints one line.
An exception of user code is shown with its traceback, cut to the user's frames, the first time its cause (component,
type, innermost user line) appears; after that it is counted.
"""

from __future__ import annotations

import contextlib
import io
import logging
import logging.handlers
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystorm
from pystorm.topology.config import Settings

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
#: How the file names of pystorm's own frames begin; compiled modules give theirs relative to the checkout.
_OWN_FILES = (str(Path(pystorm.__file__).parent) + os.sep, "pystorm/_")
#: Characters of a tuple's values that an error shows.
SHOWN_VALUES = 300

#: Characters without a newline that wait for the rest of their line.
LONGEST_REST = 8192

#: (level, component label, text) -> None
ToConsole = Callable[[str, str, str], None]


class TaskLogHandler(logging.handlers.RotatingFileHandler):
    """The file of a task's log. Any text can be written; what does not fit on the disk is lost, and processing goes on.

    logging's own way is to print the error to sys.stderr. That is this log again, so each error would bring the next.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        """Say what went wrong in the worker's own file."""
        error = sys.exc_info()[1]
        with contextlib.suppress(OSError):  # that one is on the same disk, most likely
            os.write(2, f"cannot write to {self.baseFilename}: {error!r}\n".encode(errors="backslashreplace"))

    def close(self) -> None:
        """Close the file. What was not written before cannot be written now; `handleError` has told."""
        with contextlib.suppress(OSError):
            super().close()


class ConsoleHandler(logging.Handler):
    """Passes warnings and worse on to the controller."""

    def __init__(self, label: str, to_console: ToConsole) -> None:
        super().__init__(logging.WARNING)
        self._label = label
        self._to_console = to_console

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, unless it was shown on the console in another form."""
        if getattr(record, "is_shown", False):
            return
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + user_traceback(record.exc_info[1])
        self._to_console(record.levelname, self._label, text)


def open_task_log(folder: Path, label: str, settings: Settings, to_console: ToConsole) -> logging.Logger:
    """The logger of a task."""
    logger = logging.getLogger(f"pystorm.task.{label}")
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    logger.propagate = False
    logger.setLevel(logging.DEBUG if settings.debug else settings.log_level.upper())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    to_file = TaskLogHandler(
        folder / f"{label}.log",
        maxBytes=settings.log_max_bytes,
        backupCount=settings.log_backup_count,
        encoding="utf-8",
        errors="backslashreplace",
        delay=True,
    )
    to_file.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(to_file)
    logger.addHandler(ConsoleHandler(label, to_console))
    return logger


class PrintToLog(io.TextIOBase):
    """Stands in for sys.stdout and sys.stderr: what user code prints goes, line by line, to the running task's log."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._rest = ""
        #: logger of the task that runs now
        self.target: logging.Logger = logging.getLogger("pystorm.unattached")

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Log every line that is complete, and a long one in pieces."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line:
                self.target.log(self._level, "%s", line, extra={"is_shown": True})
        if len(self._rest) > LONGEST_REST:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Log what is left without a newline."""
        if self._rest:
            rest, self._rest = self._rest, ""
            self.target.log(self._level, "%s", rest, extra={"is_shown": True})


class LoggingToLog(logging.Handler):
    """Stands at the root of logging: what user code logs through loggers of its own goes to the running task's log."""

    def __init__(self, out: PrintToLog) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on to the task that runs; before there is one, to the worker's own file."""
        target = self._out.target
        if target.propagate:  # a task's does not, and one that does would bring the record back
            os.write(2, f"{record.name}: {record.getMessage()}\n".encode(errors="backslashreplace"))
        elif target.isEnabledFor(record.levelno):
            target.handle(record)

    def install(self) -> None:
        """Take the place of other handlers at the root."""
        logging.basicConfig(handlers=[self], level=logging.CRITICAL, force=True)

    def listen(self, level: int) -> None:
        """A task wants records from `level` on."""
        logging.root.setLevel(min(level, logging.root.level))


def user_traceback(error: BaseException | None) -> str:
    """The traceback of an exception, without pystorm's own frames around the user's.

    Exceptions that the chain leads back to are kept.
    """
    if error is None:
        return ""
    shown = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = shown
    while link is not None:
        user = [frame for frame in link.stack if not frame.filename.startswith(_OWN_FILES)]
        if user:
            link.stack = traceback.StackSummary.from_list(user)
        link = link.__cause__ or link.__context__
    return "".join(shown.format()).rstrip()


def innermost_user_line(error: BaseException) -> str:
    """file:line of the innermost frame that is not pystorm's, or of the innermost frame at all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_OWN_FILES)]
    for frame in reversed(own or frames):
        return f"{frame.filename}:{frame.lineno}"
    return "?"


def one_line(error: BaseException) -> str:
    """An exception in one line, with the user's innermost line.

    >>> one_line(ValueError("bad"))
    'ValueError: bad'
    """
    text = str(error).strip().split("\n")[0]
    name = type(error).__name__
    what = f"{name}: {text}" if text else name
    line = innermost_user_line(error)
    return f"{what} (at {line})" if line != "?" else what


def shown_values(values: Any) -> str:
    """Values of a tuple for an error message, shortened."""
    text = repr(values)
    return text if len(text) <= SHOWN_VALUES else f"{text[:SHOWN_VALUES]}... ({len(text)} characters)"


class UserErrors:
    """Counts exceptions of user code by cause and tells which are new."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, str], int] = {}
        #: causes whose count changed since the last `take_counts`
        self._changed: set[tuple[str, str, str]] = set()

    def add(self, component: str, error: BaseException) -> int:
        """Note an exception; returns how often its cause has appeared now."""
        cause = (component, type(error).__name__, innermost_user_line(error))
        self.counts[cause] = count = self.counts.get(cause, 0) + 1
        self._changed.add(cause)
        return count

    def take_counts(self) -> list[list[Any]]:
        """[component, type, line, count] of every cause that appeared since the last call."""
        changed = [[*cause, self.counts[cause]] for cause in sorted(self._changed)]
        self._changed.clear()
        return changed


def redirect_prints() -> tuple[PrintToLog, PrintToLog]:
    """Make print and writes to sys.stderr go to the running task's log."""
    out, err = PrintToLog(logging.INFO), PrintToLog(logging.WARNING)
    sys.stdout, sys.stderr = out, err
    return out, err
