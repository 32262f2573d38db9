"""Workers die at every moment there is, and the count stays exact."""

from __future__ import annotations

import random
import signal

import pytest

from tests.integration.counting import WORKERS, Count, let_pass
from tests.integration.support import Lab, kill, plain_count, total_position


@pytest.mark.parametrize("victim", ["lines-0", "split-0", "split-1", "count-0", "count-1"])
def test_kill_of_any_worker_leaves_the_count_exact(lab: Lab, victim: str) -> None:
    count = Count(lab)
    count.under_way()

    pid = count.run.worker_of(victim)
    assert kill(pid)
    count.run.wait_for_workers(WORKERS, generation=2)
    summary = count.finish()

    assert summary["recoveries"] == 1
    assert f"pid {pid}) was killed by SIGKILL" in count.run.errors


@pytest.mark.parametrize("victims", [(0, 1), (1, 2, 3), (0, 1, 2, 3, 4)])
def test_kill_of_several_workers_at_once_leaves_the_count_exact(lab: Lab, victims: tuple[int, ...]) -> None:
    count = Count(lab)
    count.under_way()
    workers = count.run.wait_for_workers(WORKERS)

    for index in victims:
        assert kill(workers[index])
    summary = count.finish()

    assert summary["recoveries"] >= 1


def test_kill_of_the_workers_parent_leaves_the_count_exact(lab: Lab) -> None:
    count = Count(lab)
    count.under_way()
    workers = count.run.wait_for_workers(WORKERS)

    assert kill(count.run.zygote())
    count.run.wait_for_workers(WORKERS, generation=2)
    summary = count.finish()

    assert summary["recoveries"] == 1
    assert not set(workers.values()) & set(lab.processes())


@pytest.mark.slow
def test_kills_during_recovery_itself_leave_the_count_exact(lab: Lab, seed: int) -> None:
    """Each time the processes of a new generation are there, one of them is killed again, at once."""
    chosen = random.Random(seed)
    count = Count(lab)
    done = count.under_way()
    for _ in range(3):
        workers = count.run.wait_for_workers(WORKERS)
        kill(workers[chosen.randrange(WORKERS)])
        for _ in range(2):
            newest = count.run.wait_for_generation(count.run.workers_file()["generation"] + 1)
            kill(newest[chosen.randrange(len(newest))])
        done = count.under_way(done)
    summary = count.finish()

    assert summary["recoveries"] >= 6


@pytest.mark.slow
def test_kills_at_any_moment_of_a_checkpoint_leave_the_count_exact(lab: Lab, seed: int) -> None:
    """Redis stands still for a moment, so prepares, the commit and moves are under way when the worker dies."""
    chosen = random.Random(seed)
    count = Count(lab, pace=600)
    done = count.under_way()
    for _ in range(8):
        workers = count.run.wait_for_workers(WORKERS)
        redis = count.run.redis_pid()
        kill(redis, signal.SIGSTOP)
        try:
            let_pass(chosen.uniform(0.0, 0.3))
            kill(workers[chosen.randrange(WORKERS)])
            let_pass(chosen.uniform(0.0, 0.1))
        finally:
            kill(redis, signal.SIGCONT)
        done = count.under_way(done)
    summary = count.finish()

    assert summary["recoveries"] >= 8


@pytest.mark.slow
def test_kills_at_random_moments_leave_the_count_exact(lab: Lab, seed: int) -> None:
    chosen = random.Random(seed)
    count = Count(lab, pace=600)
    done = count.under_way()
    for _ in range(12):
        workers = count.run.wait_for_workers(WORKERS)
        let_pass(chosen.uniform(0.0, 0.12))
        kill(workers[chosen.randrange(WORKERS)])
        done = count.under_way(done)
    summary = count.finish()

    assert summary["recoveries"] == 12


def test_tuples_that_a_bolt_holds_survive_a_kill(lab: Lab) -> None:
    """The bolt settles tuples in groups of 40 and at ticks: checkpoints cut through its groups."""
    file = lab.topology(
        "late",
        ("numbers", "faults.NumberSpout", {"count": 1000, "per_s": 500}),
        ("late", "faults.LateBolt", {"hold": 40}),
        config={
            "topology.guarantee": "exactly-once",
            "topology.state.checkpoint.interval.ms": 100,
            "topology.tick.tuple.freq.secs": 0.5,
        },
    )
    run = lab.start(file)
    done = 0
    for _ in range(3):
        done = total_position(run.wait_for_commit(position=done))
        kill(run.worker_of("late-0"))
    summary = run.wait()

    assert summary["recoveries"] == 3
    assert lab.counts("late", "late", "seen") == dict.fromkeys(range(1000), 1)


def test_worker_that_dies_without_end_ends_the_run_with_the_cause(lab: Lab) -> None:
    """Killed again and again before it got anywhere."""
    file = lab.topology(
        "dying",
        ("numbers", "faults.NumberSpout", {"first_after_s": 100}),
        ("tally", "faults.TallyBolt"),
        config={"topology.guarantee": "exactly-once", "topology.recovery.max.attempts": 2},
    )
    run = lab.start(file)
    for generation in range(1, 4):
        run.wait_for_workers(2, generation)
        kill(run.worker_of("tally-0"))
    summary = run.wait(1)

    assert summary["recoveries"] == 2
    assert "SIGKILL" in summary["cause"]
    assert "tally-0" in summary["cause"]


def test_words_of_a_killed_at_least_once_run_are_all_there(lab: Lab) -> None:
    count = Count(lab, **{"topology.guarantee": "at-least-once"})
    done = 0
    for victim in ("lines-0", "split-1", "count-0"):
        done = count.under_way(done)
        kill(count.run.worker_of(victim))
    summary = count.finish(exactly=False)

    assert summary["recoveries"] == 3
    assert count.missing() == {}


def test_words_of_a_killed_at_most_once_run_are_never_counted_twice(lab: Lab) -> None:
    count = Count(lab, **{"topology.guarantee": "at-most-once"})
    done = 0
    for victim in ("split-1", "count-0", "count-1"):
        done = count.under_way(done)
        kill(count.run.worker_of(victim))
    count.finish(exactly=False)

    plain = plain_count(count.text)
    assert {word: n for word, n in lab.counts("counting").items() if n > plain[word]} == {}
