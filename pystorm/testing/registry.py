"""Makes classes that have no importable name, such as those inside a test function, known to the builder by name."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

#: Where such classes live for the builder, which knows classes by their dotted name.
_CLASSES = types.ModuleType("pystorm_testing_classes")
sys.modules[_CLASSES.__name__] = _CLASSES


def publish(cls: type) -> str:
    """Make a class importable, however local it is; returns its dotted name.

    >>> publish(int).startswith("pystorm_testing_classes.int_")
    True
    """
    name = f"{cls.__name__}_{id(cls)}"
    setattr(_CLASSES, name, cls)
    return f"{_CLASSES.__name__}.{name}"


def class_giving(cls: type, make: Callable[[], Any]) -> type:
    """A class that, when it is called, gives what `make` makes: an instance of `cls`."""

    def give(_cls: type, *_args: Any, **_kwargs: Any) -> Any:
        return make()

    return type(cls.__name__, (cls,), {"__new__": give, "__module__": cls.__module__})
