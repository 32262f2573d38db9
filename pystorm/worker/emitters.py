"""The emit functions that the worker attaches to spouts and bolts.

Hot path: `emit` of a bolt runs once per tuple. The commonest cases (one FIELDS reader on one column, no reader) have
functions of their own in `speed`; all other calls go through `Outbox.place`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from pystorm.components.stream import DEFAULT_STREAM
from pystorm.errors import ComponentError
from pystorm.speed import CountEmit, FieldEmit, SourceEmit
from pystorm.worker.groupings import FieldsPick, ShufflePick

if TYPE_CHECKING:
    from pystorm.worker.bolt_executor import BoltExecutor
    from pystorm.worker.ledger import AckLedger
    from pystorm.worker.outbox import Outbox

Emit = Callable[..., Any]


def build_bolt_emit(executor: BoltExecutor) -> Emit:
    """The emit function of a bolt's task."""
    general = _general_emit(executor)
    executor.outbox.retire_fast_emit()
    routes = executor.outbox.streams.get(DEFAULT_STREAM)
    has_plain_anchor = executor.auto_ack and executor.bolt.auto_anchor
    if routes is None or routes.info.direct or not (has_plain_anchor or not executor.outbox.is_tracked):
        return general
    fast: FieldEmit | CountEmit | None = None
    if not routes.picks:
        fast = _emit_to_nobody(executor, general)
    elif len(routes.picks) == 1 and isinstance(routes.picks[0], FieldsPick) and routes.picks[0].column is not None:
        fast = _emit_by_field(executor, routes.picks[0], routes.picks[0].column, general)
    if fast is None:
        return general
    executor.outbox.fast_emit = fast
    emit: Emit = fast.emit
    return emit


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


def _emit_to_nobody(executor: BoltExecutor, general: Emit) -> CountEmit:
    """Nobody reads the default stream."""
    routes = executor.outbox.streams[DEFAULT_STREAM]
    return CountEmit(general, partial(executor.outbox.check_width, routes), routes.width)


def _emit_by_field(executor: BoltExecutor, pick: FieldsPick, column: int, general: Emit) -> FieldEmit:
    """One bolt reads the default stream, FIELDS-grouped on one column."""
    outbox = executor.outbox
    routes = outbox.streams[DEFAULT_STREAM]
    return FieldEmit(
        general,
        partial(outbox.check_width, routes),
        pick.find,
        pick.cache,
        outbox.flush_buffer,
        executor.current,
        routes.width,
        column,
        outbox.is_tracked,
    )


def build_source_emit(
    general: Emit, outbox: Outbox, ledger: AckLedger, positions: dict[str, Any], *, keeps_messages: bool
) -> SourceEmit | None:
    """The fast emit of a replayable spout; None unless one bolt reads its default stream, in turns."""
    routes = outbox.streams.get(DEFAULT_STREAM)
    if routes is None or routes.info.direct or len(routes.picks) != 1:
        return None
    pick = routes.picks[0]
    if not isinstance(pick, ShufflePick):
        return None
    return SourceEmit(
        general,
        positions,
        ledger.values,
        ledger.messages,
        pick.ring,
        outbox.flush_buffer,
        routes.width,
        ledger.counter,
        outbox.is_tracked,
        keeps_messages,
        pick.turn,
    )
