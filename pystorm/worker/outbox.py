"""A task's outbox: its channels, the buffers in front of them, and how tuples are routed into the buffers.

An emit only appends to a buffer: the row, and the root(s) of the tree(s) it belongs to. Everything else is done per
batch when the buffer is flushed: edge ids are drawn for the whole batch, XORed into the trees by `add_edges`, and the
rows are packed with one call. A buffer is flushed when it is full, and all of them when the worker's input runs dry.

Flushing a buffer reports its edge ids to `add_edges` before the batch leaves, and the owner sends acks only after all
buffers were flushed: an ack never reaches the ledger before the edge ids of the tuples that were anchored to it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pystorm.components.stream import DEAD_LETTER_STREAM, DEFAULT_STREAM
from pystorm.errors import ComponentError, InternalError
from pystorm.speed import CountEmit, FieldEmit
from pystorm.topology.model import Edge, GroupingType
from pystorm.topology.plan import Plan, StreamInfo, Task
from pystorm.values import PACK_ERRORS
from pystorm.worker import wire
from pystorm.worker.channels import Channel, EdgeIds, InBarrier, InBatch, OutBuffer, Transport, frame_cost, pack_batch
from pystorm.worker.credits import initial_window
from pystorm.worker.groupings import LoadAwarePick, Pick, build_pick

#: (roots, packed edge ids) of tuples that are about to leave
AddEdges = Callable[[list[Any], bytes], None]


class MessageTooLarge(ValueError):
    """One tuple is larger than a message may be."""


class StreamRoutes:
    """Everything about one output stream of a task: how wide its tuples are and where they go."""

    __slots__ = ("count", "edges", "info", "is_flat", "picks", "width")

    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        self.width = len(info.fields)
        self.is_flat = self.width == 1
        #: one per subscribed edge
        self.picks: list[Pick] = []
        self.edges: list[Edge] = []
        #: emits through `Outbox.place`
        self.count = 0


class Outbox:
    """Owned by one executor; used by one thread."""

    def __init__(
        self,
        plan: Plan,
        task: Task,
        transport: Transport,
        edge_ids: EdgeIds,
        *,
        is_tracked: bool,
        batch_size: int,
        window: int,
        add_edges: AddEdges,
        on_unpackable: Callable[[OutBuffer, Any, Any, Exception], None],
        max_bytes: int = sys.maxsize,
        build_custom: Callable[[Edge], Any],
    ) -> None:
        self.task = task
        self.is_tracked = is_tracked
        self.batch_size = batch_size
        self.channels: dict[int, Channel] = {}
        self.buffers: list[OutBuffer] = []
        self.streams: dict[str, StreamRoutes] = {}
        #: channels without credit, and load-aware shuffles with one that they cannot pass over; while there are any the
        #: executor takes no input
        self.blocked: set[Channel | LoadAwarePick] = set()
        self.transferred = 0
        #: the bolt's emit function, if it is one that bypasses `place`
        self.fast_emit: FieldEmit | CountEmit | None = None
        self._emitted_before = 0
        self._transport = transport
        self._edge_ids = edge_ids
        self._window = window
        self._add_edges = add_edges
        self._on_unpackable = on_unpackable
        self._max_bytes = max_bytes
        self._plan = plan
        for info in plan.streams:
            if info.component == task.component:
                self._add_stream(info, build_custom)

    def _add_stream(self, info: StreamInfo, build_custom: Callable[[Edge], Any]) -> None:
        routes = self.streams[info.name] = StreamRoutes(info)
        for edge in self._plan.topology.outputs_of(self.task.component):
            if edge.stream != info.name:
                continue
            buffers = [self._buffer_to(target, info) for target in self._plan.tasks_of[edge.target]]
            local = [b for b in buffers if b.channel.is_local]
            custom = build_custom(edge) if edge.grouping.type is GroupingType.CUSTOM else None
            pick = build_pick(edge, info, buffers, local, self._plan, self.task, custom)
            routes.edges.append(edge)
            routes.picks.append(pick)
            for buffer in buffers:
                if isinstance(pick, LoadAwarePick) and buffer in pick.targets:
                    buffer.channel.shuffles.append(pick)
                else:
                    buffer.channel.is_stiff = True

    def _buffer_to(self, target: Task, info: StreamInfo) -> OutBuffer:
        channel = self.channels.get(target.id)
        if channel is None:
            is_local = target.worker == self.task.worker
            channel = Channel(self.task.id, target.id, target.worker, is_local, initial_window(self._window))
            self.channels[target.id] = channel
        buffer = OutBuffer(channel, info)
        buffer.limit = sys.maxsize  # what `initialize` emits waits for `open`: nobody listens yet
        channel.buffers.append(buffer)
        self.buffers.append(buffer)
        return buffer

    def open(self) -> None:
        """The readers are there now, so buffers may be sent when they are full."""
        for channel in self.channels.values():
            self._set_credit(channel, channel.credit)

    # -- emitting ----------------------------------------------------------------------------------------------

    def routes_of(self, stream: str | None) -> StreamRoutes:
        """The routes of a stream by name.

        Raises:
            ComponentError: the component declares no such stream.
        """
        routes = self.streams.get(stream or DEFAULT_STREAM)
        if routes is None:
            declared = sorted(set(self.streams) - {DEAD_LETTER_STREAM}) or ["none"]
            raise ComponentError(
                f"component {self.task.component!r} emits to stream {stream or DEFAULT_STREAM!r}, which its `outputs` "
                f"does not declare (declared: {', '.join(declared)})"
            )
        return routes

    def check_width(self, routes: StreamRoutes, values: Any) -> None:
        """Complain about values that do not fit the stream's fields.

        Raises:
            ComponentError: always, unless the values fit.
        """
        if isinstance(values, (list, tuple)) and len(values) == routes.width:
            return
        shown = repr(values)
        shown = shown if len(shown) < 200 else shown[:200] + "..."
        raise ComponentError(
            f"component {self.task.component!r} emitted {shown} to stream {routes.info.name!r}: expected a list of "
            f"{routes.width} values for the fields {list(routes.info.fields)}"
        )

    def place(
        self, values: Sequence[Any], stream: str | None, roots: Any, direct_task: int | None
    ) -> tuple[OutBuffer, ...]:
        """Put a tuple into the buffers of every task that it goes to; returns the buffers.

        Args:
            roots: a root, a tuple of roots, or None.

        Raises:
            ComponentError: unknown stream, wrong number of values, wrong use of a direct stream.
        """
        routes = self.routes_of(stream)
        self.check_width(routes, values)
        if routes.info.direct != (direct_task is not None):
            self._complain_direct(routes, direct_task)
        routes.count += 1
        row = values[0] if routes.is_flat else values
        if direct_task is not None:
            targets = self._direct_buffers(routes, direct_task)
        else:
            targets = tuple(buffer for pick in routes.picks for buffer in pick(values))
        for buffer in targets:
            buffer.rows.append(row)
            if self.is_tracked:
                buffer.roots.append(roots)
            if len(buffer.rows) >= buffer.limit:
                self.flush_buffer(buffer)
        return targets

    def _complain_direct(self, routes: StreamRoutes, direct_task: int | None) -> None:
        name, component = routes.info.name, self.task.component
        if direct_task is None:
            raise ComponentError(f"component {component!r}: stream {name!r} is direct, emit needs direct_task")
        raise ComponentError(
            f"component {component!r}: stream {name!r} is not direct; declare it with Stream(..., direct=True) or emit "
            "without direct_task"
        )

    def _direct_buffers(self, routes: StreamRoutes, direct_task: int) -> tuple[OutBuffer, ...]:
        found = tuple(b for b in self.buffers if b.channel.destination == direct_task and b.stream == routes.info.index)
        if not found:
            raise ComponentError(
                f"component {self.task.component!r}: task {direct_task} does not read stream {routes.info.name!r}"
            )
        return found

    # -- flushing ----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send everything that waits in the buffers."""
        for buffer in self.buffers:
            if buffer.rows:
                self.flush_buffer(buffer)

    def flush_buffer(self, buffer: OutBuffer) -> None:
        """Send what waits in one buffer."""
        rows, roots = buffer.rows, buffer.roots
        buffer.sent += len(rows)
        buffer.rows = []
        buffer.roots = []
        if not buffer.channel.is_local:
            self._send(buffer, rows, roots)
            return
        edges: bytes | None = None
        if roots:
            edges = self._edge_ids.take(len(rows))
            self._add_edges(roots, edges)
        channel = buffer.channel
        batch = InBatch(
            channel.source, buffer.stream, len(rows), len(rows), rows=rows, roots=roots or None, edges=edges
        )
        self._spend(channel, len(rows), len(rows))
        self._transport.deliver(channel.destination, batch)

    def _send(self, buffer: OutBuffer, rows: list[Any], roots: list[Any]) -> None:
        edges = self._edge_ids.take(len(rows)) if roots else None
        try:
            _, frame = pack_batch(self._transport.generation, buffer, rows, roots, edges)
        except PACK_ERRORS:
            self._send_packable(buffer, rows, roots)
            return
        if len(frame) > self._max_bytes:
            self._send_parts(buffer, rows, roots, len(frame))
            return
        if edges is not None:
            self._add_edges(roots, edges)
        self._spend(buffer.channel, len(rows), frame_cost(len(rows), len(frame)))
        self._transport.send_frame(buffer.channel.worker, frame)

    def _send_parts(self, buffer: OutBuffer, rows: list[Any], roots: list[Any], frame_bytes: int) -> None:
        """Send a batch that is too large as several; a single tuple that is too large fails."""
        if len(rows) > 1:
            half = len(rows) // 2
            self._send(buffer, rows[:half], roots[:half])
            self._send(buffer, rows[half:], roots[half:])
            return
        error = MessageTooLarge(f"{frame_bytes} bytes, and topology.message.max.bytes is {self._max_bytes}")
        self._on_unpackable(buffer, rows[0], roots[0] if roots else None, error)

    def _send_packable(self, buffer: OutBuffer, rows: list[Any], roots: list[Any]) -> None:
        """Sort out the rows that cannot be packed, and send the others."""
        good_rows: list[Any] = []
        good_roots: list[Any] = []
        for position, row in enumerate(rows):
            root = roots[position] if roots else None
            try:
                wire.pack_rows([row])
            except PACK_ERRORS as error:
                self._on_unpackable(buffer, row, root, error)
            else:
                good_rows.append(row)
                if roots:
                    good_roots.append(root)
        if len(good_rows) == len(rows):
            raise InternalError(f"a batch of {len(rows)} rows cannot be packed, although each of them can")
        if good_rows:
            self._send(buffer, good_rows, good_roots)

    def _spend(self, channel: Channel, count: int, cost: int) -> None:
        self.transferred += count
        self._set_credit(channel, channel.credit - cost)

    def add_credit(self, destination: int, units: int, pace: int = 0) -> None:
        """The receiver has worked off `units`, and a tuple costs it `pace` (see `credits.Pace`)."""
        channel = self.channels[destination]
        channel.pace = pace or channel.pace
        self._set_credit(channel, channel.credit + units)

    def _set_credit(self, channel: Channel, credit: int) -> None:
        channel.credit = credit
        # a buffer is full when it holds what the credit allows, so that the task stops there
        limit = max(1, min(self.batch_size, credit))
        for buffer in channel.buffers:
            buffer.limit = limit
        if channel.is_stiff:
            if credit > 0:
                self.blocked.discard(channel)
            else:
                self.blocked.add(channel)
        for pick in channel.shuffles:
            pick.on_credit(credit, self.blocked)

    def send_barrier(self, epoch: int) -> None:
        """Flush, then put barrier `epoch` behind it in every channel."""
        self.flush()
        for channel in self.channels.values():
            if channel.is_local:
                self._transport.deliver(channel.destination, InBarrier(channel.source, epoch))
                continue
            frame = wire.pack_header(
                wire.VERSION, wire.BARRIER, self._transport.generation, channel.source, channel.destination, 0, epoch
            )
            self._transport.send_frame(channel.worker, frame)

    def retire_fast_emit(self) -> None:
        """Another emit function takes over."""
        if self.fast_emit is not None:
            self._emitted_before += self.fast_emit.count
            self.fast_emit = None

    def emitted(self) -> int:
        """How often the task has emitted, on all streams."""
        fast = self.fast_emit.count if self.fast_emit is not None else 0
        return self._emitted_before + fast + sum(routes.count for routes in self.streams.values())


def stream_fields(plan: Plan, component: str) -> Mapping[str, tuple[str, ...]]:
    """Fields of every stream of a component, by stream name."""
    return {info.name: info.fields for info in plan.streams if info.component == component}
