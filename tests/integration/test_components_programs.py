"""Components written in the way of pystorm 3.x and streamparse, with the import renamed, through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Lab

SPOUTS = '''
from itertools import cycle

from pystorm import ReliableSpout
from pystorm.spout import Spout


class WordSpout(Spout):
    outputs = ["word"]

    def initialize(self, stormconf, context):
        self.words = iter(["dog", "cat", "zebra", "elephant"] * 25)
        self.open = set()
        self.count = 0

    def next_tuple(self):
        word = next(self.words, None)
        if word is None:
            if not self.open:
                self.finish()
            return
        self.count += 1
        self.open.add(self.count)
        self.emit([word], tup_id=self.count)

    def ack(self, tup_id):
        self.open.remove(tup_id)

    def fail(self, tup_id):
        self.log("lost {}".format(tup_id), level="warn")
        self.open.remove(tup_id)


class HastySpout(WordSpout):
    """Has no more to send once it has sent everything, acked or not."""

    def next_tuple(self):
        if self.count == 100:
            self.finish()
        else:
            super().next_tuple()


class StubbornSpout(ReliableSpout):
    outputs = ["number"]
    max_fails = 5

    def initialize(self, conf, ctx):
        self.numbers = list(range(20))

    def next_tuple(self):
        if self.numbers:
            number = self.numbers.pop(0)
            self.emit((number,), tup_id=number)
        elif not self.unacked_tuples:
            self.finish()
'''

BOLTS = '''
import json
import os
import time
from collections import Counter, defaultdict, namedtuple

from pystorm.bolt import BatchingBolt, Bolt, TicklessBatchingBolt
from pystorm.component import Tuple

Pair = namedtuple("Pair", "word count")


class WordCounter(Bolt):
    outputs = ["word", "count"]

    def initialize(self, conf, ctx):
        self.counts = Counter()
        self.pid = os.getpid()
        self.total = 0

    def _increment(self, word, inc_by):
        self.counts[word] += inc_by
        self.total += inc_by

    def process(self, tup):
        word = tup.values[0]
        self._increment(word, 10 if word == "dog" else 1)
        if self.total % 5 == 0:
            self.logger.info("counted [{:,}] words [pid={}]".format(self.total, self.pid))
        self.emit(Pair(word, self.counts[word]))


class BatchCounter(BatchingBolt):
    """Adds up within a batch; only the sums go on."""
    outputs = ["word", "count"]
    ticks_between_batches = 2

    def group_key(self, tup):
        return tup.values.word

    def process_batch(self, key, tups):
        assert isinstance(tups[0], Tuple)
        assert all(tup.values.word == key for tup in tups)
        self.emit([key, len(tups)])


class TimedCounter(TicklessBatchingBolt):
    outputs = ["word", "count"]
    secs_between_batches = 0.2

    def process_batch(self, key, tups):
        assert key is None
        for word, count in Counter(tup.values[0] for tup in tups).items():
            self.emit([word, count])


class Flaky(Bolt):
    """Refuses every number twice. Acks and fails by hand."""
    auto_ack = False
    auto_anchor = False
    auto_fail = False
    outputs = ["number"]

    def initialize(self, storm_conf, context):
        self.tries = defaultdict(int)

    def process(self, tup):
        if self.is_tick(tup) or self.is_heartbeat(tup):
            return
        number, = tup.values
        self.tries[number] += 1
        if self.tries[number] <= 2:
            self.fail(tup)
        else:
            self.emit([number], anchors=[tup])
            self.ack(tup)


class Book(Bolt):
    """Writes what it got to a file when it ends."""

    def __init__(self, path):
        self.path = path
        self.rows = []

    def process(self, tup):
        self.rows.append(list(tup.values))

    def cleanup(self):
        with open(self.path, "w") as book:
            json.dump(self.rows, book)


class TickBook(Book):
    """As Book, and counts ticks the way that bolts did before process_tick."""

    def initialize(self, conf, ctx):
        self.freq = conf["topology.tick.tuple.freq.secs"]
        self.ticks = 0
        assert self.storm_conf["topology.tick.tuple.freq.secs"] == self.freq

    def process_tick(self, tup):
        assert tup.stream == "__tick" and tup.component == "__system"
        self.ticks += 1
        self.report_metric("ticks", 1)
'''


@pytest.fixture
def programs(lab: Lab) -> Lab:
    lab.write("spouts.py", SPOUTS)
    lab.write("bolts.py", BOLTS)
    return lab


def totals(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for word, count in json.loads(path.read_text()):
        found[word] = found.get(word, 0) + count
    return found


def counting(
    lab: Lab, class_name: str, *, spout: str = "spouts.WordSpout", config: dict[str, Any] | None = None
) -> Path:
    book = lab.folder / "book.json"
    return lab.topology(
        "counting",
        ("words", spout),
        ("count", class_name, {}, 2),
        ("book", "bolts.Book", {"path": str(book)}),
        config=config,
        streams=[("words", "count", {"type": "FIELDS", "args": ["word"]}), ("count", "book", {"type": "SHUFFLE"})],
    )


def test_a_word_count_as_in_streamparse_s_quickstart(programs: Lab) -> None:
    run = programs.start(counting(programs, "bolts.WordCounter"))
    summary = run.wait()

    rows = json.loads((programs.folder / "book.json").read_text())
    assert max(count for word, count in rows if word == "dog") == 250
    assert max(count for word, count in rows if word == "zebra") == 25
    assert summary["components"]["words"]["acked"] == 100
    logs = run.log("count-0") + run.log("count-1")
    assert re.search(r"INFO +counted \[\d+\] words \[pid=\d+\]", logs)


@pytest.mark.parametrize("class_name", ["bolts.BatchCounter", "bolts.TimedCounter"])
@pytest.mark.parametrize("provider", ["redis", "memory"])
def test_batches_by_tick_and_by_time(programs: Lab, class_name: str, provider: str) -> None:
    config = {"topology.tick.tuple.freq.secs": 0.1, "topology.state.provider": provider}
    summary = programs.run(counting(programs, class_name, config=config))

    assert totals(programs.folder / "book.json") == dict.fromkeys(("dog", "cat", "zebra", "elephant"), 25)
    assert summary["components"]["words"]["acked"] == 100
    assert summary["components"]["count"]["emitted"] < 100


def test_a_run_does_not_wait_for_ticks_that_are_far_apart(programs: Lab) -> None:
    config = {"topology.tick.tuple.freq.secs": 3600, "topology.state.provider": "memory"}
    file = counting(programs, "bolts.BatchCounter", spout="spouts.HastySpout", config=config)
    summary = programs.run(file, deadline_s=20)

    assert totals(programs.folder / "book.json") == dict.fromkeys(("dog", "cat", "zebra", "elephant"), 25)
    assert summary["outcome"] == "finished"


def test_a_reliable_spout_and_a_bolt_that_acks_and_fails_by_hand(programs: Lab) -> None:
    book = programs.folder / "book.json"
    file = programs.topology(
        "stubborn",
        ("numbers", "spouts.StubbornSpout"),
        ("flaky", "bolts.Flaky"),
        ("book", "bolts.Book", {"path": str(book)}),
    )
    summary = programs.run(file)

    assert sorted(number for (number,) in json.loads(book.read_text())) == list(range(20))
    assert summary["components"]["flaky"]["failed"] == 40
    assert summary["components"]["numbers"] == {"emitted": 60, "acked": 20, "failed": 40, "processed": 0}


def test_ticks_come_to_the_component_that_asks_for_them(programs: Lab) -> None:
    content = {
        "name": "ticking",
        "spouts": [{"id": "words", "className": "spouts.WordSpout"}],
        "bolts": [
            {
                "id": "ticks",
                "className": "bolts.TickBook",
                "constructorArgs": {"path": str(programs.folder / "a.json")},
                "config": {"topology.tick.tuple.freq.secs": 0.05},
            },
            {"id": "none", "className": "bolts.Book", "constructorArgs": {"path": str(programs.folder / "b.json")}},
            {
                "id": "hold",
                "className": "bolts.BatchCounter",
                "config": {"topology.tick.tuple.freq.secs": 0.25},
            },
        ],
        "streams": [{"from": "words", "to": bolt, "grouping": "shuffle"} for bolt in ("ticks", "none", "hold")],
        # no barrier starts the batch
        "config": {"topology.state.provider": "memory"},
    }
    summary = programs.run(programs.write("ticking.yaml", json.dumps(content, indent=1)))

    assert summary["components"]["ticks"]["metrics"]["ticks"] >= 1
    assert "metrics" not in summary["components"]["none"]
