"""The checkpoint coordinator: one checkpoint at a time, from its barrier to its commit.

Theory of operation. `begin` numbers a checkpoint; the shell tells the spouts. Every task reports once that its share is
written (`on_prepared`). When the last one has, `record` gives what the shell has to write: that write is the commit
point. `on_committed` ends the checkpoint. A rollback calls `abort`; the number is not used again.

A checkpoint never fails by itself: a task that cannot write tries again, and whatever else goes wrong is a rollback.

States::

    IDLE --begin--> PREPARING --last on_prepared--> COMMITTING --on_committed--> IDLE
    any  --abort--> IDLE

Source: Storm's CheckPointState.java, reduced to what a single commit record needs: prepare, commit.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pystorm.errors import InternalError


class Phase(enum.Enum):
    """Where a checkpoint stands, by what it waits for."""

    IDLE = "waiting for the next one to be due"
    PREPARING = "waiting for tasks to write their share"
    COMMITTING = "waiting for the commit record to be written"


@dataclass(slots=True)
class Tally:
    """What the tasks reported about the checkpoint under way."""

    started_s: float
    is_final: bool
    missing: set[str]
    keys: int = 0
    bytes: int = 0
    #: tuples that bolts had received before the cut and not worked off
    held: int = 0
    positions: dict[str, dict[str, Any]] = field(default_factory=dict)


class CheckpointCoordinator:
    """Plain data; times are arguments in seconds of a monotonic clock."""

    def __init__(self, tasks: Iterable[str], last_epoch: int = 0) -> None:
        self._tasks = frozenset(tasks)
        self.epoch = last_epoch
        self.phase = Phase.IDLE
        self.tally: Tally | None = None

    def begin(self, now_s: float, *, is_final: bool = False) -> int:
        """Start a checkpoint; returns its epoch.

        Raises:
            InternalError: one is under way.
        """
        if self.phase is not Phase.IDLE:
            raise InternalError(f"checkpoint {self.epoch} is under way ({self.phase.value}), cannot begin another")
        self.epoch += 1
        self.phase = Phase.PREPARING
        self.tally = Tally(now_s, is_final, set(self._tasks))
        return self.epoch

    def on_prepared(
        self,
        epoch: int,
        task: str,
        component: str,
        keys: int,
        size: int,
        positions: Mapping[str, Any],
        held: int = 0,
    ) -> bool:
        """A task has written its share; returns True if it was the last one.

        Args:
            held: how many tuples it saved because it had not worked them off.

        Raises:
            InternalError: an unknown or repeated task, or another epoch than the one under way.
        """
        tally = self.tally
        if self.phase is not Phase.PREPARING or tally is None or epoch != self.epoch:
            raise InternalError(f"task {task} prepared {epoch} while {self.epoch} is {self.phase.value}")
        if task not in tally.missing:
            raise InternalError(f"task {task} prepared {epoch} twice, or is unknown")
        tally.missing.discard(task)
        tally.keys += keys
        tally.bytes += size
        tally.held += held
        if positions:
            tally.positions.setdefault(component, {}).update(positions)
        if tally.missing:
            return False
        self.phase = Phase.COMMITTING
        return True

    def on_committed(self) -> Tally:
        """The commit record is written; returns what the checkpoint amounted to.

        Raises:
            InternalError: none was to be committed.
        """
        if self.phase is not Phase.COMMITTING or self.tally is None:
            raise InternalError(f"commit of {self.epoch} while {self.phase.value}")
        tally, self.tally = self.tally, None
        self.phase = Phase.IDLE
        return tally

    def abort(self) -> None:
        """Forget the checkpoint under way, if there is one: a rollback."""
        self.phase = Phase.IDLE
        self.tally = None
