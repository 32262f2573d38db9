"""How keys and values of states become bytes in the store, and back.

Theory of operation
    An entry is a field and a value of a Redis hash. The field is the msgpack of the key in *canonical* form: keys that
    Python's dict holds for the same (1, 1.0 and True; two datetimes that are one instant) give the same bytes, so one
    entry of the dict is never two entries of the store. Where the canonical key is not what the user wrote, the value's
    bytes are followed by the msgpack of the key as written, so that True comes back as True.

Frames: field = msgpack(canonical key); value = msgpack(value) [msgpack(key as written)].
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import sys
from typing import Any

import msgpack

from pystorm import values
from pystorm.values import PACK_ERRORS, pack_default, pack_value, unpack_ext

__all__ = [
    "PACK_ERRORS",
    "EntryPacker",
    "canonical",
    "decode_entry",
    "split_packed_list",
    "to_jsonable",
    "unpack_key",
]

_INFINITY = float("inf")

#: key types whose packed form is the same whenever two keys are equal
_PLAIN_KEYS = frozenset({str, bytes, int, type(None)})


def canonical(key: Any) -> Any:
    """The form of a key that equal keys share.

    >>> canonical((True, 2.0, 2.5, "a"))
    (1, 2, 2.5, 'a')
    """
    kind = type(key)
    if kind in _PLAIN_KEYS:
        return key
    if isinstance(key, tuple):
        return tuple([canonical(item) for item in key])
    numpy = sys.modules.get("numpy")  # before the numbers: numpy's float64 is a float
    if numpy is not None and isinstance(key, numpy.generic):
        plain = key.item()
        return key if isinstance(plain, numpy.generic) else canonical(plain)
    if isinstance(key, (int, float, complex, decimal.Decimal)):
        return _canonical_number(key)
    if isinstance(key, datetime.datetime) and key.utcoffset() is not None:
        return key.astimezone(datetime.timezone.utc)
    if isinstance(key, frozenset):
        return frozenset([canonical(item) for item in key])
    return key


def _canonical_number(key: Any) -> Any:
    """An int if there is an equal one, else a float if there is one, else the shortest of its own kind."""
    if isinstance(key, int):
        return int(key)
    if isinstance(key, complex):
        return key if key.imag else _canonical_number(key.real)
    if key != key or key in (_INFINITY, -_INFINITY):
        return float(key)
    if key == int(key):
        return int(key)
    number = float(key)
    return number if number == key else _shortest(key)


def _shortest(key: decimal.Decimal) -> decimal.Decimal:
    sign, digits, exponent = key.as_tuple()
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return decimal.Decimal((sign, digits[: len(digits) - zeros], int(exponent) + zeros))


class EntryPacker:
    """Packs entries one after the other; not for several threads at once. Cheaper than a new packer per value."""

    def __init__(self) -> None:
        self._pack_value = msgpack.Packer(default=pack_value, strict_types=True).pack
        self._pack = msgpack.Packer(default=pack_default).pack

    def value(self, value: Any) -> bytes:
        """The bytes of a value."""
        return self._pack_value(value)  # type: ignore[no-any-return]

    def field(self, key: Any) -> tuple[bytes, bytes]:
        """The field of a key, and what has to follow its value (nothing, but for keys with an equal twin)."""
        if type(key) in _PLAIN_KEYS:
            return self._pack(key), b""
        field = self._pack(canonical(key))
        written = self._pack(key)
        return field, b"" if written == field else written


def unpack_key(field: bytes) -> Any:
    """A key from its packed form; arrays become tuples, so that it can be hashed."""
    return msgpack.unpackb(field, ext_hook=unpack_ext, strict_map_key=False, use_list=False)


def decode_entry(field: bytes, data: bytes) -> tuple[Any, Any]:
    """Key and value of a stored entry."""
    try:
        return unpack_key(field), _unpack_value(data)
    except msgpack.ExtraData as found:
        # The value ends before the bytes do: the rest is the key as the user wrote it.
        key_bytes = bytes(found.extra)
        return unpack_key(key_bytes), _unpack_value(data[: len(data) - len(key_bytes)])


def _unpack_value(data: bytes) -> Any:
    try:
        return values.unpack(data)
    except TypeError:
        # A map with tuples for keys: they arrive as lists, which no dict takes as keys.
        return msgpack.unpackb(data, ext_hook=unpack_ext, strict_map_key=False, object_pairs_hook=_dict_of_pairs)


def _dict_of_pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    return {_hashable(key): value for key, value in pairs}


def _hashable(key: Any) -> Any:
    return tuple([_hashable(item) for item in key]) if isinstance(key, list) else key


def split_packed_list(blob: bytes) -> list[bytes]:
    """The packed elements of a packed list, without unpacking them.

    >>> split_packed_list(values.pack([1, "a", [2]]))
    [b'\\x01', b'\\xa1a', b'\\x91\\x02']
    """
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(blob), 1))
    unpacker.feed(blob)
    count = unpacker.read_array_header()
    skip, tell = unpacker.skip, unpacker.tell
    start = tell()
    pieces = []
    for _ in range(count):
        skip()
        end = tell()
        pieces.append(blob[start:end])
        start = end
    return pieces


def to_jsonable(value: Any) -> Any:
    """A key, value or position in what JSON has.

    Bytes become text (else hex), dates and times ISO 8601, tuples and sets lists, dataclasses objects, the rest text.
    """
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, bytes):
        return _text_of(value)
    if isinstance(value, dict):
        return {k if isinstance(k, str) else str(to_jsonable(k)): to_jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted([to_jsonable(item) for item in value], key=str)
    if isinstance(value, enum.Enum):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        return to_jsonable(value.tolist())
    return str(value)


def _text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.hex()
