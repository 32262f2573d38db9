"""The checkpoint coordinator and the restart policy: who may do what when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.controller.coordinator import CheckpointCoordinator, Phase
from pystorm.controller.restarts import FIRST_PAUSE_S, LONGEST_PAUSE_S, RestartPolicy
from pystorm.errors import InternalError

TASKS = ("lines-0", "count-0", "count-1")


def prepared(c: CheckpointCoordinator, task: str, epoch: int = 1) -> bool:
    return c.on_prepared(epoch, task, task.rpartition("-")[0], 2, 10, {"p" + task: 7} if task == "lines-0" else {})


@given(order=st.permutations(TASKS))
def test_a_checkpoint_is_ready_to_commit_when_the_last_task_has_prepared(order: list[str]) -> None:
    c = CheckpointCoordinator(TASKS)
    assert c.begin(5.0) == 1
    assert [prepared(c, task) for task in order] == [False, False, True]
    assert c.phase is Phase.COMMITTING
    tally = c.on_committed()
    assert (tally.keys, tally.bytes, tally.started_s) == (6, 30, 5.0)
    assert tally.positions == {"lines": {"plines-0": 7}}
    assert c.begin(6.0) == 2


def test_the_positions_of_one_component_s_tasks_are_put_together() -> None:
    c = CheckpointCoordinator(["a-0", "a-1"])
    c.begin(0.0)
    c.on_prepared(1, "a-0", "a", 0, 0, {"x": 1})
    c.on_prepared(1, "a-1", "a", 0, 0, {"y": 2})
    assert c.on_committed().positions == {"a": {"x": 1, "y": 2}}


def test_an_aborted_epoch_s_number_is_not_used_again() -> None:
    c = CheckpointCoordinator(TASKS, last_epoch=6)
    assert c.begin(0.0) == 7
    c.abort()
    assert c.phase is Phase.IDLE
    assert c.tally is None
    assert c.begin(0.0) == 8
    with pytest.raises(InternalError):
        prepared(c, "lines-0", 7)


@pytest.mark.parametrize(
    ("phase", "move", "complaint"),
    [
        (Phase.IDLE, lambda c: c.on_committed(), "commit of 0 while waiting for the next one"),
        (Phase.IDLE, lambda c: prepared(c, "lines-0"), "task lines-0 prepared 1 while 0 is waiting for the next"),
        (Phase.PREPARING, lambda c: c.begin(0.0), "checkpoint 1 is under way"),
        (Phase.PREPARING, lambda c: c.on_committed(), "while waiting for tasks"),
        (Phase.PREPARING, lambda c: prepared(c, "lines-0", 2), "prepared 2 while 1"),
        (Phase.PREPARING, lambda c: prepared(c, "nobody-0"), "unknown"),
        (Phase.PREPARING, lambda c: (prepared(c, "lines-0"), prepared(c, "lines-0")), "twice"),
        (Phase.COMMITTING, lambda c: c.begin(0.0), "is under way"),
        (Phase.COMMITTING, lambda c: prepared(c, "lines-0"), "waiting for the commit record"),
    ],
)
def test_an_illegal_move_names_the_epoch_and_the_phase(
    phase: Phase, move: Callable[[CheckpointCoordinator], object], complaint: str
) -> None:
    c = CheckpointCoordinator(TASKS)
    if phase is not Phase.IDLE:
        c.begin(0.0)
    if phase is Phase.COMMITTING:
        for task in TASKS:
            prepared(c, task)
    assert c.phase is phase
    with pytest.raises(InternalError, match=complaint):
        move(c)


def test_a_final_checkpoint_says_so() -> None:
    c = CheckpointCoordinator(["a-0"])
    c.begin(0.0, is_final=True)
    c.on_prepared(1, "a-0", "a", 0, 0, {})
    assert c.on_committed().is_final


def test_the_first_recovery_comes_at_once_and_the_next_ones_wait_twice_as_long_each() -> None:
    policy = RestartPolicy(9)
    pauses = [policy.on_failure() for _ in range(10)]
    assert pauses == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, None]
    assert FIRST_PAUSE_S == 0.1
    assert LONGEST_PAUSE_S == 5.0


def test_progress_forgets_the_failures_before_it() -> None:
    policy = RestartPolicy(2)
    assert [policy.on_failure(), policy.on_failure()] == [0.0, 0.1]
    policy.on_progress()
    assert [policy.on_failure(), policy.on_failure(), policy.on_failure()] == [0.0, 0.1, None]


@pytest.mark.parametrize(
    ("started_from", "reached", "is_progress"),
    [
        ({}, {}, False),
        ({"lines": {"": 5}}, {"lines": {"": 5}}, False),
        ({"lines": {"": 5}}, {"lines": {"": 6}}, True),
        ({}, {"lines": {"": 6}}, True),
        ({}, {"lines": {"": None}}, False),
    ],
)
def test_a_commit_is_progress_if_a_position_moved(started_from: Any, reached: Any, is_progress: bool) -> None:
    policy = RestartPolicy(5)
    policy.on_failure()
    policy.on_failure()
    policy.on_commit(started_from, reached)
    assert policy.attempts == (0 if is_progress else 2)


@pytest.mark.parametrize(
    ("for_s", "has_positions", "is_progress"),
    [(4.0, False, False), (6.0, False, True), (6.0, True, False), (599.0, True, False), (601.0, True, True)],
)
def test_running_for_long_is_progress_too(for_s: float, has_positions: bool, is_progress: bool) -> None:
    policy = RestartPolicy(5)
    policy.on_failure()
    policy.on_running(for_s, has_positions=has_positions)
    assert policy.attempts == (0 if is_progress else 1)


def test_with_no_attempts_the_first_failure_is_the_last() -> None:
    assert RestartPolicy(0).on_failure() is None
