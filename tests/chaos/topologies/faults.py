"""Spouts and bolts that misbehave in one way each, and some that keep exact books of what reached them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pystorm import Bolt, KeyValueState, ReplayableSpout, Spout, Stream, Tuple


class NumberSpout(ReplayableSpout):
    """0, 1, 2, ... up to `count`, or for ever. A position is the next number."""

    outputs = ["number"]

    def __init__(self, count: int | None = None, per_s: float | None = None, first_after_s: float = 0.0) -> None:
        self.count = count
        self.per_s = per_s
        self.first_after_s = first_after_s

    def seek(self, partition: str, position: int | None) -> None:
        self.next = position or 0
        self.started_s = time.monotonic() + self.first_after_s
        self.sent = 0

    def next_tuple(self) -> None:
        if self.count is not None and self.next >= self.count:
            self.finish()
            return
        now_s = time.monotonic()
        if now_s < self.started_s or (self.per_s and self.sent >= (now_s - self.started_s) * self.per_s):
            return
        self.sent += 1
        self.next += 1
        self.emit([self.next - 1], position=self.next)


class PartitionSpout(ReplayableSpout):
    """Numbers in each of several partitions; tells which task sent them."""

    outputs = ["name", "number", "task"]

    def __init__(self, names: list[str], count: int) -> None:
        self.names = names
        self.count = count
        self.next: dict[str, int] = {}

    def partitions(self) -> list[str]:
        return self.names

    def seek(self, partition: str, position: int | None) -> None:
        self.next[partition] = position or 0

    def next_tuple(self) -> None:
        left = [name for name, number in self.next.items() if number < self.count]
        for name in left:
            self.next[name] += 1
            self.emit([name, self.next[name] - 1, self.task_id], position=self.next[name], partition=name)
        if not left:
            self.finish()


class TallyBolt(Bolt):
    """Counts how often each row came."""

    seen = KeyValueState()

    def process(self, tup: Tuple) -> None:
        key = tup.values[0] if len(tup.values) == 1 else tuple(tup.values)
        self.seen[key] = self.seen.get(key, 0) + 1


class SizeBolt(Bolt):
    """Keeps the length of the value with each name."""

    sizes = KeyValueState()

    def process(self, tup: Tuple) -> None:
        self.sizes[tup.values.name] = len(tup.values.value)


class SlowBolt(Bolt):
    """Takes its time."""

    outputs = ["number"]

    def __init__(self, rest_s: float) -> None:
        self.rest_s = rest_s

    def process(self, tup: Tuple) -> None:
        time.sleep(self.rest_s)
        self.emit(list(tup.values))


class RaiseBolt(Bolt):
    """Raises for some numbers: those in `numbers`, or all. Passes the others on."""

    outputs = [Stream(["number"]), Stream(["error", "traceback", "values"], name="dead_letter")]

    def __init__(self, numbers: list[int] | None = None, times_file: str = "", rest_s: float = 0.0) -> None:
        self.numbers = numbers
        self.times_file = times_file
        self.rest_s = rest_s

    def process(self, tup: Tuple) -> None:
        number = tup.values.number
        if self.numbers is None or number in self.numbers:
            time.sleep(self.rest_s)
            if not self.times_file or not self._is_used_up():
                raise ValueError(f"no luck with {number}")
        self.emit([number])

    def _is_used_up(self) -> bool:
        """The file is there after the first time, also for those who come after a crash."""
        path = Path(self.times_file)
        used = path.exists()
        path.touch()
        return used


class ErrorTextBolt(Bolt):
    """Keeps the errors of dead letters by their values."""

    errors = KeyValueState()

    def process(self, tup: Tuple) -> None:
        self.errors[tuple(tup.values.values)] = tup.values.error


class ExitBolt(Bolt):
    """Calls sys.exit."""

    def process(self, tup: Tuple) -> None:
        sys.exit("enough")


class ExitWithoutWordBolt(Bolt):
    """Ends the process past all of Python."""

    def process(self, tup: Tuple) -> None:
        os._exit(7)


class PrintBolt(Bolt):
    """Prints and logs."""

    def process(self, tup: Tuple) -> None:
        print(f"printed {tup.values[0]}")
        self.logger.info("logged %s", tup.values[0])


class UnpackableBolt(Bolt):
    """Emits a value that cannot travel for odd numbers."""

    outputs = ["number", "payload"]

    def process(self, tup: Tuple) -> None:
        number = tup.values.number
        self.emit([number, (lambda: number) if number % 2 else "fine"])


class UnpackableSpout(NumberSpout):
    """Emits an object."""

    def next_tuple(self) -> None:
        self.emit([object()], position=1)


class WeightSpout(ReplayableSpout):
    """One value of each of the given sizes, in bytes."""

    outputs = ["name", "value"]

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes

    def seek(self, partition: str, position: int | None) -> None:
        self.next = position or 0

    def next_tuple(self) -> None:
        if self.next == len(self.sizes):
            self.finish()
            return
        size = self.sizes[self.next]
        self.next += 1
        self.emit([size, b"x" * size], position=self.next)


class PassBolt(Bolt):
    """Passes names and values on."""

    outputs = ["name", "value"]

    def process(self, tup: Tuple) -> None:
        self.emit([tup.values.name, tup.values.value])


class BadConstructorBolt(Bolt):
    """Cannot be made."""

    def __init__(self) -> None:
        raise RuntimeError("no such device")

    def process(self, tup: Tuple) -> None:
        """Never called."""


class BadInitializeBolt(Bolt):
    """Cannot be initialized."""

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        raise RuntimeError("no such device")

    def process(self, tup: Tuple) -> None:
        """Never called."""


class ReasonSpout(Spout):
    """Writes what became of its messages to a file, one line each."""

    outputs = ["number"]

    def __init__(self, count: int, path: str) -> None:
        self.count = count
        self.path = path
        self.next = 0
        self.open = 0

    def next_tuple(self) -> None:
        if self.next < self.count:
            self.next += 1
            self.open += 1
            self.emit([self.next - 1], tup_id=self.next - 1)
        elif not self.open:
            self.finish()

    def ack(self, tup_id: int) -> None:
        self._note(f"ack {tup_id}")

    def fail(self, tup_id: int, reason: str = "") -> None:
        self._note(f"fail {tup_id}: {reason}")

    def _note(self, line: str) -> None:
        self.open -= 1
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


class HoldBolt(Bolt):
    """Never acks."""

    auto_ack = False

    def process(self, tup: Tuple) -> None:
        self.logger.info("has %s", tup.values[0])


class LateBolt(Bolt):
    """Acks and counts every tuple only after `hold` more have come, or at a tick."""

    auto_ack = False
    seen = KeyValueState()

    def __init__(self, hold: int) -> None:
        self.hold = hold
        self.held: list[Tuple] = []

    def process(self, tup: Tuple) -> None:
        self.held.append(tup)
        if len(self.held) >= self.hold:
            self._settle()

    def process_tick(self, tup: Tuple) -> None:
        self._settle()

    def _settle(self) -> None:
        for held in self.held:
            self.seen[held.values.number] = self.seen.get(held.values.number, 0) + 1
            self.ack(held)
        self.held.clear()


class IdleSpout(Spout):
    """Has nothing, for ever."""

    outputs = ["number"]

    def next_tuple(self) -> None:
        """Emits nothing."""
