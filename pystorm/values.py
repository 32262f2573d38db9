"""Values beyond plain msgpack: how they are packed and unpacked, on the wire and in state alike.

Theory of operation
    msgpack carries None, booleans, numbers, text, bytes, lists and dicts at C speed. For the rest it calls a function
    per value, which gives an extension type. `strict_types` makes tuples one of these, so that a tuple inside a value
    is a tuple again on the other side; plain values cost nothing more. A value of any other type is refused with its
    type's name and what to do.

    There are two flavours. `pack_value` is for values: exact types come back. `pack_default` is the hook for *keys*
    (of a grouping, of a state): tuples are arrays, subclasses are what they are derived from, and nothing is pickled,
    so that equal keys have equal bytes in every process.

Invariants
    - Code never comes from data. Types of the user's own are found by name among those registered (`registered`);
      pickles are read and written only after `allow_pickle(True)`.
    - Equal sets have equal bytes.

What does not work
    A date's subclass comes back as a date, a dict's subclass as a dict, and so on, unless it is registered. A datetime
    keeps its offset but not the name of its zone.

Frames: msgpack extension types by code. 1 big integer (decimal ASCII), 2 datetime, 3 date, 4 time (ISO 8601),
5 timedelta ([days, seconds, microseconds]), 6 Decimal (text), 7 UUID (16 bytes), 8 set and 9 frozenset (array, elements
ordered by their bytes), 10 tuple (array), 11 complex (two doubles, little-endian), 12 registered type ([name, data]),
13 numpy scalar ([dtype, bytes]), 14 numpy array (npy format), 15 pickle.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import importlib
import io
import pickle
import struct
import sys
import uuid
from collections.abc import Callable
from typing import Any

import msgpack

from pystorm.registered import Registration, UnreadableValue, registration_named, registration_of

EXT_BIGINT = 1
EXT_DATETIME = 2
EXT_DATE = 3
EXT_TIME = 4
EXT_TIMEDELTA = 5
EXT_DECIMAL = 6
EXT_UUID = 7
EXT_SET = 8
EXT_FROZENSET = 9
EXT_TUPLE = 10
EXT_COMPLEX = 11
EXT_REGISTERED = 12
EXT_NUMPY_SCALAR = 13
EXT_NUMPY_ARRAY = 14
EXT_PICKLE = 15

#: What packing raises for a value that cannot travel (UnicodeEncodeError is a ValueError).
PACK_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)

_packb = msgpack.packb
_unpackb = msgpack.unpackb
_COMPLEX = struct.Struct("<dd")
_is_pickle_allowed = False


def allow_pickle(is_allowed: bool) -> None:
    """Whether this process pickles what nothing else can carry, and reads pickles (`topology.fall.back.on.pickle`)."""
    global _is_pickle_allowed
    _is_pickle_allowed = is_allowed


# -- packing ----------------------------------------------------------------------------------------------------------


def pack(value: Any) -> bytes:
    """One value as bytes.

    >>> unpack(pack({"a": [1, 2.5, None, b"x"], "b": (1, {2, 3})}))
    {'a': [1, 2.5, None, b'x'], 'b': (1, {2, 3})}

    Raises:
        TypeError, ValueError, OverflowError, RecursionError: it cannot travel; the message names the type.
    Cost: a Python call per value that plain msgpack does not carry, tuples among them.
    """
    packed: bytes = _packb(value, default=pack_value, strict_types=True)
    return packed


def pack_value(value: Any) -> Any:
    """msgpack's `default` hook for values; use it with `strict_types`.

    Raises:
        TypeError: the value's type cannot travel; the message names it.
    """
    encoder = _ENCODERS.get(type(value))
    if encoder is not None:
        return encoder(value, pack_value)
    return _pack_unusual(value, pack_value)


def pack_default(value: Any) -> Any:
    """msgpack's `default` hook for keys: stable bytes, so nothing is pickled.

    Raises:
        TypeError: the value's type cannot be part of a key; the message names it.
    """
    encoder = _ENCODERS.get(type(value))
    if encoder is not None:
        return encoder(value, pack_default)
    return _pack_unusual(value, pack_default)


#: One of the two hooks.
_Hook = Callable[[Any], Any]


def _pack_inner(value: Any, hook: _Hook) -> bytes:
    try:
        packed: bytes = _packb(value, default=hook, strict_types=True)
    except RecursionError:
        raise ValueError("tuples or sets are nested too deeply, or a value contains itself") from None
    return packed


def _pack_int(value: Any, _: _Hook) -> Any:
    return msgpack.ExtType(EXT_BIGINT, str(int(value)).encode())


def _pack_timedelta(value: datetime.timedelta, _: _Hook) -> Any:
    return msgpack.ExtType(EXT_TIMEDELTA, _packb([value.days, value.seconds, value.microseconds]))


def _pack_tuple(value: Any, hook: _Hook) -> Any:
    return msgpack.ExtType(EXT_TUPLE, _pack_inner(list(value), hook))


def _pack_set(value: Any, hook: _Hook, code: int = EXT_SET) -> Any:
    elements = sorted([_pack_inner(element, hook) for element in value])
    return msgpack.ExtType(code, b"".join([msgpack.Packer().pack_array_header(len(elements)), *elements]))


def _iso(code: int) -> Callable[[Any, _Hook], Any]:
    return lambda value, _: msgpack.ExtType(code, value.isoformat().encode())


_ENCODERS: dict[type, Callable[[Any, _Hook], Any]] = {
    tuple: _pack_tuple,
    datetime.datetime: _iso(EXT_DATETIME),
    datetime.date: _iso(EXT_DATE),
    datetime.time: _iso(EXT_TIME),
    datetime.timedelta: _pack_timedelta,
    decimal.Decimal: lambda value, _: msgpack.ExtType(EXT_DECIMAL, str(value).encode()),
    uuid.UUID: lambda value, _: msgpack.ExtType(EXT_UUID, value.bytes),
    int: _pack_int,
    set: _pack_set,
    frozenset: lambda value, hook: _pack_set(value, hook, EXT_FROZENSET),
    complex: lambda value, _: msgpack.ExtType(EXT_COMPLEX, _COMPLEX.pack(value.real, value.imag)),
    UnreadableValue: lambda value, _: msgpack.ExtType(value.code, value.data),
}

#: Subclasses travel as the first of these that they are derived from.
_BASES: tuple[type, ...] = (
    str, int, float, bytes, dict, list, tuple, set, frozenset,
    datetime.datetime, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID, complex,
)  # fmt: skip
#: For those whose constructor copies into the plain type.
_COPIED: dict[type, Callable[[Any], Any]] = {
    str: str.__str__, int: int, float: float.__float__, bytes: bytes, dict: dict, list: list,
}  # fmt: skip


def _pack_unusual(value: Any, hook: _Hook) -> Any:
    kind = type(value)
    registration = registration_of(kind)
    if registration is not None:
        return msgpack.ExtType(EXT_REGISTERED, _pack_inner([registration.name, _encoded(registration, value)], hook))
    numpy = sys.modules.get("numpy")  # whoever has a value of numpy's has imported it
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        return _pack_numpy(numpy, value)
    for base in _BASES:
        if isinstance(value, base):
            copied = _COPIED[base](value) if base in _COPIED else None
            if copied is None or (base is int and not -(2**63) <= copied < 2**64):
                return _ENCODERS[base](value, hook)
            return copied
    if hook is pack_value and _is_pickle_allowed:
        return _pickle(value)
    raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot travel{_advice(value, hook)}")


def _encoded(registration: Registration, value: Any) -> Any:
    try:
        return registration.encode(value)
    except Exception as error:  # the user's function
        raise TypeError(f"encode of the registered type {registration.name!r} raised {_told(error)}") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _advice(value: Any, hook: _Hook) -> str:
    kind = type(value)
    if isinstance(value, enum.Enum) or hasattr(kind, "__dataclass_fields__"):
        return f": register it, pystorm.register_type({kind.__name__})"
    if hook is not pack_value:
        return " as a key"
    if kind.__module__ == "builtins":
        return ""
    return (
        f": register it, pystorm.register_type({kind.__name__}, encode=..., decode=...), or set "
        "topology.fall.back.on.pickle: true"
    )


def _pack_numpy(numpy: Any, value: Any) -> Any:
    if value.dtype.hasobject:
        raise TypeError(f"a numpy value of type {value.dtype} cannot travel: it holds Python objects; use tolist()")
    if isinstance(value, numpy.generic) and value.dtype.names is None:
        return msgpack.ExtType(EXT_NUMPY_SCALAR, _packb([value.dtype.str, value.tobytes()]))
    file = io.BytesIO()
    numpy.lib.format.write_array(file, numpy.asarray(value), allow_pickle=False)
    return msgpack.ExtType(EXT_NUMPY_ARRAY, file.getvalue())


def _pickle(value: Any) -> Any:
    try:
        return msgpack.ExtType(EXT_PICKLE, pickle.dumps(value, protocol=4))
    except Exception as error:  # a value's own code runs here, and pickle raises several unrelated types
        kind = type(value)
        raise TypeError(
            f"a value of type {kind.__module__}.{kind.__qualname__} cannot be pickled: {_told(error)}"
        ) from error


# -- unpacking --------------------------------------------------------------------------------------------------------


def unpack(data: bytes) -> Any:
    """The inverse of `pack`. Map keys may be of any hashable type."""
    return _unpackb(data, ext_hook=unpack_ext, strict_map_key=False)


def unpack_ext(code: int, data: bytes) -> Any:
    """msgpack's `ext_hook`: the inverse of both hooks; an unknown code stays an ExtType."""
    decoder = _DECODERS.get(code)
    return decoder(data) if decoder is not None else msgpack.ExtType(code, data)


