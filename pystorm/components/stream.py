"""Declared output streams of a component.

Source: streamparse's Stream (streamparse/dsl/stream.py) and Storm's OutputFieldsDeclarer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pystorm.errors import ComponentError

DEFAULT_STREAM = "default"
#: Stream that `topology.bolt.on.error: dead-letter` writes to; every bolt has it without declaring it.
DEAD_LETTER_STREAM = "dead_letter"
#: Fields of the dead letter stream.
DEAD_LETTER_FIELDS = ("error", "traceback", "values")


@dataclass(frozen=True, slots=True)
class StreamDef:
    """A stream as the framework sees it: a name, ordered field names, and whether the emitter picks the task."""

    name: str
    fields: tuple[str, ...]
    direct: bool = False


class Stream:
    """A named output stream, for components with more than the default one.

    >>> Stream(fields=["word"], name="words").fields
    ('word',)
    """

    __slots__ = ("direct", "fields", "name")

    def __init__(self, fields: Iterable[str] = (), name: str = DEFAULT_STREAM, direct: bool = False) -> None:
        if isinstance(fields, (str, bytes)):
            raise ComponentError(f"Stream fields must be a list of names, got the string {fields!r}")
        self.fields = tuple(fields)
        self.name = name
        self.direct = bool(direct)
        if not isinstance(name, str) or not name:
            raise ComponentError(f"a Stream's name must be a non-empty string, got {name!r}")
        _check_fields(f"Stream {name!r}", self.fields)

    def __repr__(self) -> str:
        return f"Stream(fields={list(self.fields)}, name={self.name!r}, direct={self.direct})"


def _check_fields(owner: str, fields: Sequence[Any]) -> None:
    for name in fields:
        if not isinstance(name, str) or not name:
            raise ComponentError(f"{owner}: a field name must be a non-empty string, got {name!r}")
    repeated = sorted({name for name in fields if fields.count(name) > 1})
    if repeated:
        raise ComponentError(f"{owner}: field {repeated[0]!r} is declared twice")


def streams_of(cls: type) -> dict[str, StreamDef]:
    """The streams that a component class declares in `outputs`, by name.

    Args:
        cls: a Spout or Bolt subclass; `outputs` is a list of field names (the default stream) or of `Stream` objects.

    Raises:
        ComponentError: `outputs` is neither; the message names the class.
    """
    outputs = getattr(cls, "outputs", None) or []
    where = f"{cls.__module__}.{cls.__qualname__}.outputs"
    if isinstance(outputs, (str, bytes)) or not isinstance(outputs, (list, tuple)):
        raise ComponentError(f"{where} must be a list of field names or of Stream objects, got {outputs!r}")
    found: dict[str, StreamDef] = {}
    if all(isinstance(item, str) for item in outputs):
        _check_fields(where, outputs)
        if outputs:
            found[DEFAULT_STREAM] = StreamDef(DEFAULT_STREAM, tuple(outputs))
        return found
    for item in outputs:
        if not isinstance(item, Stream):
            raise ComponentError(f"{where}: expected only field names or only Stream objects, got {item!r} among them")
        if item.name in found:
            raise ComponentError(f"{where}: stream {item.name!r} is declared twice")
        found[item.name] = StreamDef(item.name, item.fields, item.direct)
    return found
