"""The commonest words of a stream: the spouts and bolts of topwords.yaml.

A ranking of all words needs only the rankings of the tasks that count them: a word is counted by one task, so the
overall ten are among the tens of the tasks.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pystorm import Bolt, KeyValueState, Spout, Stream, Tuple
from wordcount import LineSpout

#: How many words a ranking holds.
SIZE = 10


def ranking(counts: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """The commonest words with their counts, highest first, words with the same count in the order of the alphabet.

    >>> ranking([("ray", 2), ("light", 7), ("prism", 2)])
    [('light', 7), ('prism', 2), ('ray', 2)]
    """
    return heapq.nsmallest(SIZE, counts, key=lambda item: (-item[1], item[0]))


class PacedLineSpout(LineSpout):
    """Reads a text file at a steady pace, and from the start again at its end."""

    def __init__(self, path: str, lines_per_second: float) -> None:
        super().__init__(path)
        self.gap_s = 1 / lines_per_second
        self.due_s = time.monotonic()

    def next_tuple(self) -> None:
        now_s = time.monotonic()
        if now_s < self.due_s:
            return
        # After a pause (backpressure, SIGSTOP) the pace goes on; what was missed is not made up for.
        self.due_s = max(self.due_s, now_s - 1) + self.gap_s
        line = self.file.readline()
        if not line:
            self.file.seek(0)
            return
        self.emit([line.decode()], position=self.file.tell())


class ClockSpout(Spout):
    """Beats. A beat has no message id: if one is lost, the next one does as well."""

    outputs = [Stream(fields=["beat"], name="beats")]

    def __init__(self, every_seconds: float) -> None:
        self.every_s = every_seconds
        self.due_s = time.monotonic() + every_seconds
        self.beat = 0

    def next_tuple(self) -> None:
        if time.monotonic() >= self.due_s:
            self.due_s = time.monotonic() + self.every_s
            self.beat += 1
            self.emit([self.beat], stream="beats")


class RankingCountBolt(Bolt):
    """Counts words; at each beat, sends its ranking. One input is not FIELDS-grouped, so the state is per task."""

    outputs = [Stream(fields=["task", "ranking"], name="rankings")]
    counts = KeyValueState()

    def process(self, tup: Tuple) -> None:
        if tup.stream == "beats":
            self.emit([self.task_id, ranking(self.counts.items())], stream="rankings")
        else:
            word = tup.values.word
            self.counts[word] = self.counts.get(word, 0) + 1


class TopBolt(Bolt):
    """Keeps the last ranking of each task; at each tick, prints the ranking of all."""

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        self.rankings: dict[int, list[tuple[str, int]]] = {}

    def process(self, tup: Tuple) -> None:
        self.rankings[tup.values.task] = tup.values.ranking

    def process_tick(self, tup: Tuple) -> None:
        best = ranking((word, count) for part in self.rankings.values() for word, count in part)
        print("  ".join(f"{word} {count}" for word, count in best))
