"""One generation of a worker: its sockets, its tasks, and the loop step that drives them.

Theory of operation. A runtime is built when the controller assigns a generation and thrown away at the next one. It
binds its inbound socket before it says that it is ready, and connects to its peers when the controller says that
everybody is ready, so nothing is sent to an address that nobody listens on. `step` takes in frames, gives each task a
slice of about a millisecond (the most downstream ones first, so that the pipeline empties before it fills), and
flushes when input runs dry, or after FLUSH_S at the latest under load.

Endpoints carry the generation, and so does every frame; frames of another generation are dropped on sight.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import zmq

from pystorm.errors import InternalError
from pystorm.speed import pack_u64
from pystorm.topology.config import Guarantee, Settings
from pystorm.topology.plan import Plan
from pystorm.worker import wire
from pystorm.worker.bolt_executor import BoltExecutor
from pystorm.worker.channels import InBarrier, InBatch, frame_cost
from pystorm.worker.ledger import spout_task_of
from pystorm.worker.outbox import Outbox
from pystorm.worker.spout_executor import SpoutExecutor

#: Longest time that a tuple or ack waits in a buffer while the worker is busy, in seconds.
FLUSH_S = 0.003
#: What one turn of a task takes at the most before the others get theirs, in seconds.
TURN_S = 0.001
#: Frames taken from the socket in one step at the most.
MAX_FRAMES = 256
#: From this size on a frame is handed to ZeroMQ without copying it, in bytes.
ZERO_COPY_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """What a runtime is told by the controller."""

    plan: Plan
    settings: Settings
    generation: int
    worker: int
    #: inbound address of every worker
    endpoints: Mapping[int, str]
    has_checkpoints: bool


class Runtime:
    """Tasks and sockets of one worker in one generation."""

    def __init__(
        self,
        config: RuntimeConfig,
        context: zmq.Context[Any],
        on_turn: Callable[[BoltExecutor | SpoutExecutor], None],
    ) -> None:
        self.config = config
        self.generation = config.generation
        self.bolts: dict[int, BoltExecutor] = {}
        self.spouts: dict[int, SpoutExecutor] = {}
        self.dropped_frames = 0
        self.is_running = False
        #: called before user code of a task runs
        self.on_turn = on_turn
        self._context = context
        self._ordered: list[BoltExecutor] = []
        self._worker_of = {task.id: task.worker for task in config.plan.tasks.values()}
        self._pushes: dict[int, zmq.Socket[bytes]] = {}
        self._pull: zmq.Socket[bytes] = context.socket(zmq.PULL)
        self._pull.setsockopt(zmq.LINGER, 0)
        self._pull.setsockopt(zmq.RCVHWM, 0)
        self._pull.bind(config.endpoints[config.worker])
        self._last_flush_s = 0.0
        self._next_touch_s = 0.0

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The inbound socket, for polling."""
        return self._pull

    def connect(self) -> None:
        """Connect to the workers that this one sends to."""
        for peer in sorted(self.config.plan.peers_of(self.config.worker)):
            push = self._context.socket(zmq.PUSH)
            push.setsockopt(zmq.LINGER, 0)
            push.setsockopt(zmq.SNDHWM, 0)
            push.setsockopt(zmq.RECONNECT_IVL, 5)
            push.connect(self.config.endpoints[peer])
            self._pushes[peer] = push
        depth = self.config.plan.depth
        self._ordered = sorted(self.bolts.values(), key=lambda e: -depth[e.task.component])
        for task in (*self.bolts, *self.spouts):
            self.outbox_of(task).open()
        self.is_running = True

    def close(self) -> None:
        """Close the sockets at once; what they hold is dropped."""
        self.is_running = False
        for socket in [self._pull, *self._pushes.values()]:
            socket.close(linger=0)
        self._pushes.clear()
        endpoint = self.config.endpoints[self.config.worker]
        if endpoint.startswith("ipc://"):
            with contextlib.suppress(FileNotFoundError):  # ZeroMQ removes it itself, in a thread of its own
                os.unlink(endpoint[len("ipc://") :])

    # -- the loop ----------------------------------------------------------------------------------------------

    def receive(self) -> bool:
        """Take in what the inbound socket has; returns whether there may be more."""
        recv = self._pull.recv
        try:
            for _ in range(MAX_FRAMES):
                self._on_frame(recv(zmq.NOBLOCK))
        except zmq.Again:
            return False
        return True

    def step(self) -> bool:
        """Give every task a turn; returns whether anything happened."""
        progressed = False
        for bolt in self._ordered:
            if bolt.has_work:
                progressed = True
                self._turn(bolt)
        now_s = time.monotonic()
        for spout in self.spouts.values():
            if spout.can_run(now_s):
                before = spout.emitted
                self.on_turn(spout)
                spout.run_slice(now_s)
                if spout.emitted != before:
                    progressed = True
                    spout.flush()  # the next call of next_tuple may take long
        for bolt in self._ordered:
            if bolt.next_tick_s is not None and bolt.next_tick_s <= now_s:
                self.on_turn(bolt)
                bolt.tick(now_s)
        if not progressed or now_s - self._last_flush_s > FLUSH_S:
            self.flush()
            self._last_flush_s = now_s
            progressed = progressed or any(bolt.has_work for bolt in self._ordered)
        if now_s >= self._next_touch_s:
            self._touch_waiting(now_s)
        due = [spout for spout in self.spouts.values() if spout.is_expiry_due(now_s)]
        if due:
            progressed = True
            while self.receive():  # acks that came while user code took long count first; credits bound what waits
                pass
            for spout in due:
                spout.expire(now_s)
        return progressed

    def _turn(self, bolt: BoltExecutor) -> None:
        end = time.perf_counter() + TURN_S
        self.on_turn(bolt)
        while bolt.has_work:
            bolt.run_slice()
            if time.perf_counter() > end:
                break

    def flush(self) -> None:
        """Send everything that waits: tuples first, then acks."""
        for bolt in self._ordered:
            bolt.flush()
        for spout in self.spouts.values():
            spout.flush()

    def next_wake_s(self, now_s: float) -> float:
        """When `step` should run again even if nothing arrives (monotonic seconds)."""
        wake = now_s + 0.5
        for spout in self.spouts.values():
            wake = min(wake, spout.next_wake_s(now_s))
        for bolt in self._ordered:
            # a tick that waits for credit needs no clock: the credit wakes the loop
            if bolt.next_tick_s is not None and not bolt.outbox.blocked:
                wake = min(wake, bolt.next_tick_s)
        return wake

    @property
    def idle_state(self) -> bool:
        """Whether every spout here is done and no redelivered tuple is open."""
        return all(s.is_done for s in self.spouts.values()) and not any(b.redelivered for b in self.bolts.values())

    @property
    def is_dry(self) -> bool:
        """Whether no spout here will call `next_tuple` again."""
        return all(s.is_finished or s.is_draining for s in self.spouts.values())

    # -- inbound -----------------------------------------------------------------------------------------------

    def _on_frame(self, frame: bytes) -> None:
        if len(frame) < wire.HEADER_BYTES:
            raise wire.WireError(f"frame of {len(frame)} bytes is shorter than a header")
        version, kind, generation, source, destination, stream, count = wire.unpack_header(frame)
        if version != wire.VERSION or generation != self.generation:
            self.dropped_frames += 1
            return
        if wire.PLAIN <= kind <= wire.MULTI:
            if stream >= len(self.config.plan.streams):
                raise wire.WireError(f"batch of stream {stream}, which the topology does not have")
            batch = InBatch(source, stream, count, frame_cost(count, len(frame)), kind=kind, frame=frame)
            self._bolt(destination).queue.append(batch)
        elif kind == wire.ACK:
            roots, xors = wire.unpack_pairs(memoryview(frame), count)
            self._spout(destination).on_acks(roots, xors, source)
        elif kind == wire.CREDIT:
            executor = self.bolts.get(destination) or self.spouts.get(destination)
            if executor is None or source not in executor.outbox.channels:
                raise wire.WireError(
                    f"credit for a channel from task {destination} to task {source}, which is not here"
                )
            self._add_credit(destination, source, count, stream)
        elif kind == wire.BARRIER:
            self._bolt(destination).queue.append(InBarrier(source, count))
        elif kind == wire.FAIL:
            spout = self._spout(destination)
            for root, reason in wire.unpack_fails(frame, count):
                spout.on_fail(root, reason)
        elif kind == wire.TOUCH:
            self._spout(destination).ledger.touch(wire.unpack_roots(frame, count), time.monotonic())
        else:
            raise wire.WireError(f"frame of unknown type {kind}")

    def _bolt(self, task_id: int) -> BoltExecutor:
        found = self.bolts.get(task_id)
        if found is None:
            raise wire.WireError(f"frame for bolt task {task_id}, which is not in worker {self.config.worker}")
        return found

    def _spout(self, task_id: int) -> SpoutExecutor:
        found = self.spouts.get(task_id)
        if found is None:
            raise wire.WireError(f"frame for spout task {task_id}, which is not in worker {self.config.worker}")
        return found

    # -- transport and services of the executors -----------------------------------------------------------------

    def send_frame(self, worker: int, frame: bytes) -> None:
        """Send a frame to another worker. Never blocks: credits bound what ZeroMQ queues.

        A frame that cannot be sent has no peer any more. Without it nothing of this generation may be completed, so the
        worker stops here and waits for the recovery that follows the peer's death.
        """
        try:
            self._pushes[worker].send(frame, zmq.NOBLOCK, len(frame) < ZERO_COPY_BYTES)
        except zmq.Again:
            self.is_running = False

    def deliver(self, task: int, item: InBatch | InBarrier) -> None:
        """Hand something to a task of this worker."""
        self.bolts[task].queue.append(item)

    def send_acks(self, spout_task: int, roots: list[int], xors: bytes, from_task: int) -> None:
        """Bring acks to the ledger of a spout task."""
        worker = self._worker_of[spout_task]
        if worker == self.config.worker:
            self.spouts[spout_task].on_acks(roots, xors, from_task)
            return
        header = self._header(wire.ACK, from_task, spout_task, len(roots))
        self.send_frame(worker, b"".join((header, pack_u64(roots), xors)))

    def send_fails(self, spout_task: int, fails: list[tuple[int, str]], from_task: int) -> None:
        """Bring failures to the ledger of a spout task."""
        worker = self._worker_of[spout_task]
        if worker == self.config.worker:
            for root, reason in fails:
                self.spouts[spout_task].on_fail(root, reason)
            return
        self.send_frame(worker, self._header(wire.FAIL, from_task, spout_task, len(fails)) + wire.pack_fails(fails))

    def send_credit(self, source: int, from_task: int, units: int, pace: int) -> None:
        """Give credit back to a source task, and tell it the pace of `from_task`."""
        worker = self._worker_of[source]
        if worker == self.config.worker:
            self._add_credit(source, from_task, units, pace)
        else:
            self.send_frame(worker, self._header(wire.CREDIT, from_task, source, units, pace))

    def _add_credit(self, source: int, from_task: int, units: int, pace: int) -> None:
        self.outbox_of(source).add_credit(from_task, units, pace)

    def outbox_of(self, task_id: int) -> Outbox:
        """The outbox of a task of this worker."""
        executor: BoltExecutor | SpoutExecutor | None = self.bolts.get(task_id) or self.spouts.get(task_id)
        if executor is None:
            raise InternalError(f"task {task_id} is not in worker {self.config.worker}")
        return executor.outbox

    def _header(self, kind: int, source: int, destination: int, count: int, stream: int = 0) -> bytes:
        return wire.pack_header(wire.VERSION, kind, self.generation, source, destination, stream, count)

    # -- timeouts ----------------------------------------------------------------------------------------------

    def _touch_waiting(self, now_s: float) -> None:
        """Tell ledgers about tuples that wait in queues here: they are slow, not stuck, and must not time out."""
        settings = self.config.settings
        step_s = settings.message_timeout_s / 4
        # user code that took long kept this from its usual looks, and what waits meanwhile may be near its timeout
        is_late = bool(self._next_touch_s) and now_s > self._next_touch_s + step_s / 2
        self._next_touch_s = now_s + step_s
        if not settings.message_timeouts_enabled or settings.guarantee is Guarantee.AT_MOST_ONCE:
            return
        by_spout: dict[int, set[int]] = {}
        for bolt in self._ordered:
            for root in bolt.unprocessed_roots():
                by_spout.setdefault(spout_task_of(root), set()).add(root)
            for item in bolt.backlog:
                if isinstance(item, InBatch) and (item.received_s or is_late):
                    for root in item.tree_roots():
                        by_spout.setdefault(spout_task_of(root), set()).add(root)
                elif isinstance(item, InBatch):
                    item.received_s = now_s  # it is reported if it still waits at the next look
        for spout_task, roots in by_spout.items():
            worker = self._worker_of[spout_task]
            if worker == self.config.worker:
                self.spouts[spout_task].ledger.touch(roots, now_s)
            else:
                header = self._header(wire.TOUCH, 0, spout_task, len(roots))
                self.send_frame(worker, header + pack_u64(sorted(roots)))
