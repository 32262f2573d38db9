"""Recovery: how long nothing is processed downstream after `kill -9` of a worker.

The last bolt notes when it processed which tuple, and when it began (a new generation creates it anew). After each kill
two times are taken from that record: to the next tuple of any kind, which may be one that was on its way when the
worker died; and to the first tuple after the last bolt began again, which is the recovery. The budget is on the second.

A fast recovery that loses tuples is none: the record must also show every number, each generation going on from a
number that was seen or the one after it, without a hole (`hole_in`). Channels are FIFO, components have one task.

Workers are killed in turns, so each role dies equally often. Between two kills at least one checkpoint commits, as the
spout is told; or the run would count as one that dies again and again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.launch import DRAIN_TIMEOUT_S, PystormRun
from benchmarks.measure import Options, spread, table
from benchmarks.records import Records

BUDGET_MS = 1_000
#: tuples per second: one record each 0.5 ms is all the resolution that is needed
RATE = 2_000
#: what the last bolt notes as number when it begins
BEGIN = -1


class Outage:
    """What the last bolt's record shows after one kill; fed with records in the order of the file."""

    def __init__(self, killed_ns: int) -> None:
        self._killed_ns = killed_ns
        self._has_begun = False
        self.next_ms: float | None = None
        self.recovered_ms: float | None = None

    def feed(self, records: Iterable[tuple[int, int]]) -> Outage | None:
        """Take more records; the outage itself once it is over."""
        for at_ns, number in records:
            if at_ns <= self._killed_ns or self.recovered_ms is not None:
                continue
            elapsed_ms = (at_ns - self._killed_ns) / 1e6
            if number == BEGIN:
                self._has_begun = True
                continue
            if self.next_ms is None:
                self.next_ms = elapsed_ms
            if self._has_begun:
                self.recovered_ms = elapsed_ms
        return self if self.recovered_ms is not None else None


def hole_in(records: Iterable[tuple[int, int]]) -> str:
    """Empty when the record of a whole run has every number from 0 in order, going back only at a BEGIN."""
    highest, expected, has_begun = -1, 0, True
    for _, number in records:
        if number == BEGIN:
            has_begun = True
            continue
        if number != expected and not (has_begun and 0 <= number <= highest + 1):
            return f"number {number} came where {expected} was due (seen before: 0..{highest})"
        has_begun = False
        expected = number + 1
        highest = max(highest, number)
    return "" if highest >= 0 else "no number at all"


def measure(options: Options, directory: Path) -> dict[str, Any]:
    """All kills of one run."""
    kills: list[dict[str, Any]] = []
    with PystormRun("bench_recovery", directory, {}, {"PYSTORM_BENCH_RATE": str(RATE)}) as run:
        timeline, commits = Records(run.results / "timeline"), Records(run.results / "commits")
        run.await_running(timeline.poll, "the first tuple")
        for number in range(options.kills):
            await_commit(run, commits)
            kills.append(kill_worker(run, number, timeline))
        await_commit(run, commits)
        run.interrupt()
        summary = run.wait(DRAIN_TIMEOUT_S)
        hole = hole_in(Records(run.results / "timeline").poll())
        if hole:
            raise run.fail(f"tuples were lost or repeated: {hole}")
    return {
        "kills": kills,
        "next_tuple_ms": spread([kill["next_ms"] for kill in kills]).as_dict(1),
        "recovered_ms": spread([kill["recovered_ms"] for kill in kills]).as_dict(1),
        "budget_ms": BUDGET_MS,
        "recoveries": summary["recoveries"],
        "checkpoints": summary["checkpoints"]["committed"],
    }


def await_commit(run: PystormRun, commits: Records) -> None:
    """Wait for a checkpoint that commits from now on."""
    commits.poll()
    run.await_running(commits.poll, "a committed checkpoint")


def kill_worker(run: PystormRun, number: int, timeline: Records) -> dict[str, Any]:
    """Kill the next worker in turn and wait for the recovery."""
    workers = run.await_running(run.workers, "workers.json")
    victim = workers["workers"][number % len(workers["workers"])]
    timeline.poll()
    killed_ns = time.monotonic_ns()
    os.kill(victim["pid"], signal.SIGKILL)
    outage = Outage(killed_ns)
    run.await_running(lambda: outage.feed(timeline.poll()), f"a tuple after the death of {victim['tasks']}")
    return {"killed": victim["tasks"], "next_ms": outage.next_ms, "recovered_ms": outage.recovered_ms}


def render(result: dict[str, Any]) -> str:
    """The result as text."""
    rows = [
        [name, f"{result[key]['median']:,.0f}", f"{result[key]['low']:,.0f}", f"{result[key]['high']:,.0f}", budget]
        for name, key, budget in [
            ("to the next tuple", "next_tuple_ms", ""),
            ("to the first tuple after the rollback", "recovered_ms", f"< {BUDGET_MS:,}"),
        ]
    ]
    title = f"{len(result['kills'])} kills of one worker, {result['checkpoints']} checkpoints committed meanwhile"
    return f"{title}\n{table(['recovery, ms', 'median', 'min', 'max', 'budget'], rows)}"
