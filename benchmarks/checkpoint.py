"""Checkpoint: how long saving 100,000 changed keys stops processing, and how long one call holds Redis.

The same topology runs twice, with a checkpoint every 2 s and with none until the end. The bolt gets a tuple each
millisecond and notes the longest time between two tuples; what checkpoints add to that is their pause. The last second
of a run is left out: there the final checkpoint is meant to find processing at its end.

Redis's own slow log tells its longest call; its latency monitor tells the other events that hold it, such as a slow
fsync of the append-only file, which is no call's fault and not part of the budget.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import redis

from benchmarks.launch import PystormRun
from benchmarks.measure import Options, table
from benchmarks.processes import unix_sockets

PAUSE_BUDGET_MS = 150
REDIS_BUDGET_MS = 50
INTERVAL_MS = 2_000
#: longer than any run
NEVER_MS = 600_000
#: tuples per second, as in bench_checkpoint.yaml
RATE = 1_000


class RedisWatch:
    """Collects the slowest calls of the embedded Redis while a run lasts: after it, Redis is gone.

    The slow log is switched on from 1 ms and never emptied: a call that came between a look and a reset would be lost.
    What Redis does in the last 0.3 s of its life may be missed.
    """

    def __init__(self, run: PystormRun) -> None:
        self._run = run
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="redis-watch", daemon=True)
        #: longest time of each command, ms
        self.slowest_ms: dict[str, float] = {}
        #: longest time of each event of the latency monitor, ms
        self.events_ms: dict[str, float] = {}
        self.looks = 0

    def __enter__(self) -> RedisWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(0.1):
            pid = self._run.redis_pid()
            sockets = unix_sockets(pid) if pid else []
            if sockets:
                # Redis ends with the run, between two looks or within one.
                with contextlib.suppress(redis.ConnectionError), redis.Redis(unix_socket_path=sockets[0]) as client:
                    self._follow_client(client)

    def _follow_client(self, client: redis.Redis) -> None:
        client.config_set("slowlog-log-slower-than", 1_000)
        client.config_set("slowlog-max-len", 4_096)
        client.config_set("latency-monitor-threshold", 1)
        while not self._stop.wait(0.3):
            for call in client.slowlog_get(4_096):
                command = str(call["command"][:40], "utf-8", "replace").split()[0].upper()
                self._raise(self.slowest_ms, command, call["duration"] / 1_000)
            for name, _, _, longest_ms in client.latency_latest():
                event = name.decode() if isinstance(name, bytes) else str(name)
                self._raise(self.events_ms, event, float(longest_ms))
            self.looks += 1

    @staticmethod
    def _raise(longest: dict[str, float], name: str, value_ms: float) -> None:
        longest[name] = max(longest.get(name, 0.0), value_ms)


def measure(options: Options, directory: Path) -> dict[str, Any]:
    """One run without checkpoints and one with them."""
    without = _run(options, directory / "without", NEVER_MS)
    with_checkpoints = _run(options, directory / "with", INTERVAL_MS)
    return {
        "without": without,
        "with": with_checkpoints,
        "pause_ms": round(with_checkpoints["longest_gap_ms"] - without["longest_gap_ms"], 1),
        "pause_budget_ms": PAUSE_BUDGET_MS,
        "redis_budget_ms": REDIS_BUDGET_MS,
    }


def _run(options: Options, directory: Path, interval_ms: int) -> dict[str, Any]:
    env = {"PYSTORM_BENCH_TOTAL": str(options.seconds * RATE)}
    config = {"topology.state.checkpoint.interval.ms": str(interval_ms)}
    with PystormRun("bench_checkpoint", directory, config, env) as run, RedisWatch(run) as watch:
        summary = run.wait()
        gaps = run.result("gaps")
        processes = run.processes()
    if not watch.looks:
        raise run.fail("no embedded Redis was found among its processes")
    return {
        "interval_ms": interval_ms,
        "checkpoints": summary["checkpoints"]["committed"],
        "keys": gaps["keys"],
        "longest_gap_ms": round(longest_gap_ms(gaps["by_second_ms"]), 1),
        "redis_calls_ms": watch.slowest_ms,
        "redis_events_ms": watch.events_ms,
        "processes": processes,
    }


def longest_gap_ms(by_second_ms: dict[str, float]) -> float:
    """The longest gap, without the first second (start-up) and the last (the final checkpoint)."""
    last = max(map(int, by_second_ms))
    return max(gap_ms for second, gap_ms in by_second_ms.items() if 0 < int(second) < last)


def render(result: dict[str, Any]) -> str:
    """The result as text."""
    rows = [
        [
            name,
            str(result[name]["checkpoints"]),
            f"{result[name]['longest_gap_ms']:.1f}",
            _longest(result[name]["redis_calls_ms"]),
            _longest(result[name]["redis_events_ms"]),
        ]
        for name in ("without", "with")
    ]
    budget = ["budget", "", f"< {PAUSE_BUDGET_MS} more", f"< {REDIS_BUDGET_MS}", ""]
    header = ["checkpoints", "committed", "longest gap, ms", "Redis's longest call, ms", "Redis's longest event, ms"]
    title = (
        f"{result['with']['keys']:,} changed keys per checkpoint; checkpoints pause processing {result['pause_ms']} ms"
    )
    return f"{title}\n{table(header, [*rows, budget])}"


def _longest(times_ms: dict[str, float]) -> str:
    if not times_ms:
        return "below 1"
    name = max(times_ms, key=lambda each: times_ms[each])
    return f"{times_ms[name]:.1f} ({name})"
