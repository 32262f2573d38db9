"""The tuple that a bolt receives.

Source: pystorm 3.x and streamparse (pystorm/component.py: Tuple).
"""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import Any, NamedTuple

#: Component name of tuples that the framework makes itself.
SYSTEM_COMPONENT = "__system"
#: Stream of tick tuples.
TICK_STREAM = "__tick"


class Tuple(NamedTuple):
    """One tuple: who sent it on which stream, and its values.

    `values` is a namedtuple of the stream's fields, so `tup.values.word` and `tup.values[0]` are the same. Values
    belong to the receiver: an emitter that goes on changing a list or dict after emitting it changes what others see.
    """

    id: Any
    component: str | None
    stream: str | None
    task: int | None
    values: Any


def is_tick(tup: Tuple) -> bool:
    """Whether a tuple is a tick of the system stream."""
    return tup.component == SYSTEM_COMPONENT and tup.stream == TICK_STREAM


@functools.lru_cache(maxsize=1024)
def values_class(stream: str, fields: tuple[str, ...]) -> type:
    """The namedtuple class for a stream's values. Names that are no identifiers are reachable by position only."""
    name = "".join(c if c.isalnum() else "_" for c in stream) or "stream"
    # "Values" is written first because a class name may not begin with a digit
    return namedtuple(f"Values_{name}", fields, rename=True)
