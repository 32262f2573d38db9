"""Imports run one way: the rooms of the package know only what stands below them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pystorm"

#: Room -> rooms that it must not reach, neither directly nor through what it imports.
FORBIDDEN = {
    "pystorm.components": ["pystorm.worker", "pystorm.controller"],
    "pystorm.state": ["pystorm.worker", "pystorm.controller"],
    "pystorm.worker": ["pystorm.controller"],
}

#: The sans-IO core, by file name, and what it must not import: sockets, clocks, processes, threads, logs, Redis.
CORE = {"ledger", "aligner", "credits", "credit", "coordinator", "watermark"}
IO = {
    "asyncio", "logging", "multiprocessing", "os", "pathlib", "redis", "select", "signal", "socket", "subprocess",
    "tempfile", "threading", "time", "zmq",
}  # fmt: skip


def module_name(path: Path, package: Path) -> str:
    parts = list(path.relative_to(package.parent).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[str, bool]]:
    """Every dotted name that an import names, and whether the import runs when the module is loaded."""
    lazy = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)) or is_type_checking(outer)
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in lazy
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            base = parts[: len(parts) - node.level + is_package] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{origin}.{alias.name}", id(node) not in lazy


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def import_graphs(package: Path) -> tuple[dict[str, set[str]], dict[str, set[str]], dict[str, set[str]]]:
    """Of a package: imports between its modules at any time, those at load time, and imports from outside."""
    paths = {module_name(path, package): path for path in sorted(package.rglob("*.py"))}
    anytime: dict[str, set[str]] = {name: set() for name in paths}
    at_load: dict[str, set[str]] = {name: set() for name in paths}
    outside: dict[str, set[str]] = {name: set() for name in paths}
    for module, path in paths.items():
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for name, runs_at_load in imported_names(tree, module, path.name == "__init__.py"):
            # `from a.b import c` names a.b.c: a module, or a name inside the module a.b
            target = next((known for known in (name, name.rpartition(".")[0]) if known in paths), None)
            if target is None:
                outside[module].add(name.partition(".")[0])
            elif target != module:
                anytime[module].add(target)
                if runs_at_load:
                    at_load[module].add(target)
    return anytime, at_load, outside


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def path_into(graph: dict[str, set[str]], start: str, room: str) -> list[str] | None:
    """The shortest chain of imports from a module into a room."""
    seen = {start}
    chains = [[start]]
    for chain in chains:
        for target in sorted(graph[chain[-1]]):
            if is_in(target, room):
                return [*chain, target]
            if target not in seen:
                seen.add(target)
                chains.append([*chain, target])
    return None


def find_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def visit(module: str, chain: list[str]) -> list[str] | None:
        if module in chain:
            return [*chain[chain.index(module) :], module]
        if module in done:
            return None
        for target in sorted(graph[module]):
            if cycle := visit(target, [*chain, module]):
                return cycle
        done.add(module)
        return None

    return next((cycle for module in sorted(graph) if (cycle := visit(module, []))), None)


ANYTIME, AT_LOAD, OUTSIDE = import_graphs(PACKAGE)


@pytest.mark.parametrize(("room", "forbidden"), [(room, f) for room, many in FORBIDDEN.items() for f in many])
def test_a_room_does_not_reach_the_rooms_above_it(room: str, forbidden: str) -> None:
    modules = [module for module in ANYTIME if is_in(module, room)]
    assert modules, f"{room} has no modules: is it still named so?"
    chains = [chain for module in modules if (chain := path_into(ANYTIME, module, forbidden))]
    assert not chains, "\n".join(" -> ".join(chain) for chain in chains)


def test_the_model_imports_nothing_but_the_errors() -> None:
    assert ANYTIME["pystorm.topology.model"] <= {"pystorm.errors"}


def test_the_errors_import_nothing_of_the_package() -> None:
    assert ANYTIME["pystorm.errors"] == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    cycle = find_cycle(AT_LOAD)
    assert cycle is None, " -> ".join(cycle or [])


def test_the_protocol_core_imports_no_io() -> None:
    core = [module for module in OUTSIDE if module.rpartition(".")[2] in CORE]
    assert core, f"no module is named as one of {sorted(CORE)}"
    found = {module: sorted(OUTSIDE[module] & IO) for module in core if OUTSIDE[module] & IO}
    assert not found


def test_the_import_walk_sees_every_form_of_import(tmp_path: Path) -> None:
    package = tmp_path / "house"
    (package / "attic").mkdir(parents=True)
    (package / "__init__.py").write_text("from house import attic\n")
    (package / "attic" / "__init__.py").write_text("from . import box\nfrom ..cellar import wine\n")
    (package / "attic" / "box.py").write_text("def open_it():\n    import house.attic\n")
    (package / "cellar.py").write_text("import zmq.green\nfrom house import __doc__ as doc\nwine = 1\n")

    anytime, at_load, outside = import_graphs(package)

    assert anytime["house.attic"] == {"house.attic.box", "house.cellar"}
    assert anytime["house.attic.box"] == {"house.attic"}
    assert at_load["house.attic.box"] == set()
    assert outside["house.cellar"] == {"zmq"}
    assert path_into(anytime, "house.attic.box", "house.cellar") == ["house.attic.box", "house.attic", "house.cellar"]
    assert find_cycle(at_load) == ["house", "house.attic", "house.cellar", "house"]
