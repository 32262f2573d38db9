"""`pystorm validate`: everything wrong with a topology file, without running it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pystorm.cli.options import file_argument, json_option, parse_overrides, set_option
from pystorm.cli.output import print_json, print_line
from pystorm.errors import ConfigError, Problem, TopologyError


@click.command()
@file_argument
@set_option
@json_option("One JSON object with all problems.")
def validate(file: Path, overrides: tuple[str, ...], as_json: bool) -> int:
    """Check the topology in FILE without running it, and tell every problem, not only the first."""
    from pystorm.cli.graph import headline
    from pystorm.controller.datadir import DataDirectory
    from pystorm.topology.loading import load_checked

    values = parse_overrides(overrides)
    try:
        loaded = load_checked(file, values)
        DataDirectory(Path(), loaded.topology.name)  # its name must be able to name a folder
    except (TopologyError, ConfigError) as error:
        if not as_json:
            raise
        problems = error.problems if isinstance(error, TopologyError) else (error.problem,)
        print_json({"file": str(file), "ok": False, "problems": [problem_to_json(p) for p in problems]})
        return 2
    if as_json:
        notes = [problem_to_json(note) for note in loaded.notes]
        print_json({"file": str(file), "ok": True, "topology": loaded.topology.name, "problems": [], "notes": notes})
        return 0
    for note in loaded.notes:
        sys.stderr.write(f"note: {note}\n")
    print_line(f"ok: {headline(loaded.topology)}")
    return 0


def problem_to_json(problem: Problem) -> dict[str, Any]:
    """A problem for machines; line and column count from 1, 0 where unknown."""
    place = problem.place
    return {
        "file": place.file if place else None,
        "line": place.line if place else 0,
        "column": place.column if place else 0,
        "message": problem.message,
        "hint": problem.hint,
    }
