"""Redis dies or does not answer: nothing committed is lost, nothing is counted twice, and people are told once."""

from __future__ import annotations

import random

import pytest

from tests.integration.counting import Count, let_pass
from tests.integration.support import Lab, UserRedis, kill, plain_count, wait_until


def test_killed_embedded_redis_comes_back_with_its_data(lab: Lab) -> None:
    count = Count(lab)
    done = count.under_way()
    old = count.run.redis_pid()

    assert kill(old)
    count.run.wait_for_other_redis(old)
    count.under_way(done)
    summary = count.finish()

    assert count.run.errors.count("the embedded Redis ended") == 1
    assert summary["recoveries"] <= 1


@pytest.mark.slow
def test_embedded_redis_that_dies_at_random_moments_leaves_the_count_exact(lab: Lab, seed: int) -> None:
    chosen = random.Random(seed)
    count = Count(lab, pace=600)
    done = 0
    for _ in range(6):
        done = count.under_way(done)
        old = count.run.redis_pid()
        let_pass(chosen.uniform(0.0, 0.12))
        assert kill(old)
        count.run.wait_for_other_redis(old)
    count.under_way(done)
    count.finish()


@pytest.mark.slow
def test_redis_and_a_worker_that_die_together_leave_the_count_exact(lab: Lab, seed: int) -> None:
    chosen = random.Random(seed)
    count = Count(lab, pace=600)
    done = 0
    for victim in ("count-0", "lines-0", "split-1"):
        done = count.under_way(done)
        old, pid = count.run.redis_pid(), count.run.worker_of(victim)
        let_pass(chosen.uniform(0.0, 0.12))
        assert kill(old)
        assert kill(pid)
        count.run.wait_for_other_redis(old)
    count.under_way(done)
    count.finish()


@pytest.mark.slow
def test_user_redis_that_does_not_answer_for_10_s_loses_nothing(lab: Lab, user_redis: UserRedis) -> None:
    count = Count(lab, pace=200, **{"topology.state.provider.config": {"url": user_redis.url}})
    wait_until("a checkpoint is committed", lambda: user_redis.last_position("counting") > 0)

    with user_redis.frozen():
        let_pass(10)
        count.run.check_running()
    done = user_redis.last_position("counting")
    wait_until("checkpoints go on", lambda: user_redis.last_position("counting") > done)
    count.finish(exactly=False)

    assert user_redis.counts("counting", "count", "counts") == plain_count(count.text)
    assert count.run.errors.count("processing goes on, checkpoints wait") == 1
    assert count.run.errors.count("the state backend answers again") == 1


@pytest.mark.slow
def test_user_redis_that_is_down_for_10_s_loses_nothing(lab: Lab, user_redis: UserRedis) -> None:
    """A worker dies meanwhile, so that the recovery has to wait for Redis too."""
    count = Count(lab, pace=200, **{"topology.state.provider.config": {"url": user_redis.url}})
    wait_until("a checkpoint is committed", lambda: user_redis.last_position("counting") > 0)

    user_redis.server.stop()
    let_pass(5)
    kill(count.run.worker_of("count-0"))
    let_pass(5)
    count.run.check_running()
    user_redis.server.start()
    done = user_redis.last_position("counting")
    wait_until("checkpoints go on", lambda: user_redis.last_position("counting") > done)
    count.finish(exactly=False)

    assert user_redis.counts("counting", "count", "counts") == plain_count(count.text)
    assert count.run.errors.count("processing goes on, checkpoints wait") == 1
    assert count.run.errors.count("the state backend answers again") == 1


def test_second_controller_on_the_same_redis_takes_over_and_the_first_writes_no_more(
    lab: Lab, user_redis: UserRedis
) -> None:
    """Two data directories, one Redis: the lock file cannot tell; the fence does."""
    count = Count(lab, pace=300, **{"topology.state.provider.config": {"url": user_redis.url}})
    wait_until("a checkpoint is committed", lambda: user_redis.last_position("counting") > 0)
    first = count.run

    second = lab.start(count.file, settings=count.settings, data_dir=lab.folder / "other")
    summary = first.wait(1)
    count.hurry.touch()
    second.wait()

    assert "another controller took over" in summary["cause"]
    assert user_redis.counts("counting", "count", "counts") == plain_count(count.text)
