"""Runs one task of a spout: calls `next_tuple`, keeps the ledger of its trees, releases and replays messages.

What happens to a message (INV-5, INV-9):

- its tree completes: without checkpoints the message is released (`ack`) at once; with checkpoints it is released when
  a checkpoint is committed whose barrier the spout sent after the tree was complete, so that every effect of the
  message is before the cut;
- its tree fails or times out: `Spout.fail` with the reason, a replayable spout's message is emitted again after a pause
  that grows with each failure; in exactly-once the topology rolls back instead;
- a rollback: every message that was not released fails (`Spout`), or the source is read again from the committed
  position (`ReplayableSpout`).

A snapshot of a replayable spout in at-least-once also holds the messages that were open when the barrier was sent: a
bolt may work on them only after the cut, and the committed position is past them.
"""

from __future__ import annotations

import heapq
import inspect
import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pystorm.components.spout import ReliableSpout, ReplayableSpout, Spout
from pystorm.errors import ComponentError
from pystorm.speed import SourceEmit
from pystorm.topology.config import Guarantee, Settings
from pystorm.topology.plan import Plan, Task
from pystorm.values import pack, unpack
from pystorm.worker.emitters import build_source_emit
from pystorm.worker.ledger import AckLedger
from pystorm.worker.metrics import TaskMetrics

if TYPE_CHECKING:
    from pystorm.worker.outbox import Outbox

#: What one slice of `next_tuple` calls should take, in seconds.
SLICE_S = 0.001
#: `next_tuple` calls in a slice at the most.
MAX_BURST = 1024
#: Longest pause between `next_tuple` calls of a spout that has nothing, as a multiple of the configured wait.
MAX_IDLE_FACTOR = 16
#: First and longest pause before a failed message is emitted again, in seconds.
RETRY_FIRST_S, RETRY_LONGEST_S = 0.01, 5.0


#: What a replayable spout emitted, kept until its tree is complete: values, stream, partition, position, failures.
Message = tuple[Any, "str | None", str, Any, int]


#: position of an emit that names none; None is a position
_MISSING: Any = object()


class SpoutServices(Protocol):
    """What a spout executor asks of its worker."""

    def request_rollback(self, reason: str) -> None:
        """Exactly-once: a tuple failed, the topology has to go back to its last checkpoint."""

    def give_up(self, reason: str) -> None:
        """End the run: a message cannot be processed."""

    def message_failed(self, task: Task, reason: str) -> None:
        """Log a failure."""


