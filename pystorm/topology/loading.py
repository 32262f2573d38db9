"""A topology file, read and checked, in one call: what every command does first.

A mistake in the file's form does not hide one in its meaning: what could be read is checked all the same, and all
problems come at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pystorm.errors import TopologyError
from pystorm.topology import flux, validation
from pystorm.topology.flux import LoadedTopology


def load_checked(
    path: str | Path, overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> LoadedTopology:
    """Read a topology file and check everything that can be checked without running it.

    Args:
        path: the YAML file.
        overrides: values by name, from `--set`, as for `flux.load`.
        env: the environment for `${ENV-NAME}`; default: the process's.

    Raises:
        TopologyError: with every problem, in the order of the file.
    """
    loaded, problems = flux.read(path, overrides, env)
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
