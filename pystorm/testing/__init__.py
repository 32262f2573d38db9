"""The test kit: bolts, spouts and whole topologies in one thread of a test, with a clock that jumps.

Reading order: clock and transport (what stands in for time and sockets), worker and driver (the real worker, stepped;
the controller around it), recording (what was emitted), loading and tester (a topology), inputs, stage and single (one
bolt or spout), leaks and check (what checkpoints do not save), compare (how failures look), plugin (fixtures).

Nothing is imported before it is used: pytest loads the plugin in every run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pystorm.testing.check import check_bolt as check_bolt
    from pystorm.testing.check import check_spout as check_spout
    from pystorm.testing.inputs import TICK as TICK
    from pystorm.testing.inputs import Input as Input
    from pystorm.testing.inputs import Pause as Pause
    from pystorm.testing.single import BoltResult as BoltResult
    from pystorm.testing.single import SpoutResult as SpoutResult
    from pystorm.testing.single import run_bolt as run_bolt
    from pystorm.testing.single import run_spout as run_spout
    from pystorm.testing.tester import TopologyTester as TopologyTester

_HOMES = {
    "TopologyTester": "tester",
    "run_bolt": "single",
    "run_spout": "single",
    "BoltResult": "single",
    "SpoutResult": "single",
    "check_bolt": "check",
    "check_spout": "check",
    "Input": "inputs",
    "Pause": "inputs",
    "TICK": "inputs",
}

__all__ = [  # noqa: RUF022 (grouped by what they are for)
    # a whole topology
    "TopologyTester",
    # one component
    "run_bolt",
    "run_spout",
    "BoltResult",
    "SpoutResult",
    # does it keep all that it remembers in its state?
    "check_bolt",
    "check_spout",
    # what a bolt is given
    "Input",
    "Pause",
    "TICK",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