class SpoutExecutor:
    """One spout task. Single-threaded; the worker drives it."""

    def __init__(
        self,
        task: Task,
        spout: Spout,
        plan: Plan,
        settings: Settings,
        services: SpoutServices,
        *,
        has_checkpoints: bool,
        ledger: AckLedger,
        logger: logging.Logger,
    ) -> None:
        self.task = task
        self.logger = logger
        self.spout = spout
        self.outbox: Outbox  # attached right after, because it calls back into the executor
        self.ledger = ledger
        self.is_replayable = isinstance(spout, ReplayableSpout)
        self.is_finished = False
        self.is_draining = False
        self.acked = 0
        self.failed = 0
        self.wake_s = 0.0
        self.metrics = TaskMetrics(task.component)
        #: partition -> position of what was emitted last; its keys are the partitions of this task
        self.positions: dict[str, Any] = {}
        self._emitted = 0
        self._source: SourceEmit | None = None
        self._plan = plan
        self._services = services
        self._guarantee = settings.guarantee
        self._timeout_s = settings.message_timeout_s if settings.message_timeouts_enabled else 0.0
        self._next_expire_s = 0.0
        self._max_pending = settings.max_spout_pending
        self._max_fails = settings.spout_max_fails
        self._wait_s = settings.spout_wait_ms / 1000
        self._idle_factor = 1
        self._burst = 1
        self._has_checkpoints = has_checkpoints
        self._retries: list[tuple[float, int, Message]] = []
        self._order = itertools.count()
        self._completed: list[Any] = []
        self._releasing: dict[int, list[Any]] = {}
        self._committing: dict[int, dict[str, Any]] = {}
        self._fail_takes_reason = _takes_reason(spout.fail)
        self._owner = threading.get_ident()

    # -- emitting ----------------------------------------------------------------------------------------------

    def build_emit(self) -> Callable[..., Any]:
        """The emit function of the spout, for the outbox of this generation."""
        if self._source is not None:
            self._emitted += self._source.count
            self._source.retire()  # the spout may have kept it
            self._source = None
        if not self.is_replayable:
            return self._emit_plain
        self._source = build_source_emit(
            self._emit_replayable,
            self.outbox,
            self.ledger,
            self.positions,
            keeps_messages=self._guarantee is Guarantee.AT_LEAST_ONCE,
        )
        if self._source is None:
            return self._emit_replayable
        emit: Callable[..., Any] = self._source.emit
        return emit

    @property
    def emitted(self) -> int:
        """How often the task has emitted."""
        return self._emitted + (self._source.count if self._source is not None else 0)

    def _emit_replayable(
        self, values: Any, *, position: Any = _MISSING, partition: str = "", stream: str | None = None
    ) -> list[int] | None:
        if position is _MISSING:
            raise ComponentError(
                f"spout {self.task.component!r} emitted without position=; a ReplayableSpout says with every emit how "
                "far the source is read, such as emit([line], position=file.tell())"
            )
        self._check_thread()
        if partition not in self.positions:
            raise ComponentError(
                f"spout {self.task.component!r}, task {self.task.id} emitted for partition {partition!r}, which is not "
                f"one of its own ({sorted(self.positions)})"
            )
        guarantee = self._guarantee
        if guarantee is Guarantee.AT_MOST_ONCE:
            root = None
        elif guarantee is Guarantee.AT_LEAST_ONCE:
            root = self.ledger.open((values, stream, partition, position, 0))
        else:
            root = self.ledger.open(None)
        try:
            self.outbox.place(values, stream, root, None)
        except Exception:
            self._forget(root)
            raise
        self.positions[partition] = position
        self._emitted += 1
        return None

    def _emit_plain(
        self,
        values: Any,
        tup_id: Any = None,
        stream: str | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> list[int] | None:
        self._check_thread()
        is_tracked = tup_id is not None and self._guarantee is not Guarantee.AT_MOST_ONCE
        root = self.ledger.open((tup_id,)) if is_tracked else None
        try:
            targets = self.outbox.place(values, stream, root, direct_task)
        except Exception:
            self._forget(root)
            raise
        if tup_id is not None and not is_tracked:
            # as in Storm without ackers: the message counts as processed once it is sent
            self._completed.append(tup_id)
        self._emitted += 1
        return [buffer.channel.destination for buffer in targets] if need_task_ids else None

    def _check_thread(self) -> None:
        if threading.get_ident() != self._owner:
            raise ComponentError(
                f"spout {self.task.component!r}, task {self.task.id} emitted from another thread; put what that thread "
                "receives into a queue.SimpleQueue and emit it in next_tuple"
            )

    def _forget(self, root: int | None) -> None:
        if root is not None:
            self.ledger.close(root)

    def drop_unsendable(self, root: int | None) -> None:
        """Values that cannot travel: their tree, in which their edge id is missing, must not complete."""
        if root in self.ledger.values:
            self.failed += 1
            self._forget(root)

    # -- the loop's view ---------------------------------------------------------------------------------------

    @property
    def open(self) -> int:
        """Messages that are neither complete nor given up."""
        return len(self.ledger) + len(self._retries)

    @property
    def is_done(self) -> bool:
        """Whether nothing more will come from this task, and all that came is complete."""
        return (self.is_finished or self.is_draining) and not self.open

    def can_run(self, now_s: float) -> bool:
        """Whether a slice would do something."""
        if self.outbox.blocked:
            return False
        if self._retries and self._retries[0][0] <= now_s:
            return True
        return self._can_emit() and now_s >= self.wake_s

    def _can_emit(self) -> bool:
        return (
            not self.is_finished
            and not self.is_draining
            and not self.outbox.blocked
            and (self._max_pending is None or len(self.ledger) < self._max_pending)
        )

    def next_wake_s(self, now_s: float) -> float:
        """When the loop should look again, if nothing else happens."""
        wake = self._retries[0][0] if self._retries and not self.outbox.blocked else now_s + 60
        if self._can_emit():
            wake = min(wake, self.wake_s)
        if self._timeout_s and self.ledger.values:
            wake = min(wake, self._next_expire_s)
        return wake

    def run_slice(self, now_s: float) -> None:
        """Replay what is due, then call `next_tuple` for about a millisecond or until it has nothing."""
        self._replay(now_s)
        if not self._can_emit() or now_s < self.wake_s:
            return
        calls, is_idle = self._call_next_tuple(self._burst, now_s + SLICE_S)
        took_s = time.monotonic() - now_s
        if took_s > SLICE_S:
            self._burst = max(1, min(self._burst, calls) // 2)
        elif calls == self._burst and took_s < SLICE_S / 2:
            self._burst = min(MAX_BURST, self._burst * 2)
        if is_idle and calls == 1:
            self.wake_s = now_s + took_s + self._wait_s * self._idle_factor
            self._idle_factor = min(MAX_IDLE_FACTOR, self._idle_factor * 2)
        else:
            self._idle_factor = 1
        if self._completed and not self._has_checkpoints:
            self._release(self._take_completed())

    def _call_next_tuple(self, burst: int, deadline_s: float) -> tuple[int, bool]:
        """Call `next_tuple` until it emits nothing, may not be called or time is up; returns (calls, is idle).

        A source that was fast may begin to wait for each message, and what was emitted leaves only when this returns.
        """
        next_tuple = self.spout.next_tuple
        blocked, trees = self.outbox.blocked, self.ledger.values
        most = self._max_pending if self._max_pending is not None else sys.maxsize
        emitted = self.emitted
        for calls in range(1, burst + 1):
            next_tuple()
            before, emitted = emitted, self.emitted
            if emitted == before:
                return calls, True
            if blocked or self.is_finished or len(trees) >= most:
                return calls, False
            if not calls & 7 and time.monotonic() > deadline_s:
                return calls, False
        return burst, False

    def flush(self) -> None:
        """Send what waits in the outbox and take the guards off the new trees."""
        self.outbox.flush()
        if self.ledger.unsealed:
            self._on_complete(self.ledger.seal())

    def is_expiry_due(self, now_s: float) -> bool:
        """Whether it is time to look for trees without progress."""
        return bool(self._timeout_s) and now_s >= self._next_expire_s

    def expire(self, now_s: float) -> None:
        """Time out trees without progress."""
        self._next_expire_s = now_s + self._timeout_s / 10
        for root in self.ledger.expire(now_s, self._timeout_s):
            task = self._plan.tasks.get(self.ledger.last_seen.get(root, 0))
            seen = f"last seen at component {task.component!r}, task {task.id}" if task else "never acked by any bolt"
            self.on_fail(root, f"timed out after {self._timeout_s:g} s, {seen}")

    # -- ends of trees -----------------------------------------------------------------------------------------

    def on_acks(self, roots: list[int], xors: bytes, from_task: int) -> None:
        """Acks arrived."""
        self._on_complete(self.ledger.apply(roots, xors, from_task))

    def _on_complete(self, roots: list[int]) -> None:
        if not roots:
            return
        self.acked += len(roots)
        messages = self.ledger.close_all(roots)
        if self.is_replayable:
            return
        self._completed.extend([message[0] for message in messages])
        if not self._has_checkpoints:
            self._release(self._take_completed())

    def _take_completed(self) -> list[Any]:
        completed, self._completed = self._completed, []
        return completed

    def _release(self, tup_ids: list[Any]) -> None:
        ack = self.spout.ack
        for tup_id in tup_ids:
            ack(tup_id)

    def on_fail(self, root: int, reason: str) -> None:
        """A tree failed; later news of the same tree is ignored."""
        if root not in self.ledger.values:
            return
        self.failed += 1
        if self._guarantee is Guarantee.EXACTLY_ONCE:
            self.ledger.close(root)
            self._services.request_rollback(reason)
            return
        message = self.ledger.close(root)
        self._services.message_failed(self.task, reason)
        if self.is_replayable:
            self._retry_later(message, reason)
        else:
            self._call_fail(message[0], reason)

    def _call_fail(self, tup_id: Any, reason: str) -> None:
        if self._fail_takes_reason:
            self.spout.fail(tup_id, reason)
        else:
            self.spout.fail(tup_id)

    def _retry_later(self, message: Message, reason: str) -> None:
        values, stream, partition, position, fails = message
        fails += 1
        if fails > self._max_fails:
            shown = repr(list(values))
            shown = shown if len(shown) < 500 else shown[:500] + "..."
            self._services.give_up(
                f"spout {self.task.component!r}: the message {shown} (partition {partition!r}, position "
                f"{position!r}) failed {fails} times, last: {reason}; mend the bolt and run again (it "
                "resumes before this message), or set topology.bolt.on.error: dead-letter"
            )
        pause = min(RETRY_FIRST_S * 2 ** (fails - 1), RETRY_LONGEST_S)
        again = (values, stream, partition, position, fails)
        heapq.heappush(self._retries, (time.monotonic() + pause, next(self._order), again))

    def _replay(self, now_s: float) -> None:
        while self._retries and self._retries[0][0] <= now_s and not self.outbox.blocked:
            message = heapq.heappop(self._retries)[2]
            root = self.ledger.open(message)
            self.outbox.place(message[0], message[1], root, None)

    # -- checkpoints -------------------------------------------------------------------------------------------

    def snapshot(self, epoch: int) -> dict[str, Any]:
        """What the checkpoint has to keep of this task. The caller sends the barrier right after."""
        self._releasing[epoch] = self._take_completed()
        if not self.is_replayable:
            return {}
        positions = self._committing[epoch] = self._copied_positions()
        pending: list[Any] = []
        if self._guarantee is Guarantee.AT_LEAST_ONCE:
            waiting = [*self.ledger.messages.values(), *(message for _, _, message in self._retries)]
            pending = [[list(values), *where] for values, *where, _ in waiting]
        return {"positions": positions, "pending": pending}

    def _copied_positions(self) -> dict[str, Any]:
        """The positions as they are now: a spout may go on changing a list or dict that it gave as a position."""
        try:
            copied: dict[str, Any] = unpack(pack(self.positions))
        except (TypeError, ValueError, OverflowError) as error:
            raise ComponentError(
                f"spout {self.task.component!r}, task {self.task.id}: a position cannot be saved: {error}; positions "
                f"are what msgpack carries: numbers, text, bytes, lists and dicts of these: {self.positions!r:.300}"
            ) from error
        return copied

    def on_committed(self, epoch: int) -> None:
        """Checkpoint `epoch` is committed: release what it covers."""
        self._release(self._releasing.pop(epoch, []))
        positions = self._committing.pop(epoch, None)
        if positions and isinstance(self.spout, ReplayableSpout):
            for partition, position in positions.items():
                if position is not None:  # nothing was read of it yet
                    self.spout.committed(partition, position)

    def restore(self, positions: dict[str, Any], pending: list[list[Any]], reason: str) -> None:
        """Start or start again from a checkpoint.

        Args:
            positions: committed positions of the component's partitions, of all its tasks.
            pending: messages to emit again.
            reason: why; given to `fail` for the messages that were in flight.
        """
        open_trees = self.ledger.drop_all()
        unreleased = list(itertools.chain.from_iterable(self._releasing.values())) + self._take_completed()
        self._releasing.clear()
        self._committing.clear()
        self._retries.clear()
        self.wake_s = 0.0
        if not isinstance(self.spout, ReplayableSpout):
            self.failed += len(open_trees)
            if isinstance(self.spout, ReliableSpout):
                self.spout._is_rolling_back = True
            for tup_id in [*unreleased, *(message[0] for _, message in open_trees)]:
                self._call_fail(tup_id, reason)
            if isinstance(self.spout, ReliableSpout):
                self.spout._is_rolling_back = False
            return
        if self._guarantee is Guarantee.AT_MOST_ONCE and self.positions:
            return  # this spout lived through the failure: going back would send messages twice
        partitions = _checked_partitions(self.spout, self.task)
        tasks = len(self._plan.tasks_of[self.task.component])
        mine = [name for i, name in enumerate(partitions) if i % tasks == self.task.index]
        self.positions.clear()
        self.positions.update({name: positions.get(name) for name in mine})
        self.is_finished = not mine
        for name in mine:
            self.spout.seek(name, self.positions[name])
        now_s = time.monotonic()
        for entry in pending:
            heapq.heappush(self._retries, (now_s, next(self._order), (*entry, 0)))


def _checked_partitions(spout: ReplayableSpout, task: Task) -> list[str]:
    partitions = list(spout.partitions())
    wrong = [p for p in partitions if not isinstance(p, str)]
    if wrong or len(set(partitions)) != len(partitions):
        raise ComponentError(
            f"spout {task.component!r}: partitions() must return a list of different strings, got {partitions!r}"
        )
    return partitions


def _takes_reason(fail: Callable[..., Any]) -> bool:
    try:
        inspect.signature(fail).bind("id", "reason")
    except TypeError:
        return False
    return True
