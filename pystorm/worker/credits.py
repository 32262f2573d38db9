"""The receiving end of flow control: how much credit a task gives to each task that feeds it.

Theory of operation. A channel starts with a small window, INITIAL_WINDOW units, on both ends. For every batch that was
worked off the receiver learns what a unit of input costs it, and wants the windows of its sources to hold TARGET_S of
work between them: a fast bolt soon has the largest window allowed, a bolt that takes 10 ms per tuple keeps
about ten tuples waiting instead of minutes' worth. That bounds how long a tuple queues, how long a barrier takes to get
through, and so how long a checkpoint, a drain or a rollback takes under backpressure. A window grows by giving back
more than was taken, and shrinks by giving back less.

Invariants: what a source has left plus what is in flight plus what is owed is what it was granted; a grant is at least
1 and at most the configured window; what is owed is less than a grant, so a source whose tuples are all worked off can
send.

Source: credits are Flink's (FLINK-7282); sizing them by time is what Flink's buffer debloating does (FLIP-183).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

#: Units that a channel starts with, if the configured window is not smaller.
INITIAL_WINDOW = 16
#: How much work should wait in front of a task, in seconds.
TARGET_S = 0.1
#: Weight of the newest batch in the moving average of the cost of a unit.
_WEIGHT = 0.3
#: A window is left alone while the wanted one is within this factor of it.
_SLACK = 1.25
#: A pace rises by so much when a tuple takes twice as long; 65,535, the most that a frame carries, is not in reach.
PACE_STEPS = 8
#: A task whose pace is higher than another's by more than this is slow: it takes 2.6 times as long or longer. Equal
#: tasks differ by up to 2 when one of them shares its core; five times slower is beyond doubt.
SLOW_STEPS = 11
#: Weight of the newest batch in the moving average of what a tuple takes.
_PACE_WEIGHT = 0.2


def initial_window(window: int) -> int:
    """The credit that a channel starts with."""
    return min(INITIAL_WINDOW, window)


class CreditGranter:
    """One per receiving task. Plain data; durations are arguments in seconds."""

    __slots__ = ("_most", "_sources", "_unit_s", "granted", "owed")

    def __init__(self, sources: Iterable[int], window: int) -> None:
        #: source task -> units that it may have in flight
        self.granted = dict.fromkeys(sources, initial_window(window))
        #: source task -> units worked off and not given back yet
        self.owed = dict.fromkeys(self.granted, 0)
        self._most = window
        self._sources = max(1, len(self.granted))
        self._unit_s: float | None = None

    def on_batch(self, source: int, cost: int, took_s: float) -> int:
        """A batch was worked off; returns the units to give back now, 0 for none.

        Args:
            cost: what the batch took from the channel's credit.
            took_s: time since the batch before it was done, or since there was anything to do; with the time in which
                the task was blocked, because a bolt is as slow as what is behind it.
        """
        unit_s = took_s / max(1, cost)
        self._unit_s = unit_s if self._unit_s is None else self._unit_s + _WEIGHT * (unit_s - self._unit_s)
        granted = self.granted[source]
        owed = self.owed[source] + cost
        wanted = min(self._most, max(1, int(TARGET_S / max(self._unit_s, 1e-9) / self._sources)))
        # at most doubled: a bolt that is fast only until the bolt behind it stops it is found out before it has much
        wanted = min(wanted, 2 * granted)
        if wanted > granted * _SLACK or wanted == self._most:
            owed += wanted - granted
            granted = wanted
        elif wanted * _SLACK < granted:
            withheld = min(owed, granted - wanted)
            owed -= withheld
            granted -= withheld
        self.granted[source] = granted
        if owed < max(1, granted // 4):
            self.owed[source] = owed
            return 0
        self.owed[source] = 0
        return owed


class Pace:
    """What a tuple costs a task, from the time spent in it alone: waiting and other tasks of the worker do not count.

    One batch that took long says little, as the system may have stopped the process: a sample counts as at most twice
    and at least half the average.
    """

    __slots__ = ("_tuple_s",)

    def __init__(self) -> None:
        self._tuple_s: float | None = None

    def on_batch(self, count: int, took_s: float) -> None:
        """A batch of `count` tuples took `took_s` seconds of processing."""
        sample_s = max(took_s / max(1, count), 1e-9)
        if self._tuple_s is None:
            self._tuple_s = sample_s
            return
        sample_s = min(max(sample_s, self._tuple_s / 2), self._tuple_s * 2)
        self._tuple_s += _PACE_WEIGHT * (sample_s - self._tuple_s)

    @property
    def code(self) -> int:
        """The pace as it travels with credit: PACE_STEPS per doubling, from 1; 0 means that nothing is known.

        >>> pace = Pace()
        >>> pace.on_batch(100, 100e-6)
        >>> pace.code
        81
        """
        return 1 + round(PACE_STEPS * math.log2(self._tuple_s / 1e-9)) if self._tuple_s else 0
