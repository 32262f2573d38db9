"""A running topology as plain lines."""

from __future__ import annotations

import time

from pystorm.controller.status import RunStatus
from pystorm.ui import format
from pystorm.ui.rates import Rates

#: What follows the first line of an event, a traceback for example, stands under it.
INDENT = "    "


def event_lines(level: str, text: str, clock: str) -> list[str]:
    """An event: one line, and what belongs to it indented below.

    >>> event_lines("ERROR", "count-0: bad\\nTraceback: ...", "12:00:00")
    ['12:00:00 ERROR    count-0: bad', '    Traceback: ...']
    """
    first, *rest = [format.printable(line) for line in text.rstrip().split("\n")]
    return [f"{clock} {level:<8} {first}", *(INDENT + line for line in rest)]


def progress_line(status: RunStatus, rates: Rates) -> str:
    """The whole run on one line."""
    parts = [f"{status.phase} {format.duration(status.elapsed_s)}"]
    for component in status.components:
        emitted, processed = rates.of(component.id)
        per_s = emitted if component.kind == "spout" else processed
        parts.append(f"{component.id} {format.rate(per_s)}/s")
    pending = sum(component.pending for component in status.components if component.kind == "spout")
    parts.append(f"pending {format.count(pending)}")
    failed = sum(component.failed for component in status.components if component.kind == "spout")
    if failed:
        parts.append(f"failed {format.count(failed)}")
    if status.last_epoch:
        parts.append(checkpoint_text(status))
    if status.recoveries:
        parts.append(format.counted(status.recoveries, "recovery", "recoveries"))
    return " | ".join(parts)


def checkpoint_text(status: RunStatus) -> str:
    """The last committed checkpoint of this run."""
    if not status.last_epoch:
        return "no checkpoint yet"
    age, took = format.duration(status.last_checkpoint_age_s), format.duration(status.last_checkpoint_ms / 1000)
    return f"checkpoint {status.last_epoch} {age} ago, took {took}"


def clock_time() -> str:
    """The time of day, for people."""
    return time.strftime("%H:%M:%S")
