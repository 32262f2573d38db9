"""What a test gives to one bolt: rows, tuples with an origin of their own, ticks and pauses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pystorm.components.stream import DEFAULT_STREAM, StreamDef

#: The component that plain rows come from.
SOURCE = "input"


@dataclasses.dataclass(frozen=True)
class Input:
    """A tuple with an origin: `Input(["a"], component="lines", stream="words")`."""

    values: Sequence[Any]
    component: str = SOURCE
    stream: str = DEFAULT_STREAM


@dataclasses.dataclass(frozen=True)
class Pause:
    """Virtual time passes; ticks that are due meanwhile are fired."""

    seconds: float


class Tick:
    """Its only instance, `TICK`, stands for one call of `process_tick`."""

    def __repr__(self) -> str:
        return "TICK"


TICK: Final = Tick()

#: What may stand in a list of inputs.
Given = Sequence[Any] | Input | Pause | Tick
#: Names of the fields of plain rows, or of several streams: by component, or by (component, stream).
Fields = Sequence[str] | Mapping[Any, Sequence[str]] | None


def read_inputs(inputs: Iterable[Given]) -> list[Input | Pause | Tick]:
    """The inputs, plain rows as `Input`.

    Raises:
        TypeError: something that is none of the above.
    """
    found: list[Input | Pause | Tick] = []
    for given in inputs:
        if isinstance(given, (Input, Pause, Tick)):
            found.append(given)
        elif isinstance(given, (list, tuple)):
            found.append(Input(list(given)))
        else:
            raise TypeError(f"an input is a list of values, Input(...), TICK or Pause(...), got {given!r}")
    return found


def streams_in(inputs: Iterable[Any], fields: Fields) -> dict[str, dict[str, StreamDef]]:
    """The streams that the inputs come on, by component and name.

    Fields that nobody names are called value0, value1, ...

    Raises:
        TypeError: two inputs of a stream differ in length, or are not as long as its fields.
    """
    widths: dict[tuple[str, str], int] = {}
    for given in inputs:
        if isinstance(given, Input):
            width = widths.setdefault((given.component, given.stream), len(given.values))
            if width != len(given.values):
                raise TypeError(
                    f"inputs of one stream are of one length: {list(given.values)!r} has not {width} values"
                )
    found: dict[str, dict[str, StreamDef]] = {}
    for (component, stream), width in (widths or {(SOURCE, DEFAULT_STREAM): len(_named(fields, SOURCE))}).items():
        names = _named(fields, component, stream) or [f"value{index}" for index in range(width)]
        if len(names) != width:
            raise TypeError(f"fields {list(names)} do not fit inputs of {width} values (from {component!r})")
        found.setdefault(component, {})[stream] = StreamDef(stream, tuple(names))
    return found


def _named(fields: Fields, component: str, stream: str = DEFAULT_STREAM) -> Sequence[str]:
    if isinstance(fields, (str, bytes)):
        raise TypeError(f"fields is a list of names, got {fields!r}; write [{fields!r}]")
    if isinstance(fields, Mapping):
        return fields.get((component, stream)) or fields.get(component) or ()
    return fields or ()
