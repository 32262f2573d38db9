"""What every measurement shares: medians with their spread, percentiles, the machine's facts, text tables."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `bin/bench` was asked for."""

    #: measured runs per variant
    runs: int = 5
    #: sentences of the word count, about 10 words each
    sentences: int = 1_000_000
    #: workers killed by the recovery benchmark
    kills: int = 20
    #: tuples per second of the latency benchmark
    rate: int = 1_000
    #: seconds that latency and each half of checkpoint last
    seconds: int = 20
    #: class of bench_wordcount.py that splits: SplitBolt (emit_many) or SplitOneByOneBolt (emit)
    splitter: str = "SplitBolt"


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the smallest and the largest of the values."""

    median: float
    low: float
    high: float

    def as_dict(self, digits: int = 3) -> dict[str, float]:
        return {key: round(value, digits) for key, value in asdict(self).items()}

    def text(self, digits: int = 2) -> str:
        """As `median (low..high)`, with thousands separated."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}..{self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` (0 to 100) of all values do not exceed; sorted ones, and not none.

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 99)
    (2, 4)
    """
    rank = -(-len(ascending) * percent // 100)  # rounded up
    return ascending[max(int(rank), 1) - 1]


def machine_facts() -> dict[str, Any]:
    """What a reader has to know of the machine to judge the figures."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A text table: the first column aligned left, the others right.

    >>> print(table(["a", "n"], [["x", "10"], ["yy", "2"]]))
    a    n
    x   10
    yy   2
    """
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
