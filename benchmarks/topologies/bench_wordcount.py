"""Word count for bin/bench: written as the documentation tells users to, with the clock's two ends noted.

The clock starts at the first `next_tuple` and ends at the spout's `cleanup`: all trees complete, last checkpoint
committed, run ending. That is a little more than what the floor's clock covers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pystorm import Bolt, KeyValueState, ReplayableSpout, Tuple


class SentenceSpout(ReplayableSpout):
    """The lines of a file; a position is the byte offset just after a line."""

    outputs = ["sentence"]

    def __init__(self, path: str, results: str) -> None:
        self.path, self.results = path, results

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        self.file = open(self.path, "rb")  # noqa: SIM115 (as long as the task)
        self.first_ns = 0

    def seek(self, partition: str, position: Any) -> None:
        self.position = position or 0
        self.file.seek(self.position)

    def next_tuple(self) -> None:
        if not self.first_ns:
            self.first_ns = time.monotonic_ns()
        line = self.file.readline()
        if not line:
            self.finish()
            return
        self.position += len(line)
        self.emit([line.decode()], position=self.position)

    def cleanup(self) -> None:
        self.file.close()
        clock = {"first_ns": self.first_ns, "ended_ns": time.monotonic_ns()}
        Path(self.results, "clock.json").write_text(json.dumps(clock))


class SplitBolt(Bolt):
    """Words of a sentence, sent with one call."""

    outputs = ["word"]

    def process(self, tup: Tuple) -> None:
        self.emit_many([[word] for word in tup.values.sentence.split()])


class SplitOneByOneBolt(Bolt):
    """Words of a sentence, sent one by one: what a Storm user writes first."""

    outputs = ["word"]

    def process(self, tup: Tuple) -> None:
        for word in tup.values.sentence.split():
            self.emit([word])


class CountBolt(Bolt):
    """How often each word came."""

    counts: KeyValueState[str, int] = KeyValueState()

    def __init__(self, results: str) -> None:
        self.results = results

    def process(self, tup: Tuple) -> None:
        word = tup.values.word
        self.counts[word] = self.counts.get(word, 0) + 1

    def cleanup(self) -> None:
        Path(self.results, "counts.json").write_text(json.dumps(dict(self.counts.items())))
