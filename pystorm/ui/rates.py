"""Rates of a running topology, from its counters at successive moments."""

from __future__ import annotations

from collections import deque

from pystorm.controller.status import RunStatus

#: Counters arrive a few times a second and jumpily; over less than this a rate flickers, over more it lags.
WINDOW_S = 3.0


class Rates:
    """Emitted and processed tuples per second of each component over the last few seconds.

    The clock is the status's own: no time is read here.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        #: (elapsed s, component -> (emitted, processed)), oldest first; the first one is at least a window old
        self._seen: deque[tuple[float, dict[str, tuple[int, int]]]] = deque()

    def add(self, status: RunStatus) -> None:
        """Note the counters of a moment."""
        self._seen.append((status.elapsed_s, {c.id: (c.emitted, c.processed) for c in status.components}))
        while len(self._seen) > 2 and self._seen[1][0] <= status.elapsed_s - self._window_s:
            self._seen.popleft()

    def of(self, component: str) -> tuple[float, float]:
        """Emitted and processed per second; 0 before there are two moments to compare."""
        if len(self._seen) < 2:
            return 0.0, 0.0
        (then_s, before), (now_s, after) = self._seen[0], self._seen[-1]
        emitted, processed = (late - early for late, early in zip(after[component], before[component]))
        # a killed worker takes its last counts with it, so sums may fall a little
        span_s = max(now_s - then_s, 1e-3)
        return max(0.0, emitted / span_s), max(0.0, processed / span_s)
