"""CheckpointStore: where checkpoints live, and what may happen to them.

Theory of operation
    A *scope* (a key group "17", or a task "t0") of a component holds its committed entries, and beside them at most one
    *prepared list*: the changes of one checkpoint, under a header that names its generation and epoch. `prepare` writes
    lists, `commit` writes the one record that makes all lists with its generation and epoch valid, `move` applies them
    to the entries piece by piece. After a crash `settle` moves the lists that the last record names and discards all
    others. Readers see entries plus the list that the last record names.

    Fencing: `acquire` gives the next generation and marks it at the topology and in every scope. Each write checks
    the mark in the same atomic step, and raises StaleGeneration where it differs.

Invariants
    - Every method may be repeated after a StateUnavailable, as it was called or from scratch, whether it took effect or
      not; a delayed copy of an earlier call does no harm.
    - `prepare` for the next epoch first moves a committed list that nobody moved yet.

A store is used by one thread; make one per thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pystorm.errors import InternalError, StaleGeneration
from pystorm.state.chunk import Chunk
from pystorm.state.record import CheckpointRecord

#: how many records `history` keeps
HISTORY_LENGTH = 100


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """What one task wrote for one checkpoint."""

    bytes: int
    #: entries set or deleted
    keys: int


@dataclass(frozen=True, slots=True)
class Catalog:
    """What is stored of a topology: (component, state) pairs and scopes, both sorted."""

    states: Sequence[tuple[str, str]]
    scopes: Sequence[str]


class CheckpointStore(Protocol):
    """The checkpoints of one topology. Every method may raise StateUnavailable."""

    def acquire(self, scopes: Collection[str]) -> int:
        """A new generation; from here on no older one can write anything to these scopes, or to any used before."""

    def settle(self, generation: int, components: Mapping[str, Collection[str]]) -> None:
        """Bring everything to the last committed state: move what was committed, discard the rest.

        Args:
            components: scopes by component; those that the store knows besides are settled too.
        """

    def commit(self, generation: int, record: CheckpointRecord) -> None:
        """The commit point: one atomic fenced write. Repeating the last one changes nothing.

        Raises:
            InternalError: another checkpoint with this epoch or a later one is already committed.
        """

    def last_commit(self) -> CheckpointRecord | None:
        """The last committed checkpoint."""

    def history(self, limit: int = HISTORY_LENGTH) -> list[CheckpointRecord]:
        """Committed checkpoints, newest first, at most HISTORY_LENGTH of them."""

    def forget(self) -> None:
        """Delete all of the topology. Only the generation's number stays, raised, so that no old process can write."""

    def drop_snapshots(self, generation: int, before_epoch: int) -> None:
        """Delete the task snapshots of all epochs before this one."""

    def prepare(self, generation: int, epoch: int, component: str, chunks: Iterable[Chunk]) -> PrepareResult:
        """Write a task's changes, not yet valid. Only the task that owns a scope prepares it.

        Repeat it with the same changes only (`Frozen.chunks` gives them again).
        """

    def move(self, generation: int, epoch: int, component: str, scopes: Collection[str]) -> None:
        """Apply the prepared lists of a committed epoch. Lists of another epoch are left alone."""

    def write_snapshot(self, generation: int, epoch: int, task: str, data: bytes) -> None:
        """Save what belongs to a task (by its label, "count-0") alone: held tuples, messages in flight.

        Valid once the epoch is committed.
        """

    def read_snapshot(self, epoch: int, task: str) -> bytes | None:
        """A task's snapshot; None if it wrote none."""

    def load(
        self, component: str, states: Sequence[str], scopes: Collection[str]
    ) -> Iterator[tuple[str, str, bytes, bytes]]:
        """(state, scope, key, value) of all moved entries, after `settle`. An entry may come twice."""

    def topologies(self) -> list[str]:
        """The names of all topologies in the same backend."""

    def catalog(self) -> Catalog:
        """What states and scopes are stored."""

    def committed_count(self, component: str, state: str, scope: str) -> int:
        """How many committed entries a scope has, moved or not."""

    def committed_scope(self, component: str, state: str, scope: str) -> dict[bytes, bytes]:
        """The committed entries of a scope, moved or not."""

    def committed_field(self, component: str, state: str, field: bytes, scopes: Sequence[str]) -> dict[str, bytes]:
        """By scope, the committed value of one key, moved or not."""

    def close(self) -> None:
        """Give up the connection."""


def stale(topology: str, generation: int, place: str, found: Any) -> StaleGeneration:
    """The error for a write by a generation other than the one that owns the place."""
    owner = f"generation {found} owns it" if found else "no generation has acquired it"
    return StaleGeneration(f"{topology}: generation {generation} must not write to {place}: {owner}")


def epoch_refused(topology: str, record: CheckpointRecord, last: str) -> InternalError:
    """The error for a commit that comes too late."""
    return InternalError(
        f"{topology}: epoch {record.epoch} of generation {record.generation} cannot be committed: {last} is"
        " committed already"
    )


def mixed_generations(topology: str, generation: int, record: CheckpointRecord) -> InternalError:
    """The error for a record that names another generation than the one that commits it."""
    return InternalError(f"{topology}: generation {generation} cannot commit a record of {record.generation}")


def foreign_chunk(topology: str, component: str, chunk: Chunk) -> InternalError:
    """The error for a chunk handed to another component's prepare."""
    return InternalError(f"{topology}: prepare of {component!r} was given a chunk of {chunk.component!r}")
