"""How busy this machine is: the spout and the bolts of machine.yaml.

The kernel counts: seconds of work, switches between processes, bytes sent. A count says nothing until two readings are
compared, and the earlier one has to be remembered per counter. That is what `RateBolt` keeps state for, and because the
state survives, the first rate after a restart is the mean over the pause.

What does not work: anything but Linux, which alone has these files. A counter that begins anew (after a boot, or when a
network interface is made again) is taken up again with its second reading.

Source: proc(5), the sections on /proc/stat, /proc/meminfo and /proc/net/dev.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pystorm import Bolt, KeyValueState, Spout, Stream, Tuple

#: In what /proc/stat counts processor time: ticks per second.
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def processor_counters(stat: str) -> dict[str, float]:
    """Seconds of work and switches between processes since the boot, from the text of /proc/stat.

    >>> processor_counters("cpu  900 0 100 7000 50 0 0 0 0 0\\nctxt 4711")["context switches [/s]"]
    4711.0
    """
    rows = {name: rest.split() for name, _, rest in (line.partition(" ") for line in stat.splitlines())}
    user, nice, system, _idle, _waiting, *interrupts = map(int, rows["cpu"][:8])
    busy = user + nice + system + sum(interrupts)
    return {"processor busy [cores]": busy / TICKS_PER_S, "context switches [/s]": float(rows["ctxt"][0])}


def memory_levels(meminfo: str) -> dict[str, float]:
    """Memory in use now, from the text of /proc/meminfo.

    >>> memory_levels("MemTotal:  8000 kB\\nMemFree:  1000 kB\\nMemAvailable:  6000 kB")
    {'memory used [MB]': 2.0}
    """
    kb = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in meminfo.splitlines())}
    return {"memory used [MB]": (kb["MemTotal"] - kb["MemAvailable"]) / 1000}


def network_counters(dev: str) -> dict[str, float]:
    """Kilobytes in and out of each interface, from the text of /proc/net/dev.

    >>> network_counters("  face |bytes\\n  eth0: 2000 1 0 0 0 0 0 0 4000 1 0 0 0 0 0 0")
    {'eth0 received [kB/s]': 2.0, 'eth0 sent [kB/s]': 4.0}
    """
    found = {}
    for line in dev.splitlines():
        interface, colon, rest = line.strip().partition(":")
        if colon:
            columns = rest.split()
            found[f"{interface} received [kB/s]"] = int(columns[0]) / 1000
            found[f"{interface} sent [kB/s]"] = int(columns[8]) / 1000
    return found


class MachineSpout(Spout):
    """Reads the kernel's counters at a steady pace. Endless.

    Yesterday's counters cannot be read again, so this is no ReplayableSpout, and its tuples have no message id: if one
    is lost, the next one a second later says nearly the same.

    Args:
        every_seconds: pace of reading.
        proc: where the kernel's files are.
    """

    outputs = [
        Stream(fields=["metric", "value", "second"], name="counters"),
        Stream(fields=["metric", "value"], name="levels"),
    ]

    def __init__(self, every_seconds: float, proc: str = "/proc") -> None:
        self.every_s = every_seconds
        self.proc = Path(proc)
        self.due_s = time.monotonic()

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        for name in ("stat", "meminfo", "net/dev"):
            if not (self.proc / name).exists():
                raise RuntimeError(f"there is no {self.proc / name}: machine.yaml needs the /proc files of Linux")

    def next_tuple(self) -> None:
        now_s = time.monotonic()
        if now_s < self.due_s:
            return
        self.due_s = now_s + self.every_s
        counters = processor_counters((self.proc / "stat").read_text())
        counters |= network_counters((self.proc / "net/dev").read_text())
        for metric, value in counters.items():
            self.emit([metric, value, now_s], stream="counters")
        for metric, value in memory_levels((self.proc / "meminfo").read_text()).items():
            self.emit([metric, value], stream="levels")


class RateBolt(Bolt):
    """Counters in, rates out: the difference to the last reading of the same counter, by the time between them."""

    outputs = ["metric", "value"]
    last: KeyValueState[str, list[float]] = KeyValueState()

    def process(self, tup: Tuple) -> None:
        metric, value, second = tup.values
        before = self.last.get(metric)
        self.last[metric] = [value, second]
        # A clock or counter that went back belongs to an earlier boot; there is nothing to compare with.
        if before and value >= before[0] and second > before[1]:
            self.emit([metric, (value - before[0]) / (second - before[1])])


class SummaryBolt(Bolt):
    """Keeps least, mean and most of every metric; at each tick, prints them as a table."""

    seen: KeyValueState[str, dict[str, float]] = KeyValueState()

    def process(self, tup: Tuple) -> None:
        metric, value = tup.values
        old = self.seen.get(metric) or {"count": 0, "sum": 0.0, "min": value, "max": value}
        # A new dict, not a changed one: state sees what is assigned to it, not what happens inside a value.
        self.seen[metric] = {
            "count": old["count"] + 1,
            "sum": old["sum"] + value,
            "min": min(old["min"], value),
            "max": max(old["max"], value),
            "now": value,
        }

    def process_tick(self, tup: Tuple) -> None:
        print(f"{'':32}{'now':>12}{'min':>12}{'mean':>12}{'max':>12}")
        for metric, row in sorted(self.seen.items()):
            shown = (row["now"], row["min"], row["sum"] / row["count"], row["max"])
            print(f"{metric:32}" + "".join(f"{value:12,.2f}" for value in shown))
