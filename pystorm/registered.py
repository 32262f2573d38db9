"""Types of the user's own that may travel: enums, dataclasses, named tuples, and whatever comes with two functions.

Theory of operation. A value of a registered type is packed as the type's *name* and plain data. Reading looks the name
up among the types that this process has registered; nothing is ever imported or called because data says so. Modules
register their types when they are imported, so a process that reads a name it does not know first imports the modules
of its topology's components, once, if somebody has said how (`set_type_importer`); then it gives an `UnreadableValue`.

Invariants: a name stands for one type; what is registered under a name is what was packed under it.

Source: Flink's registered types (TypeSerializer registration) and Kryo's `register`, which Storm uses for the same.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, overload

from pystorm.errors import ComponentError

_T = TypeVar("_T", bound=type)


@dataclasses.dataclass(frozen=True, slots=True)
class Registration:
    """How values of one type become plain data and back."""

    cls: type
    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


_by_class: dict[type, Registration] = {}
_by_name: dict[str, Registration] = {}
_importer: Callable[[], None] | None = None


class UnreadableValue:
    """Stands for a value that this process cannot read; it can be passed on and shown, but not used."""

    __slots__ = ("code", "data", "reason")

    code: int
    data: bytes
    reason: str

    def __init__(self, code: int, data: bytes, reason: str) -> None:
        self.code = code
        self.data = data
        self.reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name!r} of a value that cannot be read: {self.reason}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnreadableValue) and (self.code, self.data) == (other.code, other.data)

    def __hash__(self) -> int:
        return hash((self.code, self.data))

    def __repr__(self) -> str:
        return f"<unreadable value of {len(self.data)} bytes: {self.reason}>"


@overload
def register_type(
    cls: _T,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> _T: ...


@overload
def register_type(
    cls: None = None,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> Callable[[_T], _T]: ...


def register_type(
    cls: Any = None,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> Any:
    """Let values of a type travel in tuples and live in state. A function, or a decorator of the class.

    >>> @register_type
    ... @dataclasses.dataclass
    ... class Order:
    ...     item: str
    ...     price: int = 0

    Args:
        cls: an enum, a dataclass, a named tuple; or any class, with `encode` and `decode`.
        name: what data calls the type; default: its module and name. Give one to be free to move the class later.
        encode: from a value to something that can travel.
        decode: the inverse.

    A field that a dataclass has gained since a value was packed gets its default; one that it has lost is left out.
    `__init__` and `__post_init__` are not called again.

    Raises:
        ComponentError: not a class; a class that needs `encode` and `decode`; a name that another class has.
    """
    if cls is None:
        return lambda decorated: register_type(decorated, name=name, encode=encode, decode=decode)
    if not isinstance(cls, type):
        raise ComponentError(f"register_type takes a class, got {cls!r:.100}")
    if (encode is None) != (decode is None):
        raise ComponentError(f"register_type({cls.__qualname__}): give both encode and decode, or neither")
    if encode is None or decode is None:
        encode, decode = _codec_of(cls)
    wanted = name or f"{cls.__module__}.{cls.__qualname__}"
    other = _by_name.get(wanted)
    if other is not None and (other.cls.__module__, other.cls.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ComponentError(
            f"register_type({cls.__qualname__}): the name {wanted!r} is taken by {other.cls.__module__}."
            f"{other.cls.__qualname__}; give one of the two another name"
        )
    _by_class[cls] = _by_name[wanted] = Registration(cls, wanted, encode, decode)
    return cls


def set_type_importer(importer: Callable[[], None] | None) -> None:
    """Say how to import the modules that may register types; called at most once, when a name is not known."""
    global _importer
    _importer = importer


def registration_of(cls: type) -> Registration | None:
    """How values of exactly this type are packed; None if it is not registered."""
    return _by_class.get(cls)


def registration_named(name: str) -> Registration | None:
    """The type that data calls `name`, after a look into the topology's modules if need be."""
    global _importer
    found = _by_name.get(name)
    if found is None and _importer is not None:
        importer, _importer = _importer, None
        importer()
        found = _by_name.get(name)
    return found


def _codec_of(cls: type) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    if issubclass(cls, enum.Flag):  # a combination of members has no name of its own
        return lambda member: member.value, cls
    if issubclass(cls, enum.Enum):
        return lambda member: member.name, lambda name: cls[name]
    if dataclasses.is_dataclass(cls):
        return _dataclass_codec(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return list, lambda values: tuple.__new__(cls, values)
    raise ComponentError(
        f"register_type({cls.__qualname__}): it is no enum, dataclass or named tuple; give encode=, a function from a "
        "value to plain data, and decode=, its inverse"
    )


def _dataclass_codec(cls: type) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    fields = dataclasses.fields(cls)

    def encode(value: Any) -> dict[str, Any]:
        return {field.name: getattr(value, field.name) for field in fields}

    def decode(data: dict[str, Any]) -> Any:
        made: Any = object.__new__(cls)
        for field in fields:
            if field.name in data:
                value = data[field.name]
            elif field.default is not dataclasses.MISSING:
                value = field.default
            elif field.default_factory is not dataclasses.MISSING:
                value = field.default_factory()
            else:
                raise ValueError(f"a packed {cls.__qualname__} has no field {field.name!r}; give the field a default")
            object.__setattr__(made, field.name, value)  # a frozen dataclass takes it only so
        return made

    return encode, decode
