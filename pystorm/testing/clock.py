"""The virtual clock: a stand-in for the `time` module that only the driver of a run moves.

Theory of operation: the modules that need time write `import time` and call `time.monotonic()`. While a run is in
process, `virtual_time` puts a `Clock` in the place of that name in pystorm's own modules and in those of the user's
components, and puts back what was there afterwards.

What does not work: `from time import monotonic` in a component's module, and `datetime.now()`: both go on reading the
real clock.

Source: Storm's simulated time (storm-client/src/jvm/org/apache/storm/utils/Time.java).
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

#: What `time.monotonic()` says when a run starts, in seconds.
START_S = 1000.0
#: What `time.time()` says when a run starts, in seconds since 1970: 2024-01-01 00:00 UTC.
WALL_START_S = 1_704_067_200.0

#: Rooms of pystorm whose modules read the clock, and modules in them that belong to a real server.
_CLOCKED_ROOMS = ("pystorm.components.", "pystorm.worker.", "pystorm.state.")
_REAL_TIME = ("pystorm.state.embedded", "pystorm.state.redis")


class Clock:
    """Stands for the `time` module. All that it does not know is the real module's.

    >>> clock = Clock(); clock.sleep(2.5); clock.monotonic()
    1002.5
    """

    def __init__(self) -> None:
        self.now_s = START_S
        #: how far the clock moves each time it is read: what a look at it, and the work before it, takes
        self.work_s = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        self.now_s += self.work_s
        return self.now_s

    perf_counter = monotonic

    def monotonic_ns(self) -> int:
        """Nanoseconds."""
        return int(self.monotonic() * 1e9)

    perf_counter_ns = monotonic_ns

    def time(self) -> float:
        """Seconds since 1970."""
        return WALL_START_S + self.monotonic() - START_S

    def time_ns(self) -> int:
        """Nanoseconds since 1970."""
        return int(self.time() * 1e9)

    def sleep(self, seconds: float) -> None:
        """Jump instead of waiting."""
        self.now_s += max(0.0, seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextlib.contextmanager
def virtual_time(clock: Clock, others: Iterable[str] = ()) -> Iterator[None]:
    """Inside, pystorm's modules and the modules named in `others` have `clock` for their `time`."""
    replaced: list[tuple[ModuleType, Any]] = []
    for module in _clocked_modules(others):
        current = vars(module).get("time")
        if current is time or isinstance(current, Clock):
            replaced.append((module, current))
            vars(module)["time"] = clock
    try:
        yield
    finally:
        for module, before in replaced:
            vars(module)["time"] = before


def _clocked_modules(others: Iterable[str]) -> list[ModuleType]:
    own = [name for name in sys.modules if name.startswith(_CLOCKED_ROOMS) and not name.startswith(_REAL_TIME)]
    return [sys.modules[name] for name in dict.fromkeys([*own, *others]) if name in sys.modules]
