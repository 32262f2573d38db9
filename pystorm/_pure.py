"""What runs once per tuple, in Python. `_speed` is the same in Cython; `speed` picks one of the two.

The functions work on whole batches: lists of rows and roots, edge ids packed as little-endian 64-bit numbers.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice, repeat
from threading import get_ident
from typing import Any

IS_COMPILED = False
#: raised with every change of what is here, in both modules, so that a compiled one that is left over is not used
API = 8

_LITTLE = sys.byteorder == "little"
#: position of an emit that names none; None is a position
_MISSING: Any = object()


class Current:
    """What a task is processing: the tuple (state needs its key) and its tree or trees (emit needs them)."""

    __slots__ = ("root", "tup")

    def __init__(self) -> None:
        self.tup: Any = None
        self.root: Any = None


_set = dict.__setitem__
#: True and 1 are one dictionary key but two keys of the grouping, so only these types may stand for the tuple
_PLAIN_KEYS = frozenset({str, int, bytes})


class DirtyDict(dict[Any, Any]):
    """A dict that notes, for each key that is set, the tuple that was being processed.

    It notes None where the tuple says nothing that the key does not: if the state does not belong to key groups, and if
    the key is the very object that the tuple was grouped by. Keeping a tuple per key alive costs more than noting it.
    """

    __slots__ = ("_column", "_current", "_dirty", "_keyed", "_name")

    _current: Any
    _dirty: dict[Any, Any]
    _keyed: bool
    #: position of the grouping field among a tuple's values, where all inputs are grouped by the same single one; or -1
    _column: int
    _name: str

    def __setitem__(self, key: Any, value: Any) -> None:
        tup = self._current.tup
        if not self._keyed:
            tup = None
        elif tup is None:
            self._refuse()
        elif self._column >= 0 and type(key) in _PLAIN_KEYS and tup[4][self._column] is key:
            tup = None
        _set(self, key, value)
        self._dirty[key] = tup

    # here, beside __setitem__: a type whose Python part defines either of the two is slow at both
    def __delitem__(self, key: Any) -> None:
        tup = self._writing()
        super().__delitem__(key)
        self._dirty[key] = tup

    def _writing(self) -> Any:
        raise NotImplementedError

    def _refuse(self) -> None:
        raise NotImplementedError


def make_tuples(
    tuple_class: type,
    values_class: type,
    width: int,
    rows: list[Any],
    first_id: int,
    component: str,
    stream: str,
    source: int,
) -> list[Any]:
    """One tuple object per row. Rows of a stream with one field are its values themselves.

    Raises:
        ValueError: a row has another number of values than the stream has fields.
    """
    if width != 1:
        for row in rows:
            if len(row) != width:
                raise ValueError(f"a row of {len(row)} values for {width} fields")
    values = map(partial(tuple.__new__, values_class), zip(rows) if width == 1 else rows)
    numbers = range(first_id, first_id + len(rows))
    fields = zip(numbers, repeat(component), repeat(stream), repeat(source), values)
    return list(map(partial(tuple.__new__, tuple_class), fields))


class BatchRunner:
    """Calls `process` with one tuple of a batch after the other.

    `position` is the number of rows begun; if `process` raises, `run` can be called again and goes on after the
    row that raised. `current` shows the tuple, and its root if the batch has roots, while `process` runs and after it
    raised.

    Args:
        blocked: channels without credit; while there are any, no further row is begun.
    """

    __slots__ = ("_blocked", "_current", "_make", "_process", "_roots", "_rows", "_tuple_class", "position")

    def __init__(self, process: Callable[[Any], Any], current: Current, tuple_class: type, blocked: set[Any]) -> None:
        self._blocked = blocked
        self._process = process
        self._current = current
        self._tuple_class = tuple_class
        self._rows: list[Any] = []
        self._roots: list[Any] | None = None
        self._make: Callable[[int], Any] = int
        self.position = 0

    def begin(
        self,
        values_class: type,
        width: int,
        rows: list[Any],
        roots: list[Any] | None,
        first_id: int,
        component: str,
        stream: str,
        source: int,
    ) -> None:
        """Take a batch on; arguments as in `make_tuples`."""
        self._rows = make_tuples(self._tuple_class, values_class, width, rows, first_id, component, stream, source)
        self._roots = roots
        self.position = 0

    def end(self) -> None:
        """Let the batch go."""
        self._rows = []
        self._roots = None

    def run(self, end: int, clock: Callable[[], float] | None = None, deadline_s: float = 0.0) -> None:
        """Process rows until `position` is `end`, or a channel is blocked, or the clock is past the deadline.

        The clock is read after every eighth row only: that costs nothing, and a spell of slow rows still ends soon.
        """
        current, process, blocked = self._current, self._process, self._blocked
        start = self.position
        tuples = islice(self._rows, start, end)
        roots = islice(self._roots, start, end) if self._roots is not None else repeat(None)
        for tup, root in zip(tuples, roots):
            if blocked:
                break
            self.position += 1
            current.tup = tup
            current.root = root
            process(tup)
            if clock is not None and not (self.position - start) & 7 and clock() > deadline_s:
                break
        current.tup = current.root = None


def unpack_u64(data: bytes | memoryview) -> list[int]:
    """Packed 64-bit numbers as a list.

    Raises:
        ValueError: the length is no multiple of 8.
    """
    numbers = array("Q")
    numbers.frombytes(data)
    if not _LITTLE:
        numbers.byteswap()
    return numbers.tolist()


def pack_u64(numbers: list[int]) -> bytes:
    """64-bit numbers as bytes.

    Raises:
        TypeError: something else is among them.
    """
    packed = array("Q", numbers)
    if not _LITTLE:
        packed.byteswap()
    return packed.tobytes()


def xor_edges(table: dict[Any, int], roots: list[Any], edges: bytes, start: int, end: int) -> None:
    """XOR the edge ids `start` to `end` into the table under their roots.

    Raises:
        ValueError: there are fewer of them.
    """
    if len(edges) < 8 * end or len(roots) < end:
        raise ValueError("fewer edge ids or roots than tuples")
    get = table.get
    for root, edge in zip(islice(roots, start, end), unpack_u64(edges[8 * start : 8 * end])):
        table[root] = get(root, 0) ^ edge


def xor_open(values: dict[int, int], roots: list[Any], edges: bytes) -> None:
    """XOR edge ids into the table under those of their roots that it has.

    Raises:
        ValueError: there are fewer edge ids than roots.
    """
    if len(edges) < 8 * len(roots):
        raise ValueError("fewer edge ids than roots")
    for root, edge in zip(roots, unpack_u64(edges)):
        if root in values:
            values[root] ^= edge


def seal_trees(values: dict[int, int], unsealed: list[int]) -> list[int]:
    """Take the guards (the roots themselves) out of new trees and empty the list; returns complete roots."""
    complete = []
    for root in unsealed:
        value = values.get(root)
        if value is None:
            continue
        value ^= root
        values[root] = value
        if not value:
            complete.append(root)
    unsealed.clear()
    return complete


class RootCounter:
    """The last root id in use."""

    __slots__ = ("root",)

    def __init__(self, root: int) -> None:
        self.root = root


class Turn:
    """Whose turn it is: a position in a list of targets, or just past its end."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = 0


