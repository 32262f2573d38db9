"""The barrier aligner: decides when a task has seen checkpoint barrier n on all its inputs.

Theory of operation. A barrier travels in the channels, behind the tuples that its checkpoint covers. A task that has
received barrier n from every task that feeds it has received every tuple before the cut. With `hold`, input from tasks
that have already sent the barrier is held back until then, so that none of what comes after the cut is in the snapshot:
that is what makes it exactly-once. Without it, tuples after the cut may be in the snapshot and are repeated after a
rollback: at-least-once.

Invariants: one checkpoint is under way at a time; a barrier of epoch n from the same source comes once; epochs rise.

Source: Carbone et al., Lightweight Asynchronous Snapshots for Distributed Dataflows (2015), algorithm 1; Storm's
BaseStatefulBoltExecutor, which counts and does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable

from pystorm.errors import InternalError


class BarrierAligner:
    """Counts the barriers of one task's inputs."""

    __slots__ = ("_inputs", "_missing", "epoch", "hold", "last_epoch")

    def __init__(self, inputs: Iterable[int], *, hold: bool) -> None:
        self._inputs = frozenset(inputs)
        self._missing: set[int] = set()
        self.hold = hold
        #: epoch being aligned, 0 if none
        self.epoch = 0
        #: last epoch that was aligned
        self.last_epoch = 0

    def on_barrier(self, source: int, epoch: int) -> bool:
        """A barrier arrived from task `source`; returns True if it was the last one of its epoch.

        Raises:
            InternalError: an unknown source, a repeated barrier, or an epoch out of order.
        """
        if source not in self._inputs:
            raise InternalError(
                f"barrier {epoch} from task {source}, which is no input (inputs: {sorted(self._inputs)})"
            )
        if not self.epoch:
            if epoch <= self.last_epoch:
                raise InternalError(f"barrier {epoch} from task {source} after barrier {self.last_epoch} was aligned")
            self.epoch = epoch
            self._missing = set(self._inputs)
        if epoch != self.epoch:
            raise InternalError(f"barrier {epoch} from task {source} while aligning {self.epoch}")
        if source not in self._missing:
            raise InternalError(f"second barrier {epoch} from task {source}")
        self._missing.discard(source)
        if self._missing:
            return False
        self.last_epoch, self.epoch = epoch, 0
        return True

    def holds(self, source: int) -> bool:
        """Whether input from task `source` has to wait until the barriers are aligned."""
        return self.hold and self.epoch != 0 and source not in self._missing

    @property
    def missing(self) -> list[int]:
        """Tasks whose barrier is still awaited, for people who ask why a checkpoint takes so long."""
        return sorted(self._missing) if self.epoch else []