def _unpack_registered(data: bytes) -> Any:
    name, content = unpack(data)
    registration = registration_named(name)
    if registration is None:
        reason = f"no type is registered as {name!r} here; its module has to call pystorm.register_type when imported"
        return UnreadableValue(EXT_REGISTERED, data, reason)
    try:
        return registration.decode(content)
    except Exception as error:  # the user's function; here the batch would be lost, so whoever uses the value is told
        return UnreadableValue(EXT_REGISTERED, data, f"decode of the registered type {name!r} raised {_told(error)}")


def _unpack_pickle(data: bytes) -> Any:
    if not _is_pickle_allowed:
        return UnreadableValue(EXT_PICKLE, data, "it is pickled, and topology.fall.back.on.pickle is not true here")
    try:
        return pickle.loads(data)
    except Exception as error:  # code of the user's, which may be gone
        return UnreadableValue(EXT_PICKLE, data, f"reading the pickle raised {_told(error)}")


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None


def _unpack_scalar(data: bytes) -> Any:
    numpy = _numpy()
    if numpy is None:
        return UnreadableValue(EXT_NUMPY_SCALAR, data, "it is a numpy scalar, and numpy is not installed here")
    name, content = _unpackb(data)
    kind = numpy.dtype(name)
    return numpy.ndarray((), kind, content)[()] if kind.itemsize else numpy.zeros((), kind)[()]