class SourceEmit:
    """`emit` of a replayable spout whose default stream has one reader, SHUFFLE-grouped.

    Opens the tree in the ledger's tables itself, without a guard: the tuple goes to one task, so no ack can come before
    the only edge id that the spout adds. See `AckLedger.open`.

    Args:
        general: takes every call that is not a plain emit to the default stream, and every wrong one, such as one
            from another thread than that which made this object.
        positions: partition -> position; its keys are the task's partitions.
        values, messages: the ledger's tables.
        targets: buffers, taken in turn; a load-aware shuffle changes the list's content, which is never empty.
        counter: where root ids come from.
        keeps_messages: whether what was emitted is needed again if its tree fails.
        turn: whose turn it is among the targets.
    """

    def __init__(
        self,
        general: Callable[..., Any],
        positions: dict[str, Any],
        values: dict[int, int],
        messages: dict[int, Any],
        targets: list[Any],
        flush_buffer: Callable[[Any], None],
        width: int,
        counter: RootCounter,
        is_tracked: bool,
        keeps_messages: bool,
        turn: Turn,
    ) -> None:
        self._general = general
        self._positions = positions
        self._values = values
        self._messages = messages
        self._targets = targets
        self._flush_buffer = flush_buffer
        self._width = width
        self._counter = counter
        self._is_tracked = is_tracked
        self._keeps_messages = keeps_messages
        self._turn = turn
        self._owner = get_ident()
        #: emits so far
        self.count = 0

    def retire(self) -> None:
        """From now on every call goes to `general`: the buffers belong to a generation that is over."""
        self._width = -1

    def emit(self, values: Any, *, position: Any = _MISSING, partition: str = "", stream: str | None = None) -> Any:
        """See `ReplayableSpout.emit`."""
        if (
            stream is not None
            or get_ident() != self._owner
            or values.__class__ is not list
            or len(values) != self._width
            or partition not in self._positions
            or position is _MISSING
        ):
            given = {} if position is _MISSING else {"position": position}
            return self._general(values, **given, partition=partition, stream=stream)
        at = self._turn.at if self._turn.at < len(self._targets) else 0
        self._turn.at = at + 1
        buffer = self._targets[at]
        buffer.rows.append(values[0] if self._width == 1 else values)
        if self._is_tracked:
            self._counter.root = root = self._counter.root + 1
            self._values[root] = 0
            self._messages[root] = (values, None, partition, position, 0) if self._keeps_messages else None
            buffer.roots.append(root)
        self._positions[partition] = position
        self.count += 1
        if len(buffer.rows) >= buffer.limit:
            self._flush_buffer(buffer)
        return None


