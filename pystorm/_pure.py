"""What runs once per tuple, in Python. `_speed` is the same in Cython; `speed` picks one of the two.

The functions work on whole batches: lists of rows and roots, edge ids packed as little-endian 64-bit numbers.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice, repeat
from typing import Any

IS_COMPILED = False

_LITTLE = sys.byteorder == "little"


class Current:
    """What a task is processing: the tuple (state needs its key) and its tree or trees (emit needs them)."""

    __slots__ = ("root", "tup")

    def __init__(self) -> None:
        self.tup: Any = None
        self.root: Any = None


_set = dict.__setitem__


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
        elif self._column >= 0 and tup[4][self._column] is key:
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

    __slots__ = ("roots", "rows")

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.roots: list[Any] = []


class FieldEmit:
    """`emit` of a bolt whose default stream has one reader, FIELDS-grouped on one column.

    Args:
        general: takes every call that is not a plain emit to the default stream.
        check_width: raises if the values do not fit the fields.
        find: the buffer for values whose key is not in the cache.
        cache: buffers by key; holds exact strings only, since 1, 1.0 and True are one dictionary key but three keys of
            the grouping.
        flush_buffer: called with a buffer that has `limit` rows.
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
        "_limit",
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
        limit: int,
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
        self._limit = limit
        self._is_tracked = is_tracked
        #: emits so far
        self.count = 0

    def __call__(
        self,
        values: Any,
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> Any:
        if stream is not None or anchors is not None or direct_task is not None or need_task_ids:
            return self._general(values, stream, anchors, direct_task, need_task_ids)
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
        if len(rows) >= self._limit:
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
            self(values, stream, anchors, direct_task)


class CountEmit:
    """`emit` of a bolt whose default stream nobody reads: checks the values and counts."""

    __slots__ = ("_check_width", "_general", "_width", "count")

    def __init__(self, general: Callable[..., Any], check_width: Callable[[Any], None], width: int) -> None:
        self._general = general
        self._check_width = check_width
        self._width = width
        #: emits so far
        self.count = 0

    def __call__(
        self,
        values: Any,
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> Any:
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
            self(values, stream, anchors, direct_task)
