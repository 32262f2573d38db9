"""How often and how fast a failing topology is started again.

The first recovery comes at once. Each one that follows without progress waits twice as long, and after `max_attempts`
in a row the run ends with the cause. Progress is a committed checkpoint, or, without checkpoints, STABLE_S of running.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Pause before the second recovery in a row, in seconds; it doubles from there.
FIRST_PAUSE_S = 0.1
#: Longest pause between two recoveries, in seconds.
LONGEST_PAUSE_S = 5.0
#: Running this long without checkpoints counts as progress, in seconds.
STABLE_S = 5.0


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

    def on_progress(self) -> None:
        """The topology got somewhere."""
        self.attempts = 0
