"""How keys and values of states become bytes in the store, and back.

Theory of operation
    An entry is a field and a value of a Redis hash. The field is the msgpack of the key in *canonical* form: keys that
    Python's dict holds for the same (1, 1.0 and True; two datetimes that are one instant) give the same bytes, so one
    entry of the dict is never two entries of the store. Where the canonical key is not what the user wrote, the value's
    bytes are followed by the msgpack of the key as written, so that True comes back as True.

Frames: field = msgpack(canonical key); value = msgpack(value) [msgpack(key as written)].
"""

from __future__ import annotations

import datetime
from typing import Any

import msgpack

from pystorm import values
from pystorm.values import pack_default, unpack_ext

#: key types whose packed form is the same whenever two keys are equal
_PLAIN_KEYS = frozenset({str, bytes, int, type(None)})

#: what msgpack raises for a value that it cannot carry (UnicodeEncodeError is a ValueError)
PACK_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)


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
    if isinstance(key, bool):
        return int(key)
    if isinstance(key, float):
        return int(key) if key.is_integer() else key
    if isinstance(key, datetime.datetime) and key.utcoffset() is not None:
        return key.astimezone(datetime.timezone.utc)
    return key


class EntryPacker:
    """Packs entries one after the other; not for several threads at once. Cheaper than a new packer per value."""

    def __init__(self) -> None:
        self._pack = msgpack.Packer(default=pack_default).pack

    def value(self, value: Any) -> bytes:
        """The bytes of a value."""
        return self._pack(value)  # type: ignore[no-any-return]

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
    """A key, value or position in what JSON has: bytes as text (else hex), datetimes in ISO 8601, tuples as lists."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, bytes):
        return _text_of(value)
    if isinstance(value, dict):
        return {k if isinstance(k, str) else str(to_jsonable(k)): to_jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(item) for item in value]
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)


def _text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.hex()
