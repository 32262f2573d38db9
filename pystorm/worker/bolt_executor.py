"""Runs one task of a bolt: takes batches from its queue, calls `process`, acks, aligns barriers.

The executor works in slices of about a millisecond: after a slice its acks are merged, and the worker looks at sockets
and at other tasks. A bolt with
`auto_ack` is acked in bulk, one XOR per tuple after each slice; a bolt that acks for itself has each tuple registered
in `inflight` until it does.

Invariants: a tuple is settled (acked or failed) at most once, INV-4; no input is taken while the outbox is
blocked for want of credit, INV-2.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Protocol

from pystorm.components.bolt import Bolt
from pystorm.components.tuples import SYSTEM_COMPONENT, TICK_STREAM, Tuple
from pystorm.errors import ComponentError
from pystorm.speed import BatchRunner, Current, make_tuples, pack_u64, xor_edges
from pystorm.topology.plan import Task
from pystorm.worker import wire
from pystorm.worker.aligner import BarrierAligner
from pystorm.worker.channels import InBarrier, InBatch, InStream
from pystorm.worker.credits import CreditGranter, Pace
from pystorm.worker.ledger import SEQUENCE_BITS
from pystorm.worker.metrics import TaskMetrics

if TYPE_CHECKING:
    from pystorm.worker.outbox import Outbox

#: What one slice of processing should take, in seconds.
SLICE_S = 0.001
#: Tuples in a slice at the most.
MAX_SLICE = 2048


class Services(Protocol):
    """What executors ask of their worker."""

    def send_acks(self, spout_task: int, roots: list[int], xors: bytes, from_task: int) -> None:
        """Bring acks to the ledger of a spout task."""

    def send_fails(self, spout_task: int, fails: list[tuple[int, str]], from_task: int) -> None:
        """Bring failures to the ledger of a spout task."""

    def send_credit(self, source: int, from_task: int, units: int, pace: int) -> None:
        """Give credit back to a source task, and tell it what a tuple costs this one (see `credits.Pace`)."""

    def tuple_failed(self, executor: BoltExecutor, root: Any, reason: str) -> bool:
        """A tuple failed; returns True if its trees are to be failed at their ledgers."""

    def user_error(self, executor: BoltExecutor, tup: Tuple | None, error: Exception) -> str:
        """Log an exception of user code; returns it in one line."""

    def crash(self, reason: str) -> None:
        """End the worker process because of user code (`topology.bolt.on.error: crash`)."""

    def on_aligned(self, executor: BoltExecutor, epoch: int) -> None:
        """All barriers of `epoch` are in: snapshot the task and send the barrier on."""


class Held:
    """A tuple that a bolt has received and not settled yet."""

    __slots__ = ("edge", "root", "tup")

    def __init__(self, tup: Tuple, root: Any, edge: int) -> None:
        self.tup = tup
        self.root = root
        self.edge = edge


class BoltExecutor:
    """One bolt task. Single-threaded; the worker drives it through `run_slice`, `tick` and `flush`."""

    def __init__(
        self,
        task: Task,
        bolt: Bolt,
        *,
        streams: list[InStream],
        sources: Iterable[int],
        aligner: BarrierAligner,
        current: Current,
        services: Services,
        on_error: str,
        tick_freq_s: float | None,
        window: int,
        logger: logging.Logger,
    ) -> None:
        self.task = task
        self.logger = logger
        self.bolt = bolt
        self.outbox: Outbox  # by `attach`, because it calls back into the executor
        self.aligner = aligner
        self.current = current
        self.auto_ack = bool(bolt.auto_ack)
        self.queue: deque[InBatch | InBarrier] = deque()
        self.inflight: dict[Any, Held] = {}
        #: tuples given back by a rollback that are not settled yet (they belong to no tree)
        self.redelivered: set[Any] = set()
        self.metrics = TaskMetrics(task.component)
        self.processed = 0
        self.acked = 0
        self.failed = 0
        self.next_tick_s = time.monotonic() + tick_freq_s if tick_freq_s else None
        self._tick_freq_s = tick_freq_s
        self._parked: list[InBatch | InBarrier] = []
        self._services = services
        self._streams = streams
        self._on_error = on_error
        self._next_id = 1
        self._acks: dict[Any, int] = {}
        self._has_multi = False
        self._fails: list[tuple[int, str]] = []
        self.credits = CreditGranter(sources, window)
        self.pace = Pace()
        self._runner: BatchRunner
        # the batch being worked on
        #: when the batch before it was done, or this one began; 0 while there is nothing to do
        self._busy_since_s = 0.0
        self._batch: InBatch | None = None
        #: time spent in it so far
        self._spent_s = 0.0
        self._iterator: Iterator[tuple[Tuple, Any]] = iter(())
        self._first_id = 0
        self._done = 0
        self._excluded: set[int] = set()
        self._limit = 1
        self._owner = threading.get_ident()

    def attach(self, outbox: Outbox) -> None:
        """Give the executor its outbox."""
        self.outbox = outbox
        self._runner = BatchRunner(self.bolt.process, self.current, Tuple, outbox.blocked)

    def take_switches(self) -> None:
        """`initialize` may have set the bolt's switches."""
        self.auto_ack = bool(self.bolt.auto_ack)

    # -- input -------------------------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether a slice would do something."""
        return (self._batch is not None or bool(self.queue)) and not self.outbox.blocked

    @property
    def backlog(self) -> Iterable[InBatch | InBarrier]:
        """Everything that waits in queues, oldest first; not the batch being worked on."""
        return itertools.chain(self._parked, self.queue)

    def unprocessed_roots(self) -> list[int]:
        """Every root of the tuples whose turn in the batch being worked on is yet to come."""
        return self._batch.tree_roots(self._done) if self._batch is not None else []

    def run_slice(self) -> None:
        """Process up to a millisecond's worth of input. Call it only if `has_work`."""
        if self._batch is None and not self._start_next():
            return
        batch = self._batch
        assert batch is not None
        done = self._done
        count = min(self._limit, batch.count - done)
        started = time.perf_counter()
        process = self._process if self.auto_ack else self._process_manual
        end = process(done, done + count, started + SLICE_S)
        took_s = time.perf_counter() - started
        self._spent_s += took_s
        self._adapt(took_s, end - done)
        self.processed += end - done
        self._done = end
        if self.auto_ack:
            self._ack_slice(batch, done, end)
        if self._done == batch.count:
            self._finish_batch(batch)

    def _start_next(self) -> bool:
        """Take the next batch from the queue, handling barriers on the way."""
        queue, aligner = self.queue, self.aligner
        while queue:
            item = queue.popleft()
            if aligner.epoch and aligner.holds(item.source):
                self._parked.append(item)
            elif isinstance(item, InBarrier):
                if aligner.on_barrier(item.source, item.epoch):
                    queue.extendleft(reversed(self._parked))
                    self._parked.clear()
                    self.before_barrier()
                    self._services.on_aligned(self, item.epoch)
                    if self.outbox.blocked:
                        return False
            else:
                self._begin(item)
                return True
        return False

    def before_barrier(self) -> None:
        """A checkpoint's barrier is about to be passed on: do what should be in it."""

    def on_dry(self) -> None:
        """The topology's input has ended: what waits for more should not."""

    def _begin(self, batch: InBatch) -> None:
        if not self._busy_since_s:
            self._busy_since_s = time.perf_counter()
        batch.decode()
        stream = self._streams[batch.stream]
        self._first_id = first = self._next_id
        self._next_id = first + batch.count
        rows, batch.rows = batch.rows or [], None
        origin = (stream.component, stream.name, batch.source)
        self._batch = batch
        self._done = 0
        try:
            if self.auto_ack:
                self._runner.begin(stream.values_class, stream.width, rows, batch.roots, first, *origin)
            else:
                tuples = make_tuples(Tuple, stream.values_class, stream.width, rows, first, *origin)
                self._iterator = zip(tuples, batch.roots if batch.roots is not None else repeat(None))
        except ValueError as error:
            raise self._row_error(error) from error

    def _row_error(self, error: Exception) -> ComponentError:
        assert self._batch is not None
        stream = self._streams[self._batch.stream]
        return ComponentError(
            f"component {stream.component!r}, task {self._batch.source} sent {error} of stream {stream.name!r} to "
            f"{self.task.component!r}: it must have changed the list after emitting it; emit a new list each time"
        )

    def _finish_batch(self, batch: InBatch) -> None:
        self._batch = None
        self._runner.end()
        now_s = time.perf_counter()
        units = self.credits.on_batch(batch.source, batch.cost, now_s - self._busy_since_s)
        self._busy_since_s = now_s if self.queue else 0.0
        self.pace.on_batch(batch.count, self._spent_s)
        self._spent_s = 0.0
        if units:
            self._services.send_credit(batch.source, self.task.id, units, self.pace.code)

    def _adapt(self, took_s: float, count: int) -> None:
        if took_s > SLICE_S:
            self._limit = max(1, min(self._limit, count) // 2)
        elif count == self._limit and took_s < SLICE_S / 2:
            self._limit = min(MAX_SLICE, self._limit * 2)

    # -- processing --------------------------------------------------------------------------------------------

    def _process(self, position: int, end: int, deadline_s: float) -> int:
        """Process the batch from `position` to `end`, less if a channel is blocked or time is up; returns how far.

        A bolt that was fast may be slow from one tuple to the next, and until the slice ends the worker hears nothing.
        """
        while True:
            try:
                self._runner.run(end, time.perf_counter, deadline_s)
                return int(self._runner.position)
            except Exception as error:  # user code: its error fails the tuple, the task goes on with the next one
                self._on_exception(error)
                self.current.tup = self.current.root = None
                if time.perf_counter() > deadline_s:
                    return int(self._runner.position)

    def _process_manual(self, position: int, end: int, deadline_s: float) -> int:
        """As `_process`, for a bolt that acks for itself."""
        start = position
        blocked = self.outbox.blocked
        current, process, inflight = self.current, self.bolt.process, self.inflight
        batch = self._batch
        assert batch is not None
        edges = batch.edges
        while True:
            try:
                while position < end and not blocked:
                    tup, root = next(self._iterator)
                    current.tup = tup
                    current.root = root
                    edge = edges[8 * position : 8 * position + 8] if edges else b""
                    inflight[tup.id] = Held(tup, root, int.from_bytes(edge, "little"))
                    position += 1
                    process(tup)
                    if not (position - start) & 7 and time.perf_counter() > deadline_s:
                        break
                break
            except Exception as error:  # user code, as above
                self._on_exception(error)
                if time.perf_counter() > deadline_s:
                    break
        current.tup = current.root = None
        return position

    def redeliver(self, component: str, stream: InStream, source: int, row: list[Any]) -> None:
        """Give a tuple that a checkpoint kept back to the bolt. It belongs to no tree any more."""
        values: Any = partial(tuple.__new__, stream.values_class)(row)
        tup = Tuple(self._take_id(), component, stream.name, source, values)
        if not self.auto_ack:
            self.redelivered.add(tup.id)
            self.inflight[tup.id] = Held(tup, None, 0)
        self.current.tup, self.current.root = tup, None
        try:
            self.bolt.process(tup)
        except Exception as error:  # user code, as above
            self._on_exception(error)
        finally:
            self.current.tup = self.current.root = None
        self.processed += 1

    def tick(self, now_s: float) -> None:
        """Call `process_tick` if it is due."""
        if self.next_tick_s is None or now_s < self.next_tick_s or self.outbox.blocked:
            return
        freq = self._tick_freq_s or 0
        due_s = self.next_tick_s + freq
        self.next_tick_s = due_s if due_s > now_s else now_s + freq  # what a slow bolt missed is not made up for
        tup = Tuple(self._take_id(), SYSTEM_COMPONENT, TICK_STREAM, -1, (freq,))
        try:
            self.bolt.process_tick(tup)
        except Exception as error:  # user code: there is no tuple to fail, so it is logged, or crashes
            reason = self._services.user_error(self, tup, error)
            if self._on_error == "crash":
                self._services.crash(reason)

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _on_exception(self, error: Exception) -> None:
        tup = self.current.tup
        if tup is None:  # not user code: no tuple could be made of the row
            raise self._row_error(error) from error
        reason = self._services.user_error(self, tup, error)
        if self._on_error == "crash":
            self._services.crash(reason)
        if tup.id in self._excluded if self.auto_ack else tup.id not in self.inflight:
            return  # the bolt settled the tuple itself before it raised
        if self._on_error == "dead-letter":
            self._dead_letter(tup, error)
        elif self.bolt.auto_fail or (self.auto_ack and self.aligner.hold):
            # exactly-once: the next checkpoint would cover the tuple without its effect, and no timeout brings it back
            self._settle_failed(tup, reason)
        elif self.auto_ack:
            self._excluded.add(tup.id)

    def _dead_letter(self, tup: Tuple, error: Exception) -> None:
        import traceback

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        roots = self.current_roots()
        self.outbox.place([f"{type(error).__name__}: {error}", text, list(tup.values)], "dead_letter", roots, None)
        if not self.auto_ack:
            self.ack(tup)

    # -- settling ----------------------------------------------------------------------------------------------

    def _ack_slice(self, batch: InBatch, start: int, end: int) -> None:
        """Ack the tuples of the slice that just ran, but not those that failed."""
        roots, edges = batch.roots, batch.edges
        excluded = self._excluded
        self.acked += end - start - len(excluded)
        if roots is None or edges is None:
            excluded.clear()
            return
        if not excluded:
            xor_edges(self._acks, roots, edges, start, end)
        else:
            for position in range(start, end):
                if self._first_id + position not in excluded:
                    xor_edges(self._acks, roots, edges, position, position + 1)
            excluded.clear()
        if batch.kind != wire.SINGLE:  # a local batch, or one with tuples of several trees
            self._has_multi = True

    def current_roots(self) -> Any:
        """Roots of the tuple being processed.

        Raises:
            ComponentError: the bolt settled it already.
        """
        tup = self.current.tup
        if self.auto_ack:
            if tup.id in self._excluded:
                raise self._settled_error(tup, "anchored to")
            return self.current.root
        held = self.inflight.get(tup.id)
        if held is None:
            raise self._settled_error(tup, "anchored to")
        if isinstance(held.root, tuple):
            self._has_multi = True  # the tuple itself may be acked only after the next flush
        return held.root

    def roots_of(self, anchors: Iterable[Any]) -> Any:
        """Union of the roots of several anchors: None, one root, or a tuple of roots.

        Raises:
            ComponentError: an anchor was settled already, or was never given to this task.
        """
        found: dict[int, None] = {}
        for anchor in anchors:
            root = self._held(anchor, "anchored to").root
            if isinstance(root, tuple):
                found.update(dict.fromkeys(root))
            elif root is not None:
                found[root] = None
        if len(found) > 1:
            self._has_multi = True
            return tuple(found)
        return next(iter(found), None)

    def _held(self, tup_or_id: Any, verb: str) -> Held:
        tup_id = tup_or_id.id if isinstance(tup_or_id, Tuple) else tup_or_id
        held = self.inflight.get(tup_id)
        if held is not None:
            return held
        current = self.current.tup
        if self.auto_ack and current is not None and current.id == tup_id and tup_id not in self._excluded:
            return Held(current, self.current.root, 0)
        raise self._settled_error(tup_or_id, verb)

    def _settled_error(self, tup: Any, verb: str) -> ComponentError:
        return ComponentError(
            f"component {self.task.component!r}, task {self.task.id}: {verb} tuple {tup!r}, which was acked or failed "
            "before (or never came to this task)"
        )

    def _check_thread(self, verb: str) -> None:
        if threading.get_ident() != self._owner:
            raise ComponentError(
                f"component {self.task.component!r}, task {self.task.id} {verb} a tuple from another thread; hand "
                "results over to process or process_tick and settle their tuples there"
            )

    def ack_by_user(self, tup: Any) -> None:
        """The bolt acks a tuple.

        Raises:
            ComponentError: `auto_ack` is on, or the tuple was settled before.
        """
        if self.auto_ack:
            raise ComponentError(
                f"component {self.task.component!r}: ack called although auto_ack is on, which acks every tuple when "
                "process returns; set auto_ack = False on the class to ack by hand"
            )
        self._check_thread("acked")
        self.ack(tup)

    def ack(self, tup: Any) -> None:
        """Ack a tuple that is held."""
        held = self._held(tup, "acked")
        del self.inflight[held.tup.id]
        self.redelivered.discard(held.tup.id)
        self.acked += 1
        if isinstance(held.root, tuple):
            self._has_multi = True
        if held.root is not None:
            self._acks[held.root] = self._acks.get(held.root, 0) ^ held.edge

    def fail(self, tup: Any, reason: str = "") -> None:
        """The bolt fails a tuple."""
        self._check_thread("failed")
        held = self._held(tup, "failed")
        self._settle_failed(held.tup, reason or f"failed by component {self.task.component!r}, task {self.task.id}")

    def _settle_failed(self, tup: Tuple, reason: str) -> None:
        held = self.inflight.pop(tup.id, None)
        root = held.root if held else self.current.root
        if self.auto_ack:
            self._excluded.add(tup.id)
        self.redelivered.discard(tup.id)
        self.failed += 1
        self.fail_roots(root, reason)

    def fail_roots(self, root: Any, reason: str) -> None:
        """Fail trees."""
        if not self._services.tuple_failed(self, root, reason):
            return
        for one in root if isinstance(root, tuple) else (root,):
            if one is not None:
                self._fails.append((one, reason))

    def add_edges(self, roots: list[Any], edges: bytes) -> None:
        """Note the (packed) edge ids of tuples that are about to leave (the outbox calls this)."""
        xor_edges(self._acks, roots, edges, 0, len(roots))

    def flush(self) -> None:
        """Send what waits in the outbox, then failures and acks.

        Failures go first: a tuple that turned out to be unpackable fails after its input was acked, and that ack would
        complete the tree.
        """
        self.outbox.flush()
        if self._fails:
            self._send_fails()
        if self._acks:
            self._send_acks()

    def _send_acks(self) -> None:
        acks = self._acks
        self._acks = {}
        acks.pop(None, None)
        if self._has_multi:
            for key in [key for key in acks if isinstance(key, tuple)]:
                xor = acks.pop(key)
                for root in key:
                    acks[root] = acks.get(root, 0) ^ xor
        by_spout: defaultdict[int, list[int]] = defaultdict(list)
        for root in acks:
            by_spout[root >> SEQUENCE_BITS].append(root)
        for spout_task, roots in by_spout.items():
            self._services.send_acks(spout_task, roots, pack_u64([acks[root] for root in roots]), self.task.id)

    def _send_fails(self) -> None:
        fails, self._fails = self._fails, []
        by_spout: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
        for root, reason in fails:
            by_spout[root >> SEQUENCE_BITS].append((root, reason))
        for spout_task, entries in by_spout.items():
            self._services.send_fails(spout_task, entries, self.task.id)
