"""How often and how fast a failing topology is started again.

The first recovery comes at once. Each one that follows without progress waits twice as long, and after `max_attempts`
in a row the run ends with the cause.

Progress is a committed checkpoint whose positions are not those that the last recovery started from. A checkpoint alone
is none: a tuple that fails for ever may take longer to do so than the next checkpoint takes to commit. A run without
positions, or with input that has dried up, is taken for healthy after some time of running.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Pause before the second recovery in a row, in seconds; it doubles from there.
FIRST_PAUSE_S = 0.1
#: Longest pause between two recoveries, in seconds.
LONGEST_PAUSE_S = 5.0
#: Running this long counts as progress where there are no positions, in seconds.
STABLE_S = 5.0
#: Running this long counts as progress where positions stand still, in seconds; longer than tuples take to time out.
STABLE_IN_PLACE_S = 600.0

#: by component and partition
Positions = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class RestartPolicy:
    """Counts failures in a row."""

    max_attempts: int
    attempts: int = 0

    def on_failure(self) -> float | None:
        """A failure; returns the pause before the next start in seconds, or None if it is time to give up."""
        self.attempts += 1
        if self.attempts > self.max_attempts:
            return None
        if self.attempts == 1:
            return 0.0
        return min(FIRST_PAUSE_S * 2.0 ** (self.attempts - 2), LONGEST_PAUSE_S)

    def on_commit(self, started_from: Positions, reached: Positions) -> None:
        """A checkpoint was committed.

        Args:
            started_from: the positions of the last recovery.
            reached: those of the checkpoint.
        """
        if _known(started_from) != _known(reached):
            self.on_progress()

    def on_running(self, for_s: float, *, has_positions: bool) -> None:
        """The topology has been running for `for_s` seconds since it was started or recovered."""
        if for_s > (STABLE_IN_PLACE_S if has_positions else STABLE_S):
            self.on_progress()

    def on_progress(self) -> None:
        """The topology got somewhere."""
        self.attempts = 0


def _known(positions: Positions) -> dict[str, dict[str, Any]]:
    """Without the partitions that nothing was read of yet."""
    known = {
        component: {name: position for name, position in by_name.items() if position is not None}
        for component, by_name in positions.items()
    }
    return {component: by_name for component, by_name in known.items() if by_name}
