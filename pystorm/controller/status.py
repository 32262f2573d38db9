"""What a running topology looks like from outside, and who looks at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(slots=True)
class ComponentStatus:
    """Counters of a component since the run started. `pending`: a spout's open trees, a bolt's queued tuples."""

    id: str
    kind: str
    tasks: int
    emitted: int = 0
    acked: int = 0
    failed: int = 0
    processed: int = 0
    pending: int = 0
    #: what the component gave to `report_metric`, by name
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RunStatus:
    """A running topology at one moment."""

    topology: str
    phase: str
    elapsed_s: float
    generation: int
    components: list[ComponentStatus] = field(default_factory=list)
    checkpoints: int = 0
    #: epoch, duration and age of the last committed checkpoint of this run; 0 before the first
    last_epoch: int = 0
    last_checkpoint_ms: float = 0.0
    last_checkpoint_age_s: float = 0.0
    recoveries: int = 0


@dataclass(slots=True)
class RunResult:
    """How a run ended. `outcome`: finished (all input worked off), drained (asked to end), failed, aborted."""

    topology: str
    outcome: str
    seconds: float
    components: list[ComponentStatus]
    checkpoints: int
    recoveries: int
    cause: str = ""
    #: (component, exception type, line, count) of user errors
    errors: list[tuple[str, str, str, int]] = field(default_factory=list)


class Observer(Protocol):
    """Somebody who shows a run to people."""

    def event(self, level: str, text: str) -> None:
        """Something worth a line happened. Levels are those of logging."""

    def progress(self, status: RunStatus) -> None:
        """Called about twice a second."""
