"""Components of the latency, recovery, checkpoint and start-up benchmarks: a spout that keeps a pace, and bolts.

They stand in one module because a topology file's folder is what its classes are imported from.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pystorm import Bolt, KeyValueState, ReplayableSpout, Tuple

PAIR = struct.Struct("<qq")
#: the number noted when the bolt begins, so that a reader sees where a generation starts
BEGIN = -1


def open_for_appending(path: Path) -> int:
    """A descriptor whose every write lands whole at the end of the file, also when two processes write."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class PacedSpout(ReplayableSpout):
    """Numbers 0, 1, 2, ... at `rate` tuples per second, `total` of them (0: endless); a position is the next number.

    Each tuple carries when it was due and when it was sent. A spout that is late sends what is overdue at once, so no
    delay is hidden by sending less. After a rollback the pace starts anew: the time lost is not made up.
    Every committed position goes to the file `commits` with the time at which the spout was told.
    """

    outputs = ["number", "due_ns", "sent_ns"]

    def __init__(self, rate: int, total: int, results: str) -> None:
        self.period_ns = 1_000_000_000 // int(rate)
        self.total = int(total)
        self.results = Path(results)

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        self.commits = open_for_appending(self.results / "commits")

    def seek(self, partition: str, position: Any) -> None:
        self.number = position or 0
        self.due_ns = 0

    def next_tuple(self) -> None:
        if self.total and self.number >= self.total:
            self.finish()
            return
        now_ns = time.monotonic_ns()
        if not self.due_ns:
            self.due_ns = now_ns
        if now_ns < self.due_ns:
            return
        number = self.number
        self.number = number + 1
        self.emit([number, self.due_ns, now_ns], position=number + 1)
        self.due_ns += self.period_ns

    def committed(self, partition: str, position: Any) -> None:
        os.write(self.commits, PAIR.pack(time.monotonic_ns(), position))

    def cleanup(self) -> None:
        os.close(self.commits)


class RelayBolt(Bolt):
    """Passes tuples on, and notes in the file `first` when the first one came."""

    outputs = ["number", "due_ns", "sent_ns"]

    def __init__(self, results: str) -> None:
        self.results = Path(results)
        self.has_begun = False

    def process(self, tup: Tuple) -> None:
        if not self.has_begun:
            self.has_begun = True
            first = open_for_appending(self.results / "first")
            os.write(first, PAIR.pack(time.monotonic_ns(), tup.values.number))
            os.close(first)
        self.emit(list(tup.values))


class RemainderBolt(Bolt):
    """Counts numbers by their remainder, and passes them on: 10,000 entries that a recovery has to bring back."""

    outputs = ["number"]
    counts: KeyValueState[str, int] = KeyValueState()

    def process(self, tup: Tuple) -> None:
        number = tup.values.number
        key = str(number % 10_000)
        self.counts[key] = self.counts.get(key, 0) + 1
        self.emit([number])


class TimelineBolt(Bolt):
    """Appends when it processed which number to the file `timeline`."""

    def __init__(self, results: str) -> None:
        self.results = Path(results)

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        self.timeline = open_for_appending(self.results / "timeline")
        os.write(self.timeline, PAIR.pack(time.monotonic_ns(), BEGIN))

    def process(self, tup: Tuple) -> None:
        os.write(self.timeline, PAIR.pack(time.monotonic_ns(), tup.values.number))

    def cleanup(self) -> None:
        os.close(self.timeline)
