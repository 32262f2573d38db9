"""Values beyond plain msgpack: how they are packed and unpacked, on the wire and in state alike.

Two msgpack extension types carry what Python people emit most and msgpack lacks; a value of any other type is refused
with its type's name. Code never comes from data: nothing here unpickles.

Frames: extension 1 = big integer (decimal ASCII), extension 2 = datetime (ISO 8601, UTF-8).
"""

from __future__ import annotations

import datetime
from typing import Any

import msgpack

EXT_BIGINT = 1
EXT_DATETIME = 2


def pack_default(value: Any) -> msgpack.ExtType:
    """msgpack's `default` hook.

    Raises:
        TypeError: the value's type cannot travel; the message names it.
    """
    if isinstance(value, datetime.datetime):
        return msgpack.ExtType(EXT_DATETIME, value.isoformat().encode())
    if isinstance(value, int):
        return msgpack.ExtType(EXT_BIGINT, str(value).encode())
    kind = type(value)
    raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot be packed with msgpack")


def unpack_ext(code: int, data: bytes) -> Any:
    """msgpack's `ext_hook`: the inverse of `pack_default`; an unknown code stays an ExtType."""
    if code == EXT_DATETIME:
        return datetime.datetime.fromisoformat(data.decode())
    if code == EXT_BIGINT:
        return int(data)
    return msgpack.ExtType(code, data)


def pack(value: Any) -> bytes:
    """One value as bytes.

    >>> unpack(pack({"a": [1, 2.5, None, b"x"]}))
    {'a': [1, 2.5, None, b'x']}
    """
    packed: bytes = msgpack.packb(value, default=pack_default)
    return packed


def unpack(data: bytes) -> Any:
    """The inverse of `pack`. Map keys may be of any hashable type."""
    return msgpack.unpackb(data, ext_hook=unpack_ext, strict_map_key=False)
