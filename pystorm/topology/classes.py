"""Users' classes, looked at but never built: finding one by its dotted name, and saying well why that fails.

Importing a module runs the user's code, so anything may come out of it. What does is reported with the innermost line
of the user's own, as that is the line to look at. What the module prints while it is imported goes to stderr, to keep
stdout for the command's own output.

A process may look at several topologies, each with its own module `wordcount` beside the file. Python keeps one module
per name; one that was loaded from another folder is dropped when this folder has its own.

Source: Python reference, 5 (the import system).
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from pystorm.errors import Problem
from pystorm.topology.suggest import hint, nearest

#: First parts of the names of Java packages, as in topologies that come from Storm.
_JAVA_ROOTS = ("org", "com", "backtype")


@contextlib.contextmanager
def importing_from(directory: str) -> Iterator[None]:
    """Inside, modules in `import_folders` are found before all others; afterwards `sys.path` is as it was."""
    before = list(sys.path)
    sys.path[:0] = import_folders(directory)
    # The folder's files may be newer than what the import system remembers of it.
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def import_folders(directory: str) -> list[str]:
    """Folders in which a topology's modules are found before all others: its own and, where it lies in the folder
    `topologies` of a streamparse project, the project's `src`.
    """
    above, name = os.path.split(os.path.abspath(directory))
    source = os.path.join(above, "src")
    return [directory, source] if name == "topologies" and os.path.isdir(source) else [directory]


def find_class(dotted: str, directory: str) -> Any:
    """The class (or another thing that can be called) with a dotted name, or a `Problem` without a place.

    Args:
        dotted: `module.Class`; the module may be in packages.
        directory: the topology's folder, for suggestions. Call this inside `importing_from(directory)`.
    """
    module_name, _, name = dotted.rpartition(".")
    if not module_name or not name or not all(part.isidentifier() for part in dotted.split(".")):
        return Problem(f"className {dotted!r} is not of the form module.Class", hint=_form_hint(dotted, directory))
    module = _import(module_name, dotted, directory)
    if isinstance(module, Problem):
        return module
    found = getattr(module, name, None)
    if found is None:
        return Problem(f"module {module_name!r} has no class {name!r}", hint=hint(name, _classes_of(module)))
    if not callable(found):
        return Problem(f"{dotted!r} is not a class but {type(found).__name__}", hint=hint(name, _classes_of(module)))
    return found


def _form_hint(dotted: str, directory: str) -> str:
    if dotted.isidentifier():
        own = _modules_in(directory)
        return f"write {own[0]}.{dotted}" if len(own) == 1 else f"write the module too, as in module.{dotted}"
    return "write module.Class, for example wordcount.SplitBolt"


def _import(name: str, dotted: str, directory: str) -> ModuleType | Problem:
    drop_stale(name.partition(".")[0], directory)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name and (name == exc.name or name.startswith(exc.name + ".")):
            return _missing_module(exc.name, dotted, directory)
        advice = f"install it, or is {exc.name!r} misspelt?" if exc.name else ""
        return Problem(f"module {name!r} cannot be imported: {_reason(exc, directory)}", hint=advice)
    except (Exception, SystemExit) as exc:
        return Problem(f"module {name!r} cannot be imported: {_reason(exc, directory)}")


def _missing_module(missing: str, dotted: str, directory: str) -> Problem:
    parent, _, last = missing.rpartition(".")
    message = f"there is no module {missing!r}"
    if parent:
        paths = getattr(sys.modules.get(parent), "__path__", [])
        return Problem(message, hint=hint(last, [module.name for module in pkgutil.iter_modules(paths)]))
    close = nearest(missing, _modules_in(directory))
    if close:
        return Problem(message, hint=f"did you mean {close + dotted[len(missing) :]!r}?")
    if missing in _JAVA_ROOTS:
        return Problem(message, hint="Java components cannot run here: write the component in Python")
    return Problem(message, hint=f"it is looked for in {directory} and on Python's path")


def _modules_in(directory: str) -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules([directory]))


def _classes_of(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if inspect.isclass(value) and not name.startswith("_")]


def drop_stale(root: str, directory: str) -> None:
    """Forget a top-level module of this name from another folder, when this folder has one of its own."""
    loaded = sys.modules.get(root)
    if loaded is None or root == "pystorm" or root in sys.stdlib_module_names or root not in _modules_in(directory):
        return
    origins = [getattr(loaded, "__file__", None), *getattr(loaded, "__path__", [])]
    if not any(origin and _is_inside(origin, directory) for origin in origins):
        for name in [name for name in sys.modules if name == root or name.startswith(root + ".")]:
            del sys.modules[name]


def _is_inside(path: str, directory: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(directory) + os.sep)


def _reason(exc: BaseException, directory: str) -> str:
    """The error with the line of the user's own where it came out."""
    kind = type(exc).__name__
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}:{exc.lineno}:{exc.offset}: {kind}: {exc.msg}"
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if not f.filename.startswith("<frozen")]
    # The first two frames are this module's and importlib's own.
    foreign = [f for f in frames if f.filename not in (__file__, importlib.__file__)]
    own = [f for f in foreign if _is_inside(f.filename, directory)] or foreign
    where = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    return f"{where}{kind}: {exc}"
