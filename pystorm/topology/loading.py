"""A topology file, YAML or Python, read and checked, in one call: what every command does first.

A mistake in the file's form does not hide one in its meaning: what could be read is checked all the same, and all
problems come at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pystorm.errors import Problem, TopologyError
from pystorm.topology import flux, validation
from pystorm.topology.flux import LoadedTopology


def read(
    path: str | Path, overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> tuple[LoadedTopology | None, list[Problem]]:
    """A topology as far as it can be read, and everything wrong with it; None if there is nothing to go on with.

    Args:
        path: the YAML file, or a Python file with a `Topology` class, which is run.
        overrides: values by name, from `--set`: as for `flux.load`; of a Python file keys of configuration, and `env`
            to choose among the numbers of a `par` per environment.
        env: the environment for `${ENV-NAME}`; default: the process's.
    """
    file = Path(path)
    if file.suffix == ".py" and file.is_file():
        from pystorm.topology.python_source import read_python  # nobody who runs a YAML file waits for it

        return read_python(file, overrides or {})
    return flux.read(path, overrides, env)


def load_checked(
    path: str | Path, overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> LoadedTopology:
    """Read a topology file and check everything that can be checked without running it.

    Args:
        path: the YAML file, or a Python file with a `Topology` class.
        overrides: values by name, from `--set`, as for `read`.
        env: the environment for `${ENV-NAME}`; default: the process's.

    Raises:
        TopologyError: with every problem, in the order of the file.
    """
    loaded, problems = read(path, overrides, env)
    if loaded is None:
        raise TopologyError(problems)
    # Where the form is wrong the meaning is too: one message per place.
    reported = {problem.place for problem in problems}
    found = validation.check(loaded.topology, loaded.places)
    problems += [problem for problem in found if problem.place is None or problem.place not in reported]
    if problems:
        raise TopologyError(flux.in_file_order(problems, loaded.topology.file))
    notes = (*loaded.notes, *validation.notes(loaded.topology, loaded.places))
    return dataclasses.replace(loaded, notes=notes)
