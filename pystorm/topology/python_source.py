"""A Python file with a `Topology` class, read as a topology file.

Theory of operation: the file is imported as a module from its own folder, as its components will be in workers; what
its class says becomes the model and the places that `flux` gives for YAML. Reading runs the user's code, so anything
may come out of it: the innermost line of the user's own is where to look.

Source: streamparse's get_topology_from_file (Parsely/streamparse streamparse/util.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pystorm
from pystorm.errors import Place, Problem, TopologyError
from pystorm.topology.classes import drop_stale, import_folders, importing_from
from pystorm.topology.config import is_config_key
from pystorm.topology.definitions import Places
from pystorm.topology.dsl import Topology, TopologyType, to_model
from pystorm.topology.flux import LoadedTopology
from pystorm.topology.suggest import hint

#: The name in `--set` that chooses among the numbers of a `par` per environment.
ENVIRONMENT = "env"

_UNUSED = "to hand a value to components, declare it in the class's config first"


def read_python(path: Path, overrides: Mapping[str, Any]) -> tuple[LoadedTopology | None, list[Problem]]:
    """The topology of a Python file; or None and what is wrong with it.

    Args:
        path: the file.
        overrides: values by name, from `--set`: keys of configuration, and `env`.
    """
    directory = os.path.abspath(path.parent)
    try:
        with importing_from(directory), contextlib.redirect_stdout(sys.stderr):
            module = _import(path, directory)
        return _loaded(_topology_class(module, path), path, directory, overrides), []
    except TopologyError as error:
        return None, [_as_named(problem, path) for problem in error.problems]


def _import(path: Path, directory: str) -> ModuleType:
    drop_stale(path.stem, directory)
    try:
        module = importlib.import_module(path.stem)
    except TopologyError:
        raise
    except (Exception, SystemExit) as exc:  # user code: whatever it is, it is reported with its line
        raise TopologyError([_problem(exc, path, directory)]) from exc
    if _is_file(getattr(module, "__file__", None) or "", path):
        return module
    message = f"Python has another module {path.stem!r}"
    raise TopologyError([Problem(message, Place(str(path)), "give the file another name")])


def _problem(exc: BaseException, path: Path, directory: str) -> Problem:
    """An exception that came out of the user's file."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return Problem(f"not valid Python: {exc.msg}", Place(exc.filename, exc.lineno or 0, exc.offset or 0))
    frames = traceback.extract_tb(exc.__traceback__)
    own = [frame for frame in frames if _is_below(frame.filename, import_folders(directory))]
    place = Place(own[-1].filename, own[-1].lineno or 0, (getattr(own[-1], "colno", None) or 0) + 1) if own else None
    message = f"the file cannot be run: {type(exc).__name__}: {exc}"
    return Problem(message, place or Place(str(path)), _advice(exc, directory))


def _advice(exc: BaseException, directory: str) -> str:
    if not isinstance(exc, ImportError):
        return ""
    if (exc.name or "").partition(".")[0] == "streamparse":
        return "write `from pystorm import ...`"
    name = re.match(r"cannot import name '(\w+)' from 'pystorm'", str(exc))
    if name:
        return hint(name[1], pystorm.__all__)
    if isinstance(exc, ModuleNotFoundError):
        return f"it is looked for in {' and '.join(import_folders(directory))} and on Python's path"
    return ""


def _topology_class(module: ModuleType, path: Path) -> TopologyType:
    """The file's own topology class, or else the one that it imports."""
    found = list(dict.fromkeys(v for v in vars(module).values() if isinstance(v, TopologyType) and v is not Topology))
    found = [cls for cls in found if cls.__module__ == module.__name__] or found
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(cls.__name__ for cls in found)
        message = f"the file has {len(found)} topologies: {names}"
        raise TopologyError([Problem(message, found[1]._place, "put each into a file of its own")])
    beside = path.with_suffix(".yaml")
    advice = f"did you mean {str(beside)!r}?" if beside.is_file() else "write `class Name(pystorm.Topology): ...`"
    raise TopologyError([Problem("this is a Python file without a Topology class", Place(str(path)), advice)])


def _loaded(cls: TopologyType, path: Path, directory: str, overrides: Mapping[str, Any]) -> LoadedTopology:
    values = dict(overrides)
    config = {key: values.pop(key) for key in overrides if is_config_key(key) or key in cls.config}
    env = _environment(cls, values)
    problems = [
        Problem(f"nothing in the topology is named {name!r}", Place(f"--set {name}"), _UNUSED) for name in values
    ]
    if problems:
        raise TopologyError(problems)
    for spec in cls.specs:
        spec.place = _named(spec.place, path)
    name = cls.name if isinstance(cls.name, str) and cls.name else path.stem
    topology = to_model(cls, name=name, directory=directory, file=str(path), env=env)
    topology = dataclasses.replace(topology, config={**topology.config, **config})
    _check_stem(topology.components.values(), path)
    return LoadedTopology(topology=topology, places=_places(cls, path, config))


def _environment(cls: TopologyType, values: dict[str, Any]) -> str | None:
    if not any(isinstance(spec.par, dict) for spec in cls.specs) or ENVIRONMENT not in values:
        return None
    return str(values.pop(ENVIRONMENT))


def _check_stem(components: Iterable[Any], path: Path) -> None:
    if not path.stem.isidentifier() and any(c.spec.class_name.startswith(f"{path.stem}.") for c in components):
        message = f"the file has components, and workers cannot import a module named {path.stem!r}"
        advice = "give the file a name of letters, digits and '_'"
        raise TopologyError([Problem(message, Place(str(path)), advice)])


def _places(cls: TopologyType, path: Path, overrides: Iterable[str]) -> Places:
    whole = _named(cls._place, path)
    places: Places = {("name",): whole, ("config",): whole}
    places |= {("config", key): Place(f"--set {key}") for key in overrides}
    places |= {("component", str(spec.name)): spec.place for spec in cls.specs}
    edges = [spec.place for spec in cls.specs for _ in spec.inputs]
    return places | {("edge", str(index)): place for index, place in enumerate(edges)}


def _as_named(problem: Problem, path: Path) -> Problem:
    return dataclasses.replace(problem, place=_named(problem.place, path)) if problem.place else problem


def _named(place: Place, path: Path) -> Place:
    """A place with the file as the user named it."""
    return dataclasses.replace(place, file=str(path)) if _is_file(place.file, path) else place


def _is_file(file: str, path: Path) -> bool:
    return bool(file) and os.path.realpath(file) == os.path.realpath(path)


def _is_below(file: str, folders: Iterable[str]) -> bool:
    return any(os.path.realpath(file).startswith(os.path.realpath(folder) + os.sep) for folder in folders)
