"""The emit functions that the worker attaches to spouts and bolts.

Hot path: `emit` of a bolt runs once per tuple, so it is a closure over what it needs, in a variant for the commonest
case (one FIELDS subscriber on one column) and one for everything else on the default stream; all other calls go through
`Outbox.place`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pystorm.components.stream import DEFAULT_STREAM
from pystorm.errors import ComponentError
from pystorm.worker.groupings import FieldsPick

if TYPE_CHECKING:
    from pystorm.worker.bolt_executor import BoltExecutor

Emit = Callable[..., Any]


def build_bolt_emit(executor: BoltExecutor) -> Emit:
    """The emit function of a bolt's task."""
    general = _general_emit(executor)
    routes = executor.outbox.streams.get(DEFAULT_STREAM)
    has_plain_anchor = executor.auto_ack and executor.bolt.auto_anchor
    if routes is None or routes.info.direct or not (has_plain_anchor or not executor.outbox.is_tracked):
        return general
    if not routes.picks:
        return _emit_to_nobody(executor, general)
    if len(routes.picks) == 1 and isinstance(routes.picks[0], FieldsPick) and routes.picks[0].column is not None:
        return _emit_by_field(executor, routes.picks[0], routes.picks[0].column, general)
    return general


def _general_emit(executor: BoltExecutor) -> Emit:
    outbox = executor.outbox
    current = executor.current
    owner = threading.get_ident()

    def emit(
        values: Any,
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> list[int] | None:
        if threading.get_ident() != owner:
            raise ComponentError(
                f"component {executor.task.component!r} emitted from another thread; hand results over to process or "
                "process_tick and emit there"
            )
        if anchors is None:
            roots = executor.current_roots() if current.tup is not None and executor.bolt.auto_anchor else None
        else:
            roots = executor.roots_of(anchors)
        targets = outbox.place(values, stream, roots, direct_task)
        return [buffer.channel.destination for buffer in targets] if need_task_ids else None

    return emit


def _emit_to_nobody(executor: BoltExecutor, general: Emit) -> Emit:
    """Nobody reads the default stream: check the values and count."""
    outbox = executor.outbox
    routes = outbox.streams[DEFAULT_STREAM]
    width = routes.width
    bump = routes.count.__next__

    def emit(
        values: Any,
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> list[int] | None:
        if stream is not None or anchors is not None or direct_task is not None or need_task_ids:
            result: list[int] | None = general(values, stream, anchors, direct_task, need_task_ids)
            return result
        if len(values) != width or values.__class__ is str:
            outbox.check_width(routes, values)
        bump()
        return None

    return emit


def _emit_by_field(executor: BoltExecutor, pick: FieldsPick, column: int, general: Emit) -> Emit:
    """One bolt reads the default stream, FIELDS-grouped on one column."""
    outbox = executor.outbox
    routes = outbox.streams[DEFAULT_STREAM]
    width, is_flat, is_tracked = routes.width, routes.is_flat, outbox.is_tracked
    bump = routes.count.__next__
    cache = pick.cache
    current = executor.current
    limit = outbox.batch_size
    flush_buffer = outbox.flush_buffer

    def emit(
        values: Any,
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> list[int] | None:
        if stream is not None or anchors is not None or direct_task is not None or need_task_ids:
            result: list[int] | None = general(values, stream, anchors, direct_task, need_task_ids)
            return result
        if len(values) != width or values.__class__ is str:
            outbox.check_width(routes, values)
        try:
            buffer = cache[values[column]]
        except (KeyError, TypeError):
            outbox.check_width(routes, values)
            buffer = pick.find(values)
        bump()
        rows = buffer.rows
        rows.append(values[0] if is_flat else values)
        if is_tracked:
            buffer.roots.append(current.root)
        if len(rows) >= limit:
            flush_buffer(buffer)
        return None

    return emit
