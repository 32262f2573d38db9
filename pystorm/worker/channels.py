"""Channels: what is in flight between a source task and a destination task, and the buffers in front of it.

Credit-based flow control. A channel starts with a few units of credit (`credits` says how many more it gets). Sending a
batch takes its cost, and the receiver gives the cost back once it has worked the batch off. A channel without credit
blocks its source task (not the worker): the executor takes no further input for that task until credit comes back. One
call of user code may emit more than the credit that is left, so a channel holds at most its window plus what one such
call emits.

A batch costs its number of tuples, or its size in half-kilobytes if that is more, so that few large values count like
many small ones. Both ends compute the cost from the frame they see.

A load-aware shuffle passes over the channels of slow tasks while they have no credit (`groupings`).

Source: Flink's credit-based flow control (docs/content/docs/ops/debugging; FLINK-7282).
"""

from __future__ import annotations

import random
from typing import Any, Protocol

from pystorm.components.tuples import values_class
from pystorm.speed import Buffer, pack_u64
from pystorm.topology.plan import StreamInfo
from pystorm.worker import wire

#: log2 of the bytes that cost one unit of credit.
BYTES_PER_UNIT_BITS = 9


_ZERO_ID = bytes(8)


def frame_cost(count: int, frame_bytes: int) -> int:
    """Units of credit that a data frame takes.

    >>> frame_cost(100, 2000), frame_cost(1, 50_000_000)
    (100, 97656)
    """
    return max(count, frame_bytes >> BYTES_PER_UNIT_BITS)


class InStream:
    """A stream as its receiver needs it."""

    __slots__ = ("component", "fields", "index", "name", "values_class", "width")

    def __init__(self, info: StreamInfo) -> None:
        self.index = info.index
        self.component = info.component
        self.name = info.name
        self.fields = info.fields
        self.width = len(info.fields)
        self.values_class = values_class(info.name, info.fields)


class InBatch:
    """A batch on its way into a task. `frame` is decoded only when the task gets to it; a local batch has none."""

    __slots__ = ("cost", "count", "edges", "frame", "kind", "received_s", "roots", "rows", "source", "stream")

    def __init__(
        self,
        source: int,
        stream: int,
        count: int,
        cost: int,
        *,
        kind: int = 0,
        frame: bytes | None = None,
        rows: list[Any] | None = None,
        roots: list[Any] | None = None,
        edges: bytes | None = None,
    ) -> None:
        self.source = source
        self.stream = stream
        self.count = count
        self.cost = cost
        self.kind = kind
        self.frame = frame
        self.rows = rows
        self.roots = roots
        self.edges = edges
        #: when it was first seen waiting (set by whoever looks for batches that wait long)
        self.received_s = 0.0

    def decode(self) -> None:
        """Fill rows, roots and edges from the frame.

        Raises:
            WireError: the frame is damaged.
        """
        if self.frame is None:
            return
        view = memoryview(self.frame)
        self.roots, self.edges, at = wire.unpack_anchors(self.kind, view, self.count)
        self.rows = wire.unpack_rows(view[at:], self.count)
        self.frame = None

    def tree_roots(self, start: int = 0) -> list[int]:
        """Every root that the batch's tuples, from number `start` on, belong to."""
        self.decode()
        found: list[int] = []
        for root in (self.roots or [])[start:]:
            if isinstance(root, tuple):
                found.extend(root)
            elif root is not None:
                found.append(root)
        return found


class InBarrier:
    """A checkpoint barrier on its way into a task."""

    __slots__ = ("epoch", "source")

    def __init__(self, source: int, epoch: int) -> None:
        self.source = source
        self.epoch = epoch


class Transport(Protocol):
    """How batches leave a task: to another worker as a frame, or to a task of the same worker as they are."""

    generation: int

    def send_frame(self, worker: int, frame: bytes) -> None:
        """Send a frame to another worker. Never blocks."""

    def deliver(self, task: int, item: InBatch | InBarrier) -> None:
        """Hand something to a task of this worker."""


class Channel:
    """Credit of one (source task, destination task) pair. Flushed through the outbox that owns it."""

    __slots__ = ("buffers", "credit", "destination", "is_local", "is_stiff", "pace", "shuffles", "source", "worker")

    def __init__(self, source: int, destination: int, worker: int, is_local: bool, credit: int) -> None:
        self.source = source
        self.destination = destination
        self.worker = worker
        self.is_local = is_local
        self.credit = credit
        #: what leaves through it
        self.buffers: list[OutBuffer] = []
        #: what a tuple costs the receiver, as it reports it; 0: nobody knows yet
        self.pace = 0
        #: whether something goes through it that cannot go elsewhere, so that its source stops when there is no credit
        self.is_stiff = False
        #: load-aware shuffles that use it
        self.shuffles: list[Any] = []


class OutBuffer(Buffer):
    """Tuples of one stream waiting to leave through one channel.

    `rows` holds them; `roots` holds per row a root, a tuple of roots, or None, and is empty in an untracked topology.
    """

    __slots__ = ("channel", "fields", "sent", "stream", "stream_name")

    def __init__(self, channel: Channel, stream: StreamInfo) -> None:
        super().__init__()
        self.channel = channel
        self.stream = stream.index
        self.stream_name = stream.name
        self.fields = stream.fields
        #: tuples that have left
        self.sent = 0


class EdgeIds:
    """Random 64-bit edge ids, never 0.

    Mersenne Twister, seeded by the operating system in each process: the ids need to be unlikely to cancel by accident,
    not to be unguessable.
    """

    __slots__ = ("_random",)

    def __init__(self) -> None:
        self._random = random.Random()

    def take(self, count: int) -> bytes:
        """`count` ids, as the wire carries them."""
        while True:
            packed = self._random.randbytes(8 * count)
            if _ZERO_ID not in packed:  # also finds zeros across two ids: too strict once in a long while is fine
                return packed


def pack_batch(
    generation: int, buffer: OutBuffer, rows: list[Any], roots: list[Any], edges: bytes | None
) -> tuple[int, bytes]:
    """A data frame for the rows of a buffer; returns (kind, frame).

    Raises:
        TypeError, ValueError, OverflowError: a value cannot be packed.
    """
    if rows[0].__class__ is tuple and len(buffer.fields) != 1:
        rows = [list(row) for row in rows]  # a row is no value: only those inside keep their tuple-ness
    body = wire.pack_rows(rows)
    channel = buffer.channel
    if edges is None:
        kind, anchors = wire.PLAIN, b""
    else:
        try:
            kind, anchors = wire.SINGLE, pack_u64(roots)
        except TypeError:  # None or a tuple among the roots
            kind, anchors = wire.MULTI, wire.pack_multi_anchors(roots)
        anchors += edges
    header = wire.pack_header(
        wire.VERSION, kind, generation, channel.source, channel.destination, buffer.stream, len(rows)
    )
    return kind, b"".join((header, anchors, body))
