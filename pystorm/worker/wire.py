"""The wire format between workers.

Frames (all integers little-endian)::

    header   version u8 | type u8 | generation u32 | source task u16 | destination task u16 | stream u16 | count u32
    PLAIN    header, msgpack rows                                      tuples without anchors
    SINGLE   header, roots u64[count], edges u64[count], msgpack rows  each tuple belongs to one tree
    MULTI    header, counts u32[count], roots u64[sum(counts)], edges u64[count], msgpack rows
    ACK      header, roots u64[count], xors u64[count]                 to the spout's task
    FAIL     header, msgpack [[root, reason], ...]                     to the spout's task
    TOUCH    header, roots u64[count]                                  to the spout's task
    CREDIT   header                                                    count = units given back, stream = pace
    BARRIER  header                                                    count = epoch

Rows of a stream with one field are a flat msgpack array of its values; otherwise an array of arrays. One packb per
batch. A tuple of several trees has one edge id that counts in each of them.

Decoding trusts nothing: a frame that is too short, of another version or with impossible counts raises `WireError`.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any

import msgpack

from pystorm.errors import PystormError
from pystorm.speed import pack_u64, unpack_u64
from pystorm.values import pack_value, unpack_ext

VERSION = 1
PLAIN, SINGLE, MULTI, ACK, FAIL, TOUCH, CREDIT, BARRIER = range(1, 9)

HEADER = struct.Struct("<BBIHHHI")
HEADER_BYTES = HEADER.size
pack_header = HEADER.pack
unpack_header = HEADER.unpack_from

_packb = msgpack.packb
_unpackb = msgpack.unpackb
_LITTLE = sys.byteorder == "little"


class WireError(PystormError):
    """A frame from a peer that cannot be decoded."""


def pack_u32(numbers: list[int]) -> bytes:
    """32-bit numbers as bytes."""
    packed = array("I", numbers)
    if not _LITTLE:
        packed.byteswap()
    return packed.tobytes()


def unpack_u32(data: bytes | memoryview) -> list[int]:
    """The inverse of `pack_u32`."""
    numbers = array("I")
    numbers.frombytes(data)
    if not _LITTLE:
        numbers.byteswap()
    return numbers.tolist()


def pack_rows(rows: list[Any]) -> bytes:
    """Rows as a msgpack array.

    Raises:
        TypeError, ValueError, OverflowError: a value cannot be packed.
    """
    packed: bytes = _packb(rows, default=pack_value, strict_types=True)
    return packed


def unpack_rows(data: bytes | memoryview, count: int) -> list[Any]:
    """The inverse of `pack_rows`.

    Raises:
        WireError: not a msgpack array of `count` elements.
    """
    try:
        rows = _unpackb(data, ext_hook=unpack_ext, strict_map_key=False)
    except Exception as error:  # msgpack raises several unrelated types on bad input
        raise WireError(f"undecodable batch of {len(data)} bytes: {error}") from error
    if not isinstance(rows, list) or len(rows) != count:
        raise WireError(f"batch announced {count} tuples and holds something else")
    return rows


def unpack_anchors(kind: int, frame: memoryview, count: int) -> tuple[list[Any] | None, bytes | None, int]:
    """The trees and edge ids of a data frame.

    Returns:
        (roots, edges, offset of the rows). A root is an int, a tuple of ints for several trees, or None for no tree;
        PLAIN frames have neither roots nor edges. The edge ids stay packed.
    """
    at = HEADER_BYTES
    if kind == PLAIN:
        return None, None, at
    if kind == SINGLE:
        end = at + 16 * count
        if len(frame) < end:
            raise WireError(f"frame of {len(frame)} bytes is too short for {count} tuples")
        return unpack_u64(frame[at : at + 8 * count]), bytes(frame[at + 8 * count : end]), end
    if len(frame) < at + 4 * count:
        raise WireError(f"frame of {len(frame)} bytes is too short for {count} tuples")
    counts = unpack_u32(frame[at : at + 4 * count])
    at += 4 * count
    total = sum(counts)
    end = at + 8 * (total + count)
    if len(frame) < end:
        raise WireError(f"frame of {len(frame)} bytes is too short for {total} roots")
    flat = unpack_u64(frame[at : at + 8 * total])
    roots: list[Any] = []
    position = 0
    for n in counts:
        group = flat[position : position + n]
        position += n
        roots.append(tuple(group) if n > 1 else group[0] if n else None)
    return roots, bytes(frame[at + 8 * total : end]), end


def pack_multi_anchors(roots: list[Any]) -> bytes:
    """Counts and roots of a MULTI frame."""
    counts: list[int] = []
    flat: list[int] = []
    for root in roots:
        if root is None:
            counts.append(0)
        elif isinstance(root, tuple):
            counts.append(len(root))
            flat.extend(root)
        else:
            counts.append(1)
            flat.append(root)
    return pack_u32(counts) + pack_u64(flat)


def unpack_pairs(frame: memoryview, count: int) -> tuple[list[int], bytes]:
    """Roots, and packed XORs, of an ACK frame."""
    half = HEADER_BYTES + 8 * count
    if len(frame) != half + 8 * count:
        raise WireError(f"ack frame of {len(frame)} bytes does not hold {count} entries")
    return unpack_u64(frame[HEADER_BYTES:half]), bytes(frame[half:])


def unpack_roots(frame: bytes, count: int) -> list[int]:
    """Roots of a TOUCH frame."""
    if len(frame) != HEADER_BYTES + 8 * count:
        raise WireError(f"touch frame of {len(frame)} bytes does not hold {count} roots")
    return unpack_u64(frame[HEADER_BYTES:])


def pack_fails(fails: list[tuple[int, str]]) -> bytes:
    """Roots and reasons of a FAIL frame."""
    packed: bytes = _packb(fails)
    return packed


def unpack_fails(frame: bytes, count: int) -> list[tuple[int, str]]:
    """Roots and reasons of a FAIL frame."""
    fails: list[tuple[int, str]] = []
    for entry in unpack_rows(memoryview(frame)[HEADER_BYTES:], count):
        if not (isinstance(entry, list) and len(entry) == 2 and type(entry[0]) is int and type(entry[1]) is str):
            raise WireError(f"{entry!r:.100} in a fail frame is no root with its reason")
        fails.append((entry[0], entry[1]))
    return fails
