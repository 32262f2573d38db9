"""Half a million words are counted while processes are killed; the result must be that of plain Python.

The shipped text is repeated until it has 500,000 words. The spout is held back so that the run lasts long enough for
all kills, each of which waits until more was committed since the last one: every kill falls while words are processed.
Victims and moments come from a seed that is printed.
"""

from __future__ import annotations

import random
import signal

import pytest

from tests.integration.counting import WORKERS, Count, let_pass
from tests.integration.support import TEXT, Lab, kill, plain_count

WORDS = 500_000
WORKER_KILLS = 16
CONTROLLER_KILLS = 4
#: Lines a second while there is killing to do.
PACE = 1500


def half_a_million_words() -> str:
    """The shipped text, over and over."""
    text = TEXT.read_text()
    return text * -(-WORDS // plain_count(text).total())


def disturb(count: Count, chosen: random.Random) -> tuple[int, int]:
    """Kill workers and the controller, each while words are being processed; returns how many of each."""
    killed = {"worker": 0, "controller": 0}
    kinds = ["worker"] * WORKER_KILLS + ["controller"] * CONTROLLER_KILLS
    chosen.shuffle(kinds)
    done = 0
    for kind in kinds:
        done = count.under_way(done)
        workers = count.run.wait_for_workers(WORKERS)
        let_pass(chosen.uniform(0.0, 0.3))
        count.run.check_running()
        if kind == "worker":
            killed[kind] += kill(workers[chosen.randrange(WORKERS)])
            continue
        killed[kind] += kill(count.run.pid)
        count.run.process.wait()
        count.lab.assert_nothing_runs()
        count.start()
    count.under_way(done)
    return killed["worker"], killed["controller"]


@pytest.mark.slow
@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_count_of_half_a_million_words_survives_more_than_ten_kills(lab: Lab, seed: int, guarantee: str) -> None:
    text = half_a_million_words()
    count = Count(lab, text=text, pace=PACE, **{"topology.guarantee": guarantee})

    workers, controllers = disturb(count, random.Random(seed))
    summary = count.finish(exactly=guarantee == "exactly-once")

    assert (workers, controllers) == (WORKER_KILLS, CONTROLLER_KILLS)
    assert summary["outcome"] == "finished"
    assert plain_count(text).total() >= WORDS
    assert count.missing() == {}


@pytest.mark.slow
def test_worker_that_stands_still_for_3_s_leaves_the_count_exact(lab: Lab, seed: int) -> None:
    count = Count(lab, pace=500)
    done = count.under_way()
    victim = count.run.worker_of(random.Random(seed).choice(["lines-0", "split-0", "split-1", "count-0", "count-1"]))

    kill(victim, signal.SIGSTOP)
    let_pass(3)
    kill(victim, signal.SIGCONT)
    count.under_way(done)
    summary = count.finish()

    assert summary["recoveries"] == 0
