"""Runs one task of a batching bolt: holds its tuples until their group was processed, then settles them together.

Theory of operation. To the executor below it is a bolt that acks for itself: every tuple is in `inflight` from the
moment it comes. Groups are processed when the bolt says so (ticks), when their time is up, before the barrier of a
checkpoint is passed on, and as soon as nothing waits once the topology's input has ended, since trees that wait for a
batch would keep the run from ending.

Invariants: a group's tuples are settled at most once, INV-4, and before the next group is begun, unless the bolt
settles them itself; while they wait for their batch their trees do not time out.

What does not work: all groups are processed in one go, even if a channel runs out of credit meanwhile; it then holds
its window plus what they emit.
"""

from __future__ import annotations

import traceback
from typing import Any

from pystorm.components.batching import BatchingBolt
from pystorm.components.tuples import Tuple
from pystorm.errors import ComponentError
from pystorm.state.batches import BatchWrites
from pystorm.worker.bolt_executor import BoltExecutor
from pystorm.worker.channels import InStream

#: Time between ticks of a batching bolt that has neither a tick frequency nor `secs_between_batches`, in seconds.
DEFAULT_TICK_S = 1.0


class BatchExecutor(BoltExecutor):
    """One task of a batching bolt."""

    def __init__(self, task: Any, bolt: BatchingBolt, *, writes: BatchWrites, **rest: Any) -> None:
        super().__init__(task, bolt, **rest)
        self.auto_ack = False  # as the executor below understands it: no tuple is done when `process` returns
        self._batching = bolt
        self._writes = writes
        self._tick_due_s = self.next_tick_s
        self._batch_due_s: float | None = None
        self._is_dry = False
        #: roots of the present group's open tuples, and how many tuples were open when they were collected
        self._group_roots: tuple[int, Any] | None = None
        bolt._run_group = self._run_group

    def take_switches(self) -> None:
        """Nothing: they are read when a group is through."""

    # -- when ------------------------------------------------------------------------------------------------------

    def run_slice(self) -> None:
        """As the base's; a group that has begun to wait gets its deadline."""
        super().run_slice()
        self._look_again()

    def redeliver(self, component: str, stream: InStream, source: int, row: list[Any]) -> None:
        """As the base's."""
        super().redeliver(component, stream, source, row)
        self._look_again()

    def _look_again(self) -> None:
        """Have `tick` called in this turn if there is a deadline to set or nothing to wait for."""
        if self._batching._batches and (self._is_dry or self._needs_deadline()):
            self.next_tick_s = 0.0

    def _needs_deadline(self) -> bool:
        return self._batch_due_s is None and self._batching.secs_between_batches is not None

    def tick(self, now_s: float) -> None:
        """Call `process_tick` if it is due, and process the groups if their time is up."""
        if self.outbox.blocked:
            return
        bolt = self._batching
        self.next_tick_s = self._tick_due_s
        super().tick(now_s)
        self._tick_due_s = self.next_tick_s
        if bolt._batches and self._needs_deadline():
            self._batch_due_s = now_s + float(bolt.secs_between_batches or 0)
        is_due = self._batch_due_s is not None and now_s >= self._batch_due_s
        if bolt._batches and (is_due or (self._is_dry and not self.has_work)):
            bolt.process_batches()
        if not bolt._batches:
            self._batch_due_s = None
        self.next_tick_s = min((due for due in (self._tick_due_s, self._batch_due_s) if due is not None), default=None)

    def before_barrier(self) -> None:
        """Process every group, so that the checkpoint holds their effects instead of their tuples."""
        self._batching.process_batches()

    def on_dry(self) -> None:
        """The topology's input has ended: groups wait no longer than there are tuples to come."""
        self._is_dry = True
        self._look_again()

    def unprocessed_roots(self) -> list[int]:
        """As the base's, with the tuples that wait for their batch: they are slow, not stuck."""
        found = super().unprocessed_roots()
        for tups in self._batching._batches.values():
            roots = self.roots_of([tup for tup in tups if tup.id in self.inflight])
            found += roots if isinstance(roots, tuple) else [roots] if roots is not None else []
        return found

    # -- a group ---------------------------------------------------------------------------------------------------

    def _run_group(self, key: Any, tups: list[Tuple]) -> None:
        bolt, current = self._batching, self.current
        before = current.tup, current.root, bolt._current_tups, self._group_roots
        own = list(tups)  # the bolt may change its list
        bolt._current_tups, self._group_roots = own, None
        try:
            with self._writes.by(own):
                bolt.process_batch(key, tups)
        except Exception as error:  # user code: its error fails the group, the task goes on with the next one
            self._on_group_exception(own, error)
        else:
            if bolt.auto_ack:
                for tup in self._open(own):
                    self.ack(tup)
        finally:
            current.tup, current.root, bolt._current_tups, self._group_roots = before

    def _open(self, tups: list[Tuple]) -> list[Tuple]:
        return [tup for tup in tups if tup.id in self.inflight]

    def _on_group_exception(self, tups: list[Tuple], error: Exception) -> None:
        reason = self._services.user_error(self, tups[0], error)
        if self._on_error == "crash":
            self._services.crash(reason)
        if self._on_error == "dead-letter":
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            for tup in self._open(tups):
                row = [f"{type(error).__name__}: {error}", text, list(tup.values)]
                self.outbox.place(row, "dead_letter", self.roots_of([tup]), None)
                self.ack(tup)
        elif self.bolt.auto_fail:
            for tup in self._open(tups):
                self._settle_failed(tup, reason)

    def current_roots(self) -> Any:
        """Roots of all the tuples of the present group that are not settled, or of the tuple being processed.

        Raises:
            ComponentError: the bolt settled all of them already.
        """
        group = self._batching._current_tups
        if not group:
            return super().current_roots()
        count = len(self.inflight)
        if self._group_roots is None or self._group_roots[0] != count:
            left = self._open(group)
            if not left:
                raise self._settled_error(group[0], "anchored to")
            self._group_roots = count, self.roots_of(left)
        return self._group_roots[1]

    def ack_by_user(self, tup: Any) -> None:
        """The bolt acks a tuple.

        Raises:
            ComponentError: `auto_ack` is on, or the tuple was settled before.
        """
        if self._batching.auto_ack:
            raise ComponentError(
                f"component {self.task.component!r}: ack called although auto_ack is on, which acks every tuple of a "
                "group when process_batch returns; set auto_ack = False on the class to ack by hand"
            )
        super().ack_by_user(tup)