def close_trees(
    values: dict[int, int], messages: dict[int, Any], seen: dict[int, int], touched: dict[int, float], roots: list[int]
) -> list[Any]:
    """Forget complete trees; returns their messages."""
    found = []
    for root in roots:
        del values[root]
        found.append(messages.pop(root))
        seen.pop(root, None)
        touched.pop(root, None)
    return found


def apply_acks(values: dict[int, int], seen: dict[int, int], roots: list[int], xors: bytes, task_id: int) -> list[int]:
    """Merge acks into open trees; returns the roots whose value is 0 now, and notes the task at the others.

    Raises:
        ValueError: there are fewer numbers than roots.
    """
    if len(xors) < 8 * len(roots):
        raise ValueError("fewer numbers than roots")
    complete = []
    for root, xor in zip(roots, unpack_u64(xors)):
        value = values.get(root)
        if value is None:
            continue
        value ^= xor
        values[root] = value
        if value:
            seen[root] = task_id
        else:
            complete.append(root)
    return complete


class Buffer:
    """Rows of one stream waiting to leave through one channel, and their roots."""

    __slots__ = ("limit", "roots", "rows")

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.roots: list[Any] = []
        #: how many rows make it full
        self.limit = 1


class FieldEmit:
    """`emit` of a bolt whose default stream has one reader, FIELDS-grouped on one column.

    Args:
        general: takes every call that is not a plain emit to the default stream by the thread that made this object.
        check_width: raises if the values do not fit the fields.
        find: the buffer for values whose key is not in the cache.
        cache: buffers by key; holds exact strings only, since 1, 1.0 and True are one dictionary key but three keys of
            the grouping.
        flush_buffer: called with a buffer that is full.
    """

    __slots__ = (
        "_cache",
        "_check_width",
        "_column",
        "_current",
        "_find",
        "_flush_buffer",
        "_general",
        "_is_tracked",
        "_owner",
        "_width",
        "count",
    )

    def __init__(
        self,
        general: Callable[..., Any],
        check_width: Callable[[Any], None],
        find: Callable[[Any], Any],
        cache: dict[Any, Any],
        flush_buffer: Callable[[Any], None],
        current: Current,
        width: int,
        column: int,
        is_tracked: bool,
    ) -> None:
        self._general = general
        self._check_width = check_width
        self._find = find
        self._cache = cache
        self._flush_buffer = flush_buffer
        self._current = current
        self._width = width
        self._column = column
        self._is_tracked = is_tracked
        self._owner = get_ident()
        #: emits so far
        self.count = 0

    def emit(
        self,
        values: Any,
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> Any:
        """See `Bolt.emit`."""
        if stream is not None or anchors is not None or direct_task is not None or need_task_ids:
            return self._general(values, stream, anchors, direct_task, need_task_ids)
        if get_ident() != self._owner:
            return self._general(values)
        if values.__class__ is not list or len(values) != self._width:
            self._check_width(values)
        try:
            buffer = self._cache[values[self._column]]
        except (KeyError, TypeError):  # TypeError: an unhashable value, such as a list
            buffer = self._find(values)
        self.count += 1
        rows = buffer.rows
        rows.append(values[0] if self._width == 1 else values)
        if self._is_tracked:
            buffer.roots.append(self._current.root)
        if len(rows) >= buffer.limit:
            self._flush_buffer(buffer)
        return None

    def emit_many(
        self,
        rows: Iterable[Any],
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
    ) -> None:
        """Many emits with one call."""
        for values in rows:
            self.emit(values, stream, anchors, direct_task)


class CountEmit:
    """`emit` of a bolt whose default stream nobody reads: checks the values and counts."""

    __slots__ = ("_check_width", "_general", "_width", "count")

    def __init__(self, general: Callable[..., Any], check_width: Callable[[Any], None], width: int) -> None:
        self._general = general
        self._check_width = check_width
        self._width = width
        #: emits so far
        self.count = 0

    def emit(
        self,
        values: Any,
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> Any:
        """See `Bolt.emit`."""
        if stream is not None or anchors is not None or direct_task is not None or need_task_ids:
            return self._general(values, stream, anchors, direct_task, need_task_ids)
        if values.__class__ is not list or len(values) != self._width:
            self._check_width(values)
        self.count += 1
        return None

    def emit_many(
        self,
        rows: Iterable[Any],
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
    ) -> None:
        """Many emits with one call."""
        for values in rows:
            self.emit(values, stream, anchors, direct_task)
