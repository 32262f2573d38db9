"""Small spouts, bolts and other classes for the tests of topology files."""

from __future__ import annotations

from pystorm.components import Bolt, ReplayableSpout, Spout, Stream


class LineSpout(Spout):
    """Takes one argument, and another that has a default."""

    outputs = ["line"]

    def __init__(self, path, limit=10):
        self.path = path
        self.limit = limit

    def next_tuple(self):
        """Emits nothing."""


class SeekableSpout(ReplayableSpout):
    """What exactly-once asks for."""

    outputs = ["line"]

    def next_tuple(self):
        """Emits nothing."""

    def seek(self, partition, position):
        """Goes nowhere."""


class SplitBolt(Bolt):
    """Has the default stream, one with a name and a direct one."""

    outputs = [
        Stream(fields=["word", "length"]),
        Stream(fields=["reason"], name="rejected"),
        Stream(fields=["order"], name="orders", direct=True),
    ]

    def process(self, tup):
        """Emits nothing."""


class CountBolt(Bolt):
    """Reads words; declares no outputs."""

    def process(self, tup):
        """Emits nothing."""

    def set_limit(self, limit):
        """Something for configMethods to call."""


class LazyBolt(Bolt):
    """Forgot to define process."""


class MuddledBolt(Bolt):
    """Its outputs are a text, not a list."""

    outputs = "word"

    def process(self, tup):
        """Emits nothing."""


class Built(Exception):
    """Raised when somebody builds what must only be looked at."""


class NeverBuilt(Bolt):
    """Fails the test that builds it."""

    def __init__(self):
        raise Built

    def process(self, tup):
        """Emits nothing."""


class Store:
    """An object for the section `components`."""

    def __init__(self, *names, size=1):
        self.names = names
        self.size = size


class ByLength:
    """A class for grouping CUSTOM."""

    def __init__(self, shortest):
        self.shortest = shortest


NOT_A_CLASS = 3