def _unpack_array(data: bytes) -> Any:
    numpy = _numpy()
    if numpy is None:
        return UnreadableValue(EXT_NUMPY_ARRAY, data, "it is a numpy array, and numpy is not installed here")
    return numpy.lib.format.read_array(io.BytesIO(data), allow_pickle=False)


_DECODERS: dict[int, Callable[[bytes], Any]] = {
    EXT_BIGINT: int,
    EXT_DATETIME: lambda data: datetime.datetime.fromisoformat(data.decode()),
    EXT_DATE: lambda data: datetime.date.fromisoformat(data.decode()),
    EXT_TIME: lambda data: datetime.time.fromisoformat(data.decode()),
    EXT_TIMEDELTA: lambda data: datetime.timedelta(*_unpackb(data)),
    EXT_DECIMAL: lambda data: decimal.Decimal(data.decode()),
    EXT_UUID: lambda data: uuid.UUID(bytes=data),
    EXT_SET: lambda data: set(unpack(data)),
    EXT_FROZENSET: lambda data: frozenset(unpack(data)),
    EXT_TUPLE: lambda data: tuple(unpack(data)),
    EXT_COMPLEX: lambda data: complex(*_COMPLEX.unpack(data)),
    EXT_REGISTERED: _unpack_registered,
    EXT_NUMPY_SCALAR: _unpack_scalar,
    EXT_NUMPY_ARRAY: _unpack_array,
    EXT_PICKLE: _unpack_pickle,
}
