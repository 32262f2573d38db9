"""What the kernel knows of running processes: children, peak memory, CPU time, names, open Unix sockets. Linux only.

Everything is read from /proc. A process may end between two reads: it then counts as having no children and no figures.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figures:
    """One process's peak resident size (MB) and its CPU time so far (seconds, all threads)."""

    peak_rss_mb: float
    cpu_s: float


def descendants(pid: int) -> list[int]:
    """The process and all that it started, and they started; those still alive."""
    found = [pid]
    for parent in found:  # grows while it is walked
        for thread in _list(f"/proc/{parent}/task"):
            found.extend(map(int, _read(f"/proc/{parent}/task/{thread}/children").split()))
    return found


def figures(pid: int) -> Figures | None:
    """The process's figures, or None when it is gone or a zombie."""
    peak_kb = 0
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmHWM:"):
            peak_kb = int(line.split()[1])
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if not peak_kb or len(fields) < 13:
        return None
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, fields 14 and 15 of proc(5)
    return Figures(round(peak_kb / 1024, 1), ticks / _TICKS_PER_S)


def short_name(pid: int) -> str:
    """The process's name as the kernel has it; empty when it is gone."""
    return _read(f"/proc/{pid}/comm").strip()


def unix_sockets(pid: int) -> list[str]:
    """Paths of the Unix sockets that the process has bound."""
    inodes = set()
    for descriptor in _list(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [line.split() for line in _read("/proc/net/unix").splitlines()[1:]]
    return sorted({row[7] for row in rows if len(row) > 7 and row[6] in inodes and row[7].startswith("/")})


class Sampler:
    """Follows a process and its descendants and keeps the last figures of each, also of those that ended.

    Peak memory is the kernel's own high-water mark, so sampling misses only what a process gains in its last
    `interval_s`; CPU time may miss as much.
    """

    def __init__(self, pid: int, interval_s: float = 0.2) -> None:
        self._pid, self._interval_s = pid, interval_s
        self._figures: dict[int, Figures] = {}
        self._names: dict[int, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def figures(self) -> dict[int, Figures]:
        """The last figures of every process seen, by pid."""
        return dict(self._figures)

    def name(self, pid: int) -> str:
        """The process's name, also once it is gone."""
        return self._names.get(pid, "")

    def sample(self) -> None:
        """Look once. A process that is not (yet, or any more) in memory keeps its last figures."""
        for pid in descendants(self._pid):
            found = figures(pid)
            if found is not None:
                self._figures[pid] = found
                self._names[pid] = short_name(pid) or self._names.get(pid, "")

    def _follow(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.sample()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _list(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, ProcessLookupError):
        return []
