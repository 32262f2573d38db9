"""A shuffle in real processes: a slow task gets less and holds nobody up.

How much exactly, and that equal tasks get equally much, is in tests/unit/test_worker_shuffle.py, with no clock: on
a busy machine equal tasks are not equally fast.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli import Commands

TOPOLOGY = """\
import json
import time
from pathlib import Path

from pystorm import Bolt, ReplayableSpout, Topology

HERE = Path(__file__).parent


class Numbers(ReplayableSpout):
    outputs = ["number"]

    def __init__(self, last):
        self.last = last

    def seek(self, partition, position):
        self.at = position or 0

    def next_tuple(self):
        if self.at == self.last:
            self.finish()
            return
        self.at += 1
        self.emit([self.at], position=self.at)


class Work(Bolt):
    def __init__(self, pause_s, slow_pause_s):
        self.pause_s, self.slow_pause_s = pause_s, slow_pause_s

    def initialize(self, conf, context):
        self.got, self.last_s = 0, 0.0
        if context["task_index"] == 0:
            self.pause_s = self.slow_pause_s

    def process(self, tup):
        self.got += 1
        time.sleep(self.pause_s)
        self.last_s = time.time()

    def cleanup(self):
        (HERE / f"got-{self.context['task_index']}.json").write_text(json.dumps([self.got, self.last_s]))


class Shuffled(Topology):
    numbers = Numbers.spec(args=[LAST])
    work = Work.spec(inputs=[numbers], par=3, args=[PAUSE, SLOW])
"""


@pytest.fixture
def pystorm(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    commands.close()


def run(pystorm: Commands, last: int, pause_s: float, slow_s: float, *options: str) -> list[int]:
    """What each of three tasks got; the first one is slow."""
    text = TOPOLOGY.replace("LAST", str(last)).replace("PAUSE", str(pause_s)).replace("SLOW", str(slow_s))
    (pystorm.folder / "shuffled.py").write_text(text)
    done = pystorm("run", "shuffled.py", "--json", *options)
    assert done.code == 0, done.err
    got = [json.loads((pystorm.folder / f"got-{index}.json").read_text())[0] for index in range(3)]
    assert sum(got) == last
    return got


def test_a_task_many_times_slower_gets_measurably_less(pystorm: Commands) -> None:
    slow, *others = run(pystorm, 3000, 0.001, 0.02)  # so much slower that a busy machine does not hide it
    assert slow < 0.5 * min(others), (slow, others)


def test_load_awareness_can_be_switched_off(pystorm: Commands) -> None:
    got = run(pystorm, 900, 0.0002, 0.001, "--set", "topology.grouping.load.aware=false")
    assert max(got) - min(got) <= 0.01 * 900
