"""Every exception that pystorm raises, in one tree, split by who has to act.

::

    PystormError
    ├── UserError                 the user changes a file, an option or a component
    │   ├── ConfigError           one mistake, with its place
    │   ├── TopologyError         all mistakes of a topology at once
    │   ├── ComponentError        a spout or bolt broke the contract (double ack, wrong number of values)
    │   ├── AlreadyRunning        another controller owns the topology's data directory
    │   └── DependencyMissing     a program or package that has to be installed
    ├── TopologyFailed            a run gave up, with the cause
    ├── RetryableError            trying again later may work
    │   └── StateUnavailable      the state backend does not answer
    ├── StaleGeneration           this process belongs to a past generation and must stop writing
    └── InternalError             a broken invariant: a bug in pystorm
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a file, and inside it a line and a column, both counted from 1 (0: unknown)."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: what is wrong, where, and what would be right."""

    message: str
    place: Place | None = None
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}; {self.hint}" if self.hint else text


class PystormError(Exception):
    """Base of all errors that pystorm raises on purpose."""


class UserError(PystormError):
    """Something that the user wrote has to change."""


class ConfigError(UserError):
    """One mistake in a file or an option."""

    def __init__(self, message: str, *, place: Place | None = None, hint: str = "") -> None:
        self.problem = Problem(message, place, hint)
        super().__init__(str(self.problem))


class TopologyError(UserError):
    """All the mistakes found in one topology."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ComponentError(UserError):
    """A spout or bolt broke the contract; the message names the component and the tuple."""


class AlreadyRunning(UserError):
    """Another live controller owns this topology in this data directory."""


class DependencyMissing(UserError):
    """A program or package is missing; the message says how to get it."""


class TopologyFailed(PystormError):
    """The run ended because it could not go on; the message is the cause."""


class RetryableError(PystormError):
    """The same call may succeed later."""


class StateUnavailable(RetryableError):
    """The state backend cannot be reached or refuses to work for now."""


class StaleGeneration(PystormError):
    """A newer generation of the topology exists; this process must not write any more."""


class InternalError(PystormError):
    """An invariant is broken: a bug in pystorm, please report it with the message."""
