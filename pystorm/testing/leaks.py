"""Where a bolt may keep what no checkpoint saves: its attributes, its class, the globals of its module.

Theory of operation: `Surroundings` copies the plain data in the modules and classes behind a bolt, says afterwards what
changed, and puts it back. Containers are put back in place, so that others who hold them see it too.

What does not work: what is no plain data (open files, objects of one's own in globals), closures, other modules than
those of the bolt's classes, files, and everything outside the process.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from typing import Any

from pystorm.components import Bolt
from pystorm.state.keyvalue import KeyValueState

#: What is taken for data in a module or a class.
_DATA = (
    type(None), bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset,
    deque, Counter, defaultdict, OrderedDict,
)  # fmt: skip

_ABSENT: Any = object()
_PLAIN_EQ: Any = object.__eq__


class Surroundings:
    """The data around a bolt class, as it was when this was made."""

    def __init__(self, cls: type) -> None:
        owners = [base for base in cls.__mro__ if not _is_ours(base)]
        modules = dict.fromkeys(sys.modules[base.__module__] for base in owners if base.__module__ in sys.modules)
        self._owners: list[Any] = [*owners, *modules]
        self._before = {(id(owner), name): _copied(value) for owner, name, value in self._cells()}

    def changes(self) -> list[str]:
        """What is no longer as it was: where it is, what it was, what it is now."""
        found = []
        for owner, name, value in self._cells():
            before = self._before.get((id(owner), name), _ABSENT)
            if _differ(before, value):
                what = "class attribute" if isinstance(owner, type) else "module global"
                was = "not there" if before is _ABSENT else shown(before)
                found.append(f"{what} {owner.__name__}.{name}: {was} -> {shown(value)}")
        return found

    def put_back(self) -> None:
        """Make everything as it was."""
        for owner, name, value in list(self._cells()):
            before = self._before.get((id(owner), name), _ABSENT)
            if before is _ABSENT:
                delattr(owner, name)
            elif _differ(before, value) and not _refill(value, before):
                setattr(owner, name, _copied(before))

    def _cells(self) -> Iterator[tuple[Any, str, Any]]:
        for owner in self._owners:
            for name, value in list(vars(owner).items()):
                if type(value) in _DATA and not (name.startswith("__") and name.endswith("__")):
                    yield owner, name, value


def attributes_of(instance: Any) -> dict[str, Any]:
    """The attributes that a bolt has given itself, copied where that is possible; without its states."""
    ours: set[str] = set()
    for base in type(instance).__mro__:
        if _is_ours(base):
            ours |= {*vars(base), *vars(base).get("__annotations__", {})}
    return {
        name: _copied(value)
        for name, value in vars(instance).items()
        if name not in ours and not isinstance(value, KeyValueState)
    }


def changed_attributes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The attributes that are no longer as they were: name, what it was, what it is now."""
    found = []
    for name, value in after.items():
        was = before.get(name, _ABSENT)
        if _differ(was, value):
            found.append(f"attribute self.{name}: {'not there' if was is _ABSENT else shown(was)} -> {shown(value)}")
    return found


def shown(value: Any) -> str:
    """A value in few characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_ours(cls: type) -> bool:
    return cls is object or cls.__module__ in sys.stdlib_module_names or issubclass(Bolt, cls) or _in_package(cls)


def _in_package(cls: type) -> bool:
    return cls.__module__.startswith("pystorm.") and not cls.__module__.startswith("pystorm.testing")


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # a lock, a socket, a file: only whether it is still the same one can be told
        return value


def _differ(before: Any, after: Any) -> bool:
    if before is after:
        return False
    if type(before) is not type(after):
        return True
    if isinstance(after, _DATA):
        return bool(before != after)
    if type(after).__eq__ is not _PLAIN_EQ:
        return bool(before != after)
    # objects without an equality of their own differ from their copies: look inside
    then, now = getattr(before, "__dict__", {}), getattr(after, "__dict__", {})
    return any(_differ(then.get(name, _ABSENT), value) for name, value in now.items())


def _refill(value: Any, before: Any) -> bool:
    """Put a container's old content back into it; False if it cannot be changed in place."""
    if type(value) is not type(before) or not isinstance(value, (list, dict, set, deque, bytearray)):
        return False
    fresh = _copied(before)
    value.clear()
    if isinstance(value, (dict, set)):
        value.update(fresh)
    else:
        value.extend(fresh)
    return True
