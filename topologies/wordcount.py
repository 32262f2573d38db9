"""Word count: the spout and the bolts of wordcount.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pystorm import Bolt, KeyValueState, ReplayableSpout, Tuple

# Letters, and apostrophes between letters. Digits and the underscores that mark italics are no part of a word.
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def words(line: str) -> list[str]:
    """The words of a line, in lower case.

    >>> words("_This_ is Newton's 4th Phænomenon.")
    ['this', 'is', "newton's", 'th', 'phænomenon']
    """
    return _WORD.findall(line.lower())


class LineSpout(ReplayableSpout):
    """Reads a text file (UTF-8). A position is the byte offset just after a line."""

    outputs = ["line"]

    def __init__(self, path: str) -> None:
        self.path = path

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        self.file = open(self.path, "rb")

    def seek(self, partition: str, position: int | None) -> None:
        self.file.seek(position or 0)

    def next_tuple(self) -> None:
        line = self.file.readline()
        if not line:
            self.finish()
            return
        self.emit([line.decode()], position=self.file.tell())

    def cleanup(self) -> None:
        self.file.close()


class SplitBolt(Bolt):
    """Lines in, words out."""

    outputs = ["word"]

    def process(self, tup: Tuple) -> None:
        self.emit_many([word] for word in words(tup.values.line))


class CountBolt(Bolt):
    """Keeps how often each word came, and says so."""

    outputs = ["word", "count"]
    counts = KeyValueState()

    def process(self, tup: Tuple) -> None:
        word = tup.values.word
        self.counts[word] = count = self.counts.get(word, 0) + 1
        self.emit([word, count])
