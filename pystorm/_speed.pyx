# cython: language_level=3, boundscheck=False, wraparound=False, binding=False, always_allow_keywords=True
"""The compiled twin of `_pure`: the same names with the same meaning, tested by the same tests.

Only what runs once per tuple is here. Read `_pure` first; this file differs where C allows a shortcut: numbers are read
straight from packed bytes, runs of equal roots (the words of one sentence) are handled once, and equal neighbours share
one Python integer.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_DelItem, PyDict_GetItem, PyDict_SetItem
from cpython.list cimport PyList_Append, PyList_GET_ITEM, PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_REFCNT
from cpython.set cimport PySet_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_SET_ITEM
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident()

IS_COMPILED = True

cdef object MISSING = object()
API = 8


cdef class Current:
    """What a task is processing: the tuple (state needs its key) and its tree or trees (emit needs them)."""

    cdef public object tup
    cdef public object root


cdef class DirtyDict(dict):
    """See `_pure.DirtyDict`."""

    cdef public object _current
    cdef public dict _dirty
    cdef public bint _keyed
    cdef public Py_ssize_t _column
    cdef public object _name

    def __setitem__(self, key, value):
        cdef object current = self._current
        cdef object tup
        cdef PyObject* values
        if type(current) is Current:
            tup = (<Current>current).tup
        else:
            tup = current.tup
        if not self._keyed:
            tup = None
        elif tup is None:
            self._refuse()
        elif self._column >= 0 and (type(key) is str or type(key) is int or type(key) is bytes) and isinstance(tup, tuple) and PyTuple_GET_SIZE(tup) == 5:
            values = PyTuple_GET_ITEM(tup, 4)
            if isinstance(<object>values, tuple) and PyTuple_GET_SIZE(<object>values) > self._column:
                if PyTuple_GET_ITEM(<object>values, self._column) == <PyObject*>key:
                    tup = None
        PyDict_SetItem(self, key, value)
        PyDict_SetItem(self._dirty, key, tup)

    def __delitem__(self, key):
        tup = self._writing()
        PyDict_DelItem(self, key)
        PyDict_SetItem(self._dirty, key, tup)


# What tuple.__new__(cls, values) does, without building `values` first; cls adds no fields of its own to tuple.
cdef extern from *:
    """
    static CYTHON_INLINE PyObject* pystorm_alloc(PyTypeObject* cls, Py_ssize_t size) {
        return cls->tp_alloc(cls, size);
    }
    """
    object pystorm_alloc(PyTypeObject* cls, Py_ssize_t size)


cdef inline void _put(object made, Py_ssize_t index, object value):
    Py_INCREF(value)
    PyTuple_SET_ITEM(made, index, value)


cdef inline void _replace(object made, Py_ssize_t index, object value):
    # only for a tuple that nobody else can see
    cdef PyObject* old = PyTuple_GET_ITEM(made, index)
    Py_INCREF(value)
    PyTuple_SET_ITEM(made, index, value)
    Py_DECREF(<object>old)


cdef object _values_of(object cls, Py_ssize_t width, object row):
    cdef Py_ssize_t index
    cdef object values
    if type(row) is list:
        if PyList_GET_SIZE(row) != width:
            raise ValueError(f"a row of {len(row)} values for {width} fields")
        values = pystorm_alloc(<PyTypeObject*>cls, width)
        for index in range(width):
            _put(values, index, <object>PyList_GET_ITEM(row, index))
        return values
    if len(row) != width:
        raise ValueError(f"a row of {len(row)} values for {width} fields")
    values = pystorm_alloc(<PyTypeObject*>cls, width)
    index = 0
    for value in row:
        _put(values, index, value)
        index += 1
    return values


def make_tuples(
    object tuple_class, object values_class, Py_ssize_t width, list rows, object first_id, object component,
    object stream, object source,
):
    cdef Py_ssize_t count = PyList_GET_SIZE(rows)
    cdef Py_ssize_t index
    cdef long long number = first_id
    cdef list made = PyList_New(count)
    cdef object values, tup, row
    for index in range(count):
        row = <object>PyList_GET_ITEM(rows, index)
        if width == 1:
            values = pystorm_alloc(<PyTypeObject*>values_class, 1)
            _put(values, 0, row)
        else:
            values = _values_of(values_class, width, row)
        tup = pystorm_alloc(<PyTypeObject*>tuple_class, 5)
        _put(tup, 0, number + index)
        _put(tup, 1, component)
        _put(tup, 2, stream)
        _put(tup, 3, source)
        _put(tup, 4, values)
        Py_INCREF(tup)
        PyList_SET_ITEM(made, index, tup)
    return made


cdef class BatchRunner:
    """See `_pure.BatchRunner`.

    A tuple that user code did not keep is filled anew for the next row instead of being freed and allocated, as zip()
    does with its result.
    """

    cdef object _process, _tuple_class, _values_class, _component, _stream, _source
    cdef Current _current
    cdef Py_ssize_t _width
    cdef list _rows, _roots
    cdef set _blocked
    cdef long long _first_id
    cdef public Py_ssize_t position

    def __init__(self, process, Current current, tuple_class, set blocked):
        self._blocked = blocked
        self._process = process
        self._current = current
        self._tuple_class = tuple_class
        self._rows = []
        self._roots = None
        self.position = 0

    def begin(self, values_class, width, list rows, roots, first_id, component, stream, source):
        self._values_class = values_class
        self._width = width
        self._rows = rows
        self._roots = roots
        self._first_id = first_id
        self._component = component
        self._stream = stream
        self._source = source
        self.position = 0

    def end(self):
        self._rows = []
        self._roots = None

    cdef object _make(self, object row, Py_ssize_t index):
        cdef object values
        if self._width == 1:
            values = pystorm_alloc(<PyTypeObject*>self._values_class, 1)
            _put(values, 0, row)
        else:
            values = _values_of(self._values_class, self._width, row)
        cdef object tup = pystorm_alloc(<PyTypeObject*>self._tuple_class, 5)
        _put(tup, 0, self._first_id + index)
        _put(tup, 1, self._component)
        _put(tup, 2, self._stream)
        _put(tup, 3, self._source)
        _put(tup, 4, values)
        return tup

    def run(self, Py_ssize_t end, clock=None, double deadline_s=0.0):
        cdef Current current = self._current
        cdef object process = self._process
        cdef list rows = self._rows, roots = self._roots
        cdef object tup = None, row, values
        cdef Py_ssize_t index, start = self.position
        if end > PyList_GET_SIZE(rows) or (roots is not None and end > PyList_GET_SIZE(roots)):
            raise ValueError("fewer rows than to run")
        while self.position < end and not PySet_GET_SIZE(self._blocked):
            index = self.position
            self.position += 1
            row = <object>PyList_GET_ITEM(rows, index)
            # 1: only this variable has it, as current let go of it after the last call
            if tup is not None and self._width == 1 and Py_REFCNT(tup) == 1:
                values = <object>PyTuple_GET_ITEM(tup, 4)
                if Py_REFCNT(values) == 2:  # in tup and here
                    _replace(values, 0, row)
                else:
                    values = pystorm_alloc(<PyTypeObject*>self._values_class, 1)
                    _put(values, 0, row)
                    _replace(tup, 4, values)
                values = None
                _replace(tup, 0, self._first_id + index)
            else:
                tup = self._make(row, index)
            current.tup = tup
            current.root = <object>PyList_GET_ITEM(roots, index) if roots is not None else None
            process(tup)
            current.tup = None
            if clock is not None and not (self.position - start) & 7 and clock() > deadline_s:
                break
        current.root = None


def unpack_u64(const unsigned char[::1] data):
    cdef Py_ssize_t count = data.shape[0] // 8
    if data.shape[0] % 8:
        raise ValueError(f"{data.shape[0]} bytes are no whole number of 64-bit numbers")
    cdef list found = PyList_New(count)
    cdef Py_ssize_t index
    cdef uint64_t number, last = 0
    cdef object item = 0
    for index in range(count):
        memcpy(&number, &data[8 * index], 8)
        if number != last:
            item = number
            last = number
        Py_INCREF(item)
        PyList_SET_ITEM(found, index, item)
    return found


def pack_u64(list numbers):
    cdef Py_ssize_t count = PyList_GET_SIZE(numbers)
    cdef bytes packed = PyBytes_FromStringAndSize(NULL, 8 * count)
    cdef char* out = PyBytes_AS_STRING(packed)
    cdef Py_ssize_t index
    cdef PyObject* item
    cdef PyObject* last = NULL
    cdef uint64_t number = 0
    for index in range(count):
        item = PyList_GET_ITEM(numbers, index)
        if item != last:
            if type(<object>item) is not int:
                raise TypeError("not a 64-bit number")
            number = <object>item
            last = item
        memcpy(out + 8 * index, &number, 8)
    return packed


cdef inline int _xor_into(dict table, object key, uint64_t value) except -1:
    cdef PyObject* old = PyDict_GetItem(table, key)
    if old != NULL:
        value ^= <uint64_t><object>old
    PyDict_SetItem(table, key, value)
    return 0


def xor_edges(dict table, list roots, bytes edges, Py_ssize_t start, Py_ssize_t end):
    if PyBytes_GET_SIZE(edges) < 8 * end or PyList_GET_SIZE(roots) < end:
        raise ValueError("fewer edge ids or roots than tuples")
    cdef const char* data = PyBytes_AS_STRING(edges)
    cdef Py_ssize_t index
    cdef PyObject* root
    cdef PyObject* last = NULL
    cdef uint64_t edge, total = 0
    for index in range(start, end):
        memcpy(&edge, data + 8 * index, 8)
        root = PyList_GET_ITEM(roots, index)
        if root == last:
            total ^= edge
            continue
        if last != NULL:
            _xor_into(table, <object>last, total)
        last = root
        total = edge
    if last != NULL:
        _xor_into(table, <object>last, total)


def xor_open(dict values, list roots, bytes edges):
    if PyBytes_GET_SIZE(edges) < 8 * PyList_GET_SIZE(roots):
        raise ValueError("fewer edge ids than roots")
    cdef const char* data = PyBytes_AS_STRING(edges)
    cdef Py_ssize_t index
    cdef PyObject* old
    cdef uint64_t edge
    cdef object root
    for index in range(PyList_GET_SIZE(roots)):
        root = <object>PyList_GET_ITEM(roots, index)
        old = PyDict_GetItem(values, root)
        if old != NULL:
            memcpy(&edge, data + 8 * index, 8)
            PyDict_SetItem(values, root, edge ^ <uint64_t><object>old)


cdef class FieldEmit:
    """See `_pure.FieldEmit`."""

    cdef object _general, _check_width, _find, _flush_buffer
    cdef dict _cache
    cdef Current _current
    cdef Py_ssize_t _width, _column
    cdef bint _is_tracked
    cdef unsigned long _owner
    cdef public long long count

    def __init__(
        self, general, check_width, find, dict cache, flush_buffer, Current current, width, column, is_tracked
    ):
        self._general = general
        self._check_width = check_width
        self._find = find
        self._cache = cache
        self._flush_buffer = flush_buffer
        self._current = current
        self._width = width
        self._column = column
        self._is_tracked = is_tracked
        self._owner = PyThread_get_thread_ident()
        self.count = 0

    def emit(self, values, stream=None, anchors=None, direct_task=None, need_task_ids=False):
        if stream is not None or anchors is not None or direct_task is not None or need_task_ids:
            return self._general(values, stream, anchors, direct_task, need_task_ids)
        self._emit(values)
        return None

    def emit_many(self, rows, stream=None, anchors=None, direct_task=None):
        if stream is not None or anchors is not None or direct_task is not None:
            for values in rows:
                self._general(values, stream, anchors, direct_task, False)
            return
        for values in rows:
            self._emit(values)

    cdef int _emit(self, object values) except -1:
        cdef PyObject* found = NULL
        cdef object key
        cdef Buffer buffer
        if PyThread_get_thread_ident() != self._owner:
            self._general(values)
            return 0
        if type(values) is list:
            if PyList_GET_SIZE(values) != self._width:
                self._check_width(values)
            key = <object>PyList_GET_ITEM(values, self._column)
        else:
            self._check_width(values)
            key = values[self._column]
        if type(key) is str:  # 1, 1.0 and True are one dictionary key but three keys of the grouping
            found = PyDict_GetItem(self._cache, key)
        buffer = <Buffer>found if found != NULL else self._find(values)
        self.count += 1
        PyList_Append(buffer.rows, key if self._width == 1 else values)
        if self._is_tracked:
            PyList_Append(buffer.roots, self._current.root)
        if PyList_GET_SIZE(buffer.rows) >= buffer.limit:
            self._flush_buffer(buffer)
        return 0


cdef class CountEmit:
    """See `_pure.CountEmit`."""

    cdef object _general, _check_width
    cdef Py_ssize_t _width
    cdef public long long count

    def __init__(self, general, check_width, width):
        self._general = general
        self._check_width = check_width
        self._width = width
        self.count = 0

    def emit(self, values, stream=None, anchors=None, direct_task=None, need_task_ids=False):
        if stream is not None or anchors is not None or direct_task is not None or need_task_ids:
            return self._general(values, stream, anchors, direct_task, need_task_ids)
        if type(values) is not list or PyList_GET_SIZE(values) != self._width:
            self._check_width(values)
        self.count += 1
        return None

    def emit_many(self, rows, stream=None, anchors=None, direct_task=None):
        for values in rows:
            self.emit(values, stream, anchors, direct_task, False)


cdef class Buffer:
    """Rows of one stream waiting to leave through one channel, and their roots."""

    cdef public list rows
    cdef public list roots
    cdef public Py_ssize_t limit

    def __init__(self):
        self.rows = []
        self.roots = []
        self.limit = 1


cdef class RootCounter:
    """The last root id in use."""

    cdef public unsigned long long root

    def __init__(self, root):
        self.root = root


cdef class Turn:
    """See `_pure.Turn`."""

    cdef public Py_ssize_t at

    def __init__(self):
        self.at = 0


cdef class SourceEmit:
    """See `_pure.SourceEmit`."""

    cdef object _general
    cdef dict _positions, _values, _messages
    cdef list _targets
    cdef object _flush_buffer
    cdef Py_ssize_t _width
    cdef Turn _turn
    cdef bint _is_tracked, _keeps_messages
    cdef unsigned long _owner
    cdef RootCounter _counter
    cdef public long long count

    def __init__(
        self, general, dict positions, dict values, dict messages, list targets, flush_buffer, width,
        RootCounter counter, is_tracked, keeps_messages, Turn turn,
    ):
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
        self._owner = PyThread_get_thread_ident()
        self.count = 0

    def retire(self):
        self._width = -1

    def emit(self, values, *, position=MISSING, partition="", stream=None):
        cdef Buffer buffer
        cdef object root
        cdef Py_ssize_t at
        if (
            stream is not None or type(values) is not list or PyList_GET_SIZE(values) != self._width
            or partition not in self._positions or position is MISSING
            or PyThread_get_thread_ident() != self._owner
        ):
            if position is MISSING:
                return self._general(values, partition=partition, stream=stream)
            return self._general(values, position=position, partition=partition, stream=stream)
        at = self._turn.at if self._turn.at < PyList_GET_SIZE(self._targets) else 0
        buffer = <Buffer>PyList_GET_ITEM(self._targets, at)
        self._turn.at = at + 1
        PyList_Append(buffer.rows, <object>PyList_GET_ITEM(values, 0) if self._width == 1 else values)
        if self._is_tracked:
            self._counter.root += 1
            root = self._counter.root
            PyDict_SetItem(self._values, root, 0)
            PyDict_SetItem(
                self._messages, root, (values, None, partition, position, 0) if self._keeps_messages else None
            )
            PyList_Append(buffer.roots, root)
        PyDict_SetItem(self._positions, partition, position)
        self.count += 1
        if PyList_GET_SIZE(buffer.rows) >= buffer.limit:
            self._flush_buffer(buffer)
        return None


def seal_trees(dict values, list unsealed):
    cdef list complete = []
    cdef Py_ssize_t index
    cdef PyObject* old
    cdef uint64_t value
    cdef object root
    for index in range(PyList_GET_SIZE(unsealed)):
        root = <object>PyList_GET_ITEM(unsealed, index)
        old = PyDict_GetItem(values, root)
        if old == NULL:
            continue
        value = <uint64_t><object>old ^ <uint64_t>root
        PyDict_SetItem(values, root, value)
        if not value:
            PyList_Append(complete, root)
    unsealed.clear()
    return complete


def apply_acks(dict values, dict seen, list roots, bytes xors, object task_id):
    if PyBytes_GET_SIZE(xors) < 8 * PyList_GET_SIZE(roots):
        raise ValueError("fewer numbers than roots")
    cdef const char* data = PyBytes_AS_STRING(xors)
    cdef list complete = []
    cdef Py_ssize_t index
    cdef PyObject* old
    cdef uint64_t value
    cdef object root
    for index in range(PyList_GET_SIZE(roots)):
        root = <object>PyList_GET_ITEM(roots, index)
        old = PyDict_GetItem(values, root)
        if old == NULL:
            continue
        memcpy(&value, data + 8 * index, 8)
        value ^= <uint64_t><object>old
        PyDict_SetItem(values, root, value)
        if value:
            PyDict_SetItem(seen, root, task_id)
        else:
            PyList_Append(complete, root)
    return complete


def close_trees(dict values, dict messages, dict seen, dict touched, list roots):
    cdef list found = []
    cdef object root
    for root in roots:
        PyDict_DelItem(values, root)
        found.append(messages.pop(root))
        if seen:
            seen.pop(root, None)
        if touched:
            touched.pop(root, None)
    return found
