"""What went wrong once: each test tells one way in which user code or an unlucky moment broke a promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pystorm.components import Bolt, ReplayableSpout, Tuple
from pystorm.errors import ComponentError
from pystorm.state.keyvalue import KeyValueState
from tests.harness import Harness, Parts

Start = Callable[..., Harness]
ONCE_EACH = dict.fromkeys(range(60), 1)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts topologies, with checkpoints unless told otherwise; ends them afterwards."""
    running: list[Harness] = []

    def start(parts: Parts, *, workers: int | None = None, checkpoints: bool = True, **config: Any) -> Harness:
        harness = Harness(parts.plan(workers=workers, **config), tmp_path, checkpoints=checkpoints)
        running.append(harness.__enter__())
        return harness

    yield start
    for harness in running:
        harness.__exit__()


class Numbers(ReplayableSpout):
    """0 to 59; a position is how many were sent."""

    outputs = ["num"]

    def seek(self, partition: str, position: Any) -> None:
        self.at = position or 0

    def next_tuple(self) -> None:
        if self.at == 60:
            self.finish()
            return
        self.at += 1
        self.emit([self.at - 1], position=self.at)


class Count(Bolt):
    counts: KeyValueState[Any, int] = KeyValueState()

    def process(self, tup: Tuple) -> None:
        self.counts[tup.values.num] = self.counts.get(tup.values.num, 0) + 1


# -- positions -------------------------------------------------------------------------------------------------------


def test_a_position_that_the_spout_changes_after_the_barrier_is_committed_as_it_was_at_the_barrier(
    start: Start,
) -> None:
    is_held_back = True

    class OneDict(Numbers):
        """Gives the same dict as its position every time."""

        def seek(self, partition: str, position: Any) -> None:
            self.where = dict(position or {"at": 0})

        def next_tuple(self) -> None:
            number = self.where["at"]
            if number == 60:
                self.finish()
            elif number < 10 or not is_held_back:
                self.where["at"] += 1
                self.emit([number], position=self.where)

    parts = Parts()
    parts.spout("s", OneDict)
    parts.bolt("b", Count, reads=["s"])
    harness = start(parts, workers=2, topology_guarantee="exactly-once")
    harness.advance(0.1)
    harness.begin_checkpoint()
    for index in (0, 1):
        harness.deliver(index)  # the spout's share is fixed, and waits to be written
    is_held_back = False
    while harness.instance("s").where["at"] < 60:
        harness.turn(0)
        harness.turn(1)
        harness.clock.now_s += 0.001
    harness.settle()
    assert harness.committed
    harness.kill(1)
    harness.run()
    assert harness.state("b", "counts") == ONCE_EACH


def test_a_position_that_cannot_be_saved_is_named(start: Start) -> None:
    class Odd(Numbers):
        def next_tuple(self) -> None:
            self.emit([1], position={1, 2})
            self.finish()

    parts = Parts()
    parts.spout("odd", Odd)
    parts.bolt("b", Count, reads=["odd"])
    harness = start(parts, workers=2)
    with pytest.raises(ComponentError, match=r"spout 'odd', task \d+: a position cannot be saved: .*set.*\{1, 2\}"):
        harness.run()
