"""How a run ended: the same facts for a table on a terminal and for plain text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pystorm.controller.status import RunResult
from pystorm.ui import format

#: What an outcome means.
MEANINGS = {
    "finished": "all input is worked off",
    "drained": "stopped in good order; run it again to go on from here",
    "failed": "see the cause below; what was committed is kept",
    "aborted": "stopped at once; what was committed is kept",
}

HEADER = ("component", "tasks", "emitted", "processed", "acked", "failed", "avg/s")
#: Characters of a metric's value.
SHOWN_METRIC = 200
#: Columns of numbers, aligned on the right.
NUMBERS = range(1, len(HEADER))


def headline(result: RunResult) -> str:
    """Name, outcome and time."""
    meaning = MEANINGS.get(result.outcome, "")
    return f"{result.topology} {result.outcome} after {format.duration(result.seconds)}: {meaning}"


def rows(result: RunResult) -> list[list[str]]:
    """One row per component, under `HEADER`. The average is of what a spout emitted and a bolt processed."""
    found = []
    for c in result.components:
        done = c.emitted if c.kind == "spout" else c.processed
        average = format.rate(done / max(result.seconds, 1e-3))
        numbers = [format.count(number) for number in (c.tasks, c.emitted, c.processed, c.acked, c.failed)]
        found.append([c.id, *numbers, average])
    return found


def facts(result: RunResult, logs: Path) -> list[str]:
    """What else is to be said, a line each."""
    found = [
        f"{format.counted(result.checkpoints, 'checkpoint')} committed, "
        f"{format.counted(result.recoveries, 'recovery', 'recoveries')}"
    ]
    metrics = [(f"{c.id}.{name}", value) for c in result.components for name, value in sorted(c.metrics.items())]
    if metrics:
        found.append("metrics:")
        found += [format.printable(f"  {name} = {_shown(value)}") for name, value in metrics]
    if result.errors:
        found.append("errors in user code:")
        counts = [format.count(count) for *_, count in result.errors]
        width = max(len(count) for count in counts)
        found += [
            format.printable(f"  {count:>{width}} x {component}: {kind} at {line}")
            for count, (component, kind, line, _) in zip(counts, result.errors)
        ]
    if result.cause:
        first, *rest = [format.printable(line) for line in result.cause.rstrip().split("\n")]
        found += [f"cause: {first}", *(f"    {line}" for line in rest)]
    return [*found, f"logs: {logs}"]


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return format.count(value)
    text = str(value)
    return text if len(text) <= SHOWN_METRIC else f"{text[:SHOWN_METRIC]}..."


def plain(result: RunResult, logs: Path) -> list[str]:
    """All of it as aligned lines."""
    table = format.aligned([HEADER, *rows(result)], right=NUMBERS)
    return [headline(result), *(f"  {line}" for line in table), *facts(result, logs)]
