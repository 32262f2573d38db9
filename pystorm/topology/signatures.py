"""Whether arguments from a file fit what a class or a method takes, without calling it.

Source: inspect.Signature.bind, of which this is the reading that names every argument at fault, not only the first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pystorm.errors import Problem
from pystorm.topology.suggest import hint, nearest

_Kind = inspect.Parameter


def constructor_problems(cls: Callable[..., Any], args: list[Any] | dict[str, Any]) -> list[tuple[str, Problem]]:
    """What keeps a class from being built with these arguments.

    Returns:
        Pairs of the argument at fault (its name, or its number from 0; the empty text if one is missing) and the
        problem, which has no place.
    """
    parameters = _constructor_parameters(cls)
    return [] if parameters is None else _problems(getattr(cls, "__name__", str(cls)), parameters, args)


def method_problems(cls: type, name: str, args: list[Any]) -> list[tuple[str, Problem]]:
    """What keeps a method from being called with these arguments; returns as `constructor_problems`."""
    parameters = _parameters(inspect.getattr_static(cls, name), getattr(cls, name))
    return [] if parameters is None else _problems(f"{cls.__name__}.{name}", parameters, args)


def _constructor_parameters(cls: Callable[..., Any]) -> Sequence[inspect.Parameter] | None:
    if not inspect.isclass(cls):
        return _signature(cls)
    # __init__ is asked for directly: inspect.signature(cls) would prefer a __new__(cls, *args) of a base class.
    if cls.__init__ is not object.__init__:
        found = _signature(cls.__init__)
        return None if found is None else found[1:]
    return [] if cls.__new__ is object.__new__ else _signature(cls)


def _parameters(static: Any, bound: Any) -> Sequence[inspect.Parameter] | None:
    found = _signature(bound)
    is_plain = not isinstance(static, (staticmethod, classmethod))
    return found[1:] if found is not None and is_plain else found


def _signature(function: Callable[..., Any]) -> Sequence[inspect.Parameter] | None:
    """The parameters, or None where nobody knows them, as with some classes written in C."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return None


def _problems(
    name: str, parameters: Sequence[inspect.Parameter], args: list[Any] | dict[str, Any]
) -> list[tuple[str, Problem]]:
    call = f"{name}({', '.join(map(_shown, parameters))})"
    if isinstance(args, dict):
        given, problems = _named(call, parameters, args)
    else:
        given, problems = _positional(call, parameters, args)
    for parameter in parameters:
        is_variable = parameter.kind in (_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD)
        if parameter.default is _Kind.empty and not is_variable and parameter.name not in given:
            problems.append(("", Problem(f"{call} needs the argument {parameter.name!r}")))
    return problems


def _shown(parameter: inspect.Parameter) -> str:
    if parameter.kind is _Kind.VAR_POSITIONAL:
        return f"*{parameter.name}"
    if parameter.kind is _Kind.VAR_KEYWORD:
        return f"**{parameter.name}"
    return parameter.name if parameter.default is _Kind.empty else f"{parameter.name}=..."


def _named(
    call: str, parameters: Sequence[inspect.Parameter], args: dict[str, Any]
) -> tuple[set[str], list[tuple[str, Problem]]]:
    if any(parameter.kind is _Kind.VAR_KEYWORD for parameter in parameters):
        return set(args), []
    names = [p.name for p in parameters if p.kind in (_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY)]
    unknown = [key for key in args if key not in names]
    # An argument whose name is nearly right is misspelt, not missing.
    meant = {nearest(key, names) or key for key in args}
    return meant, [(key, Problem(f"{call} has no argument {key!r}", hint=hint(key, names))) for key in unknown]


def _positional(
    call: str, parameters: Sequence[inspect.Parameter], args: list[Any]
) -> tuple[set[str], list[tuple[str, Problem]]]:
    names = [p.name for p in parameters if p.kind in (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD)]
    given = set(names[: len(args)])
    if len(args) <= len(names) or any(p.kind is _Kind.VAR_POSITIONAL for p in parameters):
        return given, []
    message = f"{call} takes {len(names)} positional arguments, got {len(args)}"
    return given, [(str(len(names)), Problem(message, hint="remove what is too many"))]
