"""What a run takes of the machine: memory while a bolt is slow, the processor while nothing happens."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.support import Lab, kill, wait_until

#: More than this much memory above what it had once its queues were full means that a process hoards, in bytes.
GROWTH_BYTES = 16 << 20


def resident_bytes(pid: int) -> int:
    """Memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} is gone")


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def in_a_while(seconds: float) -> None:
    """Wait for the time that a measurement takes; nothing else is waited for with it."""
    end = time.monotonic() + seconds
    wait_until("the measurement is over", lambda: time.monotonic() >= end)


@pytest.mark.slow
def test_slow_bolt_stops_the_spout_not_the_machine(lab: Lab) -> None:
    """The spout could emit millions meanwhile, the bolt takes 2 ms each; no tuple times out although all wait long."""
    file = lab.topology(
        "slow",
        ("numbers", "faults.NumberSpout"),
        ("pass", "faults.SlowBolt", {"rest_s": 0.0}),
        ("slow", "faults.SlowBolt", {"rest_s": 0.002}),
        config={"topology.message.timeout.secs": 2},
    )
    run = lab.start(file)
    workers = run.wait_for_workers(3)

    in_a_while(3)
    full = {index: resident_bytes(pid) for index, pid in workers.items()}
    in_a_while(3)
    later = {index: resident_bytes(pid) for index, pid in workers.items()}
    kill(run.pid, signal.SIGTERM)
    wait_until("the run says that it drains", lambda: "draining" in run.errors)
    kill(run.pid, signal.SIGTERM)
    summary = run.wait(130)

    assert max(full.values()) < 200 << 20
    for index in workers:
        assert later[index] - full[index] < GROWTH_BYTES
    assert summary["components"]["numbers"]["emitted"] < 100_000
    assert summary["components"]["numbers"]["failed"] == 0
    assert summary["components"]["slow"]["processed"] > 500


@pytest.mark.slow
def test_idle_topology_uses_hardly_any_processor_time(lab: Lab) -> None:
    file = lab.topology(
        "idle",
        ("numbers", "faults.IdleSpout"),
        ("tally", "faults.TallyBolt", {}, 2),
        config={"topology.state.checkpoint.interval.ms": 1000},
    )
    run = lab.start(file)
    workers = run.wait_for_workers(3)
    run.wait_for_commit()

    before = {index: cpu_s(pid) for index, pid in workers.items()}
    begun = time.monotonic()
    in_a_while(3)
    took_s = time.monotonic() - begun
    shares = {index: (cpu_s(pid) - before[index]) / took_s for index, pid in workers.items()}

    assert all(share < 0.02 for share in shares.values()), shares
