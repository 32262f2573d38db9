"""The spout that takes the place of another one in a test, and sends what the test gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pystorm.components import ReplayableSpout
from pystorm.components.stream import DEFAULT_STREAM, Stream, StreamDef, streams_of

Row = list[Any]
#: Rows for the default stream, or for several streams by name.
Rows = Iterable[Sequence[Any]] | Mapping[str, Iterable[Sequence[Any]]]


class Feed:
    """What a test gives to one spout. It outlives the spout, as the source behind a real one does."""

    def __init__(self, rows: Rows = ()) -> None:
        #: (stream, values)
        self.rows: list[tuple[str, Row]] = []
        #: no more is to come
        self.is_closed = False
        by_stream = rows if isinstance(rows, Mapping) else {DEFAULT_STREAM: rows}
        for stream, listed in by_stream.items():
            self.add(listed, stream)

    def add(self, rows: Iterable[Sequence[Any]], stream: str | None = None) -> None:
        """More rows; a row is a list of values."""
        listed = list(rows)
        wrong = [row for row in listed if not isinstance(row, (list, tuple))]
        if wrong:
            raise TypeError(f"a row must be a list of values, got {wrong[0]!r}; write [{wrong[0]!r}]")
        self.rows += [(stream or DEFAULT_STREAM, list(row)) for row in listed]

    def spout_class(self, streams: Mapping[str, StreamDef]) -> type[FeedSpout]:
        """A spout class with these output streams that sends the rows."""
        outputs = [Stream(found.fields, found.name, found.direct) for found in streams.values()]
        return type("FeedSpout", (FeedSpout,), {"feed": self, "outputs": outputs})

    @classmethod
    def in_place_of(cls, spout: type, rows: Rows) -> tuple[Feed, type[FeedSpout]]:
        """A feed, and the class that sends it on the streams of `spout`."""
        feed = cls(rows)
        return feed, feed.spout_class(streams_of(spout))


class FedSpout:
    """A spout of the test kit: it knows whether it has something to do."""

    has_more: bool
    #: whether this task sends anything at all
    is_used: bool = True


class FeedSpout(FedSpout, ReplayableSpout):
    """Sends the rows of its feed. A position is how many it has sent."""

    feed: Feed
    next = -1  # until `seek`: with several tasks, only one has the partition

    def seek(self, partition: str, position: int | None) -> None:
        self.next = position or 0

    @property
    def is_used(self) -> bool:  # type: ignore[override]
        return self.next >= 0

    @property
    def has_more(self) -> bool:  # type: ignore[override]
        return self.next < len(self.feed.rows) or self.feed.is_closed

    def next_tuple(self) -> None:
        rows = self.feed.rows
        if self.next < len(rows):
            stream, values = rows[self.next]
            self.next += 1
            self.emit(values, position=self.next, stream=None if stream == DEFAULT_STREAM else stream)
        elif self.feed.is_closed:
            self.finish()
