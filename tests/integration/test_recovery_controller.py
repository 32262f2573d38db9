"""The controller dies, alone or with everything: nothing is left behind, and the next run goes on exactly."""

from __future__ import annotations

import os
import random
import signal

import pytest

from tests.integration.counting import WORKERS, Count, let_pass
from tests.integration.support import Lab, kill, wait_until


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_killed_controller_leaves_no_process_and_the_next_run_resumes(lab: Lab, guarantee: str) -> None:
    count = Count(lab, **{"topology.guarantee": guarantee})
    done = count.under_way()
    started = {*count.run.workers().values(), count.run.zygote(), count.run.redis_pid()}
    assert started <= set(lab.processes())

    kill(count.run.pid)
    count.run.process.wait()
    lab.assert_nothing_runs()
    count.start()
    count.under_way(done)
    summary = count.finish(exactly=guarantee == "exactly-once")

    assert summary["components"]["lines"]["emitted"] < 3000
    assert count.missing() == {}


@pytest.mark.slow
def test_controllers_that_are_killed_again_and_again_leave_the_count_exact(lab: Lab, seed: int) -> None:
    """Most of them die while they start, recover or commit."""
    chosen = random.Random(seed)
    count = Count(lab, pace=600)
    done = count.under_way()
    for turn in range(8):
        let_pass(chosen.uniform(0.0, 0.8 if turn % 2 else 0.15))
        kill(count.run.pid)
        count.run.process.wait()
        lab.assert_nothing_runs()
        count.start()
        if turn % 2:
            done = count.under_way(done)
    count.finish()


@pytest.mark.slow
def test_kill_of_everything_at_once_leaves_the_count_exact(lab: Lab, seed: int) -> None:
    """As when the machine loses its power, but for what the disk's cache holds."""
    chosen = random.Random(seed)
    count = Count(lab, pace=600)
    done = 0
    for _ in range(4):
        done = count.under_way(done)
        let_pass(chosen.uniform(0.0, 0.15))
        assert lab.kill_everything() >= WORKERS + 3
        lab.assert_nothing_runs()
        count.start()
    count.finish()


def test_run_after_a_crash_is_not_held_up_by_what_it_left(lab: Lab) -> None:
    """Lock, sockets and workers.json of the dead controller are still there; its runtime directory goes."""
    count = Count(lab)
    count.under_way()
    socket = count.run.redis_socket()
    lab.kill_everything()

    count.start()
    count.under_way()
    wait_until("the old runtime directory is gone", lambda: not os.path.exists(socket))
    count.finish()


def test_frozen_controller_takes_up_where_it_was(lab: Lab) -> None:
    """Checkpoints are prepared and a worker dies while it hears nothing."""
    count = Count(lab)
    done = count.under_way()

    kill(count.run.pid, signal.SIGSTOP)
    victim = count.run.worker_of("count-1")
    let_pass(0.4)
    kill(victim)
    let_pass(0.2)
    kill(count.run.pid, signal.SIGCONT)
    count.under_way(done)
    summary = count.finish()

    assert summary["recoveries"] == 1
