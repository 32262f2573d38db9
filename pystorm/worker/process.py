"""The worker process: its control channel, its life from assignment to assignment, its checkpoints.

Theory of operation. One thread runs everything but the writing of checkpoints: it polls the control channel, the
inbound data socket and a wake-up pipe, and steps the runtime. An `assign` message throws the old runtime away and
builds a new one; `start` connects it. Errors of user code outside `process` (constructors, `initialize`, `next_tuple`,
`ack`) end the process with their cause told to the controller, which restarts it.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import zmq
from zmq.backend import zmq_poll

from pystorm.components.tuples import Tuple
from pystorm.errors import PystormError
from pystorm.state.record import CheckpointRecord, unpack_record
from pystorm.state.store import CheckpointStore
from pystorm.topology.config import Guarantee, Settings
from pystorm.topology.plan import Plan, Task
from pystorm.worker import control
from pystorm.worker.bolt_executor import BoltExecutor
from pystorm.worker.checkpointer import Checkpointer, MoveJob, PrepareJob
from pystorm.worker.logs import (
    LoggingToLog,
    UserErrors,
    innermost_user_line,
    one_line,
    open_task_log,
    redirect_prints,
    shown_values,
    user_traceback,
)
from pystorm.worker.runtime import Runtime, RuntimeConfig
from pystorm.worker.spout_executor import SpoutExecutor
from pystorm.worker.tasks import TaskFactory

#: Time between two reports of counters to the controller, in seconds.
STATS_S = 0.25
#: A failure of the same kind is written to the task's log in full at these counts, and otherwise only counted.
_LOGGED_COUNTS = frozenset({1, 10, 100, 1000, 10_000, 100_000, 1_000_000})

OpenStore = Callable[[str, dict[str, Any]], CheckpointStore]


class WorkerCrash(BaseException):
    """Ends the worker process; a BaseException so that no handler of user errors takes it for one."""


class Worker:
    """One worker process."""

    def __init__(
        self, index: int, control_endpoint: str, identity: str, parent_pid: int, open_store: OpenStore
    ) -> None:
        self.index = index
        self._parent_pid = parent_pid
        self._open_store = open_store
        self._context: zmq.Context[Any] = zmq.Context()
        self._control: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._control.setsockopt(zmq.IDENTITY, identity.encode())
        self._control.setsockopt(zmq.LINGER, 1000)
        self._control.setsockopt(zmq.SNDHWM, 0)
        self._control.connect(control_endpoint)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._runtime: Runtime | None = None
        self._factory: TaskFactory | None = None
        self._checkpointer: Checkpointer | None = None
        self._settings = Settings()
        self._logs_folder = Path()
        self._errors = UserErrors()
        self._out, self._err = redirect_prints()
        self._logging: LoggingToLog | None = None  # only a process of its own takes over logging's root
        self._record: CheckpointRecord | None = None
        self._start_reason = ""
        self._store: CheckpointStore | None = None
        self._new_spouts: set[int] = set()
        self._generation = 0
        self._is_ending = False
        self._was_idle: bool | None = None
        self._was_dry = False
        self._next_stats_s = 0.0
        self._has_progressed = False
        self._failure_counts: dict[str, int] = {}

    # -- life --------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until the controller says stop or dies; returns the exit code."""
        self._logging = LoggingToLog(self._out)
        self._logging.install()
        self._send({"type": "hello", "worker": self.index, "pid": os.getpid()})
        try:
            while not self._is_ending:
                self._loop_once()
            return 0
        except WorkerCrash:
            return 1
        except BaseException as error:  # process boundary: the cause, say a CancelledError, goes to the controller
            self._report_crash(error)
            return 1
        finally:
            self._control.close(linger=1000)
            self._context.destroy(linger=1000)

    def _loop_once(self) -> None:
        runtime = self._runtime
        is_running = runtime is not None and runtime.is_running
        polled: list[Any] = [(self._control, zmq.POLLIN), (self._wake_read, zmq.POLLIN)]
        if runtime is not None and is_running:
            polled.append((runtime.socket, zmq.POLLIN))
        ready = dict(zmq_poll(polled, self._poll_ms(runtime if is_running else None)))
        if self._control in ready:
            self._receive_control()
        if self._wake_read in ready:
            self._take_results()
        runtime = self._runtime
        if runtime is None or not runtime.is_running:
            self._check_parent()
            return
        if runtime.socket in ready:
            runtime.receive()
        self._has_progressed = runtime.step()
        if not self._has_progressed:
            self._report_idle(runtime)
        now_s = time.monotonic()
        if now_s >= self._next_stats_s:
            self._report_stats(now_s)
            self._check_parent()

    def _poll_ms(self, runtime: Runtime | None) -> int:
        if runtime is None:
            return 500
        if self._has_progressed:
            return 0
        now_s = time.monotonic()
        wake_s = min(runtime.next_wake_s(now_s), self._next_stats_s)
        return max(0, int((wake_s - now_s) * 1000) + 1) if wake_s > now_s else 0

    def _check_parent(self) -> None:
        # where the kernel cannot be asked to end a child with its parent, this does, within half a second
        if os.getppid() != self._parent_pid:
            self._is_ending = True

    def _report_crash(self, error: BaseException) -> None:
        reason = one_line(error)
        if isinstance(error, SystemExit):
            reason = f"user code called sys.exit({error.code!r})"
        detail = str(error) if isinstance(error, PystormError) else user_traceback(error)
        self._out.target.error(
            "worker %d ends: %s\n%s", self.index, reason, traceback.format_exc(), extra={"is_shown": True}
        )
        self._send({"type": "crash", "reason": reason, "detail": detail, "label": self._active_label})

    # -- control -----------------------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any]) -> None:
        message.setdefault("generation", self._generation)
        self._control.send(control.encode(message))

    def _receive_control(self) -> None:
        while True:
            try:
                data = self._control.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            message = control.decode(data)
            kind = message["type"]
            if kind == "assign":
                self._assign(message)
            elif kind == "stop":
                self._stop()
            elif message.get("generation") == self._generation and self._runtime is not None:
                self._on_command(self._runtime, kind, message)

    def _on_command(self, runtime: Runtime, kind: str, message: dict[str, Any]) -> None:
        if kind == "start":
            self._start(runtime)
        elif kind == "checkpoint":
            self._begin_checkpoint(runtime, message["epoch"])
        elif kind == "committed":
            self._on_committed(runtime, message["epoch"])
        elif kind == "dry":
            for bolt in runtime.bolts.values():
                bolt.on_dry()
            self._has_progressed = True
        elif kind == "drain":
            for spout in runtime.spouts.values():
                if not spout.is_draining:
                    spout.is_draining = True
                    self._set_active(spout)
                    spout.spout.deactivate()

    def _assign(self, message: dict[str, Any]) -> None:
        """Throw the old generation away and build the tasks of the new one."""
        self._report_stats(time.monotonic())
        self._discard_runtime()
        self._generation = generation = message["generation"]
        self._send({"type": "assigned"})
        if self._factory is None:
            plan = Plan.from_wire(message["plan"])
            self._settings = Settings.from_config(plan.topology.config)
            self._logs_folder = Path(message["logs"])
            self._factory = TaskFactory(plan, self._settings, self, self._open_log)
        factory = self._factory
        self._start_reason = message["reason"]
        self._record = unpack_record(message["record"]) if message["record"] else None
        store_config = message["store"]
        self._store = self._open_store(factory.plan.topology.name, store_config) if store_config else None
        runtime = self._runtime = Runtime(
            RuntimeConfig(
                plan=factory.plan,
                settings=self._settings,
                generation=generation,
                worker=self.index,
                endpoints={int(k): v for k, v in message["endpoints"].items()},
                has_checkpoints=message["has_checkpoints"],
            ),
            self._context,
            self._set_active,
        )
        for task in factory.plan.tasks_on(self.index):
            self._active_label = task.label
            self._out.target = self._err.target = logging.getLogger(f"pystorm.task.{task.label}")
            self._build_task(task, runtime, factory, message["has_checkpoints"])
        self._was_idle = None
        self._was_dry = False
        self._send({"type": "ready"})

    _active_label = ""

    def _build_task(self, task: Task, runtime: Runtime, factory: TaskFactory, has_checkpoints: bool) -> None:
        if factory.plan.topology.components[task.component].kind == "bolt":
            runtime.bolts[task.id] = factory.bolt(task, runtime, self._record, self._store)
            return
        executor, is_new = factory.spout(task, runtime, has_checkpoints=has_checkpoints)
        runtime.spouts[task.id] = executor
        if is_new:
            self._new_spouts.add(task.id)

    def _start(self, runtime: Runtime) -> None:
        factory = self._factory
        assert factory is not None
        runtime.connect()
        for bolt in runtime.bolts.values():
            self._set_active(bolt)
            factory.redeliver_held(bolt, self._record, self._store)
        for spout in runtime.spouts.values():
            self._set_active(spout)
            factory.restore_spout(spout, self._record, self._store, self._start_reason)
            if spout.task.id in self._new_spouts:
                self._new_spouts.discard(spout.task.id)
                spout.spout.activate()
        if self._store is not None:
            self._checkpointer = Checkpointer(self._store, self._generation, self._wake)
            self._checkpointer.start()
            self._store = None
        self._has_progressed = True
        self._send({"type": "started"})

    def _discard_runtime(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close(wait=False)
            self._checkpointer = None
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._runtime is None:
            return
        self._runtime.close()
        for bolt in self._runtime.bolts.values():
            self._set_active(bolt)
            self._cleanup(bolt)
        self._runtime = None

    def _cleanup(self, executor: BoltExecutor | SpoutExecutor) -> None:
        component = executor.bolt if isinstance(executor, BoltExecutor) else executor.spout
        try:
            component.cleanup()
        except Exception as error:  # user code: the task ends anyway
            executor.logger.error("cleanup failed: %s", one_line(error), exc_info=error)

    def _stop(self) -> None:
        """An orderly end: finish writing, clean up, say goodbye."""
        runtime = self._runtime
        if self._checkpointer is not None:
            self._checkpointer.close(wait=True)
            self._checkpointer = None
        if runtime is not None:
            self._report_stats(time.monotonic())
            executors: list[BoltExecutor | SpoutExecutor] = [*runtime.spouts.values(), *runtime.bolts.values()]
            for executor in executors:
                self._set_active(executor)
                self._cleanup(executor)
            runtime.close()
            self._runtime = None
        self._out.flush()
        self._err.flush()
        self._send({"type": "stopped"})
        self._is_ending = True

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"w")
        except BlockingIOError:
            return  # the pipe is full of wake-ups already

    def _take_results(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            return
        checkpointer = self._checkpointer
        while checkpointer is not None and checkpointer.results:
            self._send(checkpointer.results.popleft())

    def _begin_checkpoint(self, runtime: Runtime, epoch: int) -> None:
        if not runtime.is_running:
            return  # a rollback was asked for
        assert self._factory is not None
        for spout in runtime.spouts.values():
            spout.flush()
            snapshot = spout.snapshot(epoch)
            spout.outbox.send_barrier(epoch)
            data = self._factory.pack_pending(spout, snapshot.get("pending", []))
            self._prepare(
                PrepareJob(epoch, spout.task.label, spout.task.component, None, data, snapshot.get("positions", {}))
            )
        self._has_progressed = True

    def on_aligned(self, executor: BoltExecutor, epoch: int) -> None:
        """All barriers of `epoch` reached a bolt: freeze what changed, send the barrier on, write in the background."""
        factory = self._factory
        assert factory is not None
        frozen = factory.managers[executor.task.id].freeze()
        snapshot = factory.snapshot_of(executor)
        executor.outbox.send_barrier(epoch)
        if not self._live_runtime().is_running:
            return  # a tuple failed before the cut: this checkpoint must never commit
        has_changes = frozen.dirty_keys > 0
        task = executor.task
        held = len(executor.inflight) if snapshot is not None else 0
        self._prepare(
            PrepareJob(epoch, task.label, task.component, frozen if has_changes else None, snapshot, {}, held)
        )

    def _prepare(self, job: PrepareJob) -> None:
        if self._checkpointer is not None:
            self._checkpointer.submit(job)
            return
        self._send(
            {
                "type": "prepared",
                "epoch": job.epoch,
                "task": job.label,
                "component": job.component,
                "keys": 0,
                "bytes": 0,
                "positions": job.positions,
                "held": job.held,
            }
        )

    def _on_committed(self, runtime: Runtime, epoch: int) -> None:
        if self._checkpointer is not None:
            self._checkpointer.submit(MoveJob(epoch))
        for spout in runtime.spouts.values():
            self._set_active(spout)
            spout.on_committed(epoch)

    # -- reports -----------------------------------------------------------------------------------------------

    def _report_idle(self, runtime: Runtime) -> None:
        if not self._was_dry and runtime.is_dry:
            self._was_dry = True
            self._send({"type": "dry"})
        is_idle = runtime.idle_state
        if is_idle != self._was_idle:
            self._was_idle = is_idle
            self._send({"type": "idle", "is_idle": is_idle})

    def _report_stats(self, now_s: float) -> None:
        self._next_stats_s = now_s + STATS_S
        runtime = self._runtime
        if runtime is None:
            return
        if self._factory is not None and not runtime.config.has_checkpoints:
            for manager in self._factory.managers.values():
                manager.forget_changes()
        tasks: dict[int, list[int]] = {}
        executors: list[BoltExecutor | SpoutExecutor] = [*runtime.spouts.values(), *runtime.bolts.values()]
        metrics = {e.task.id: news for e in executors if (news := e.metrics.take_news()) is not None}
        for spout in runtime.spouts.values():
            tasks[spout.task.id] = [spout.emitted, spout.acked, spout.failed, 0, spout.open]
        for bolt in runtime.bolts.values():
            queued = sum(getattr(item, "count", 0) for item in list(bolt.queue))
            tasks[bolt.task.id] = [bolt.outbox.emitted(), bolt.acked, bolt.failed, bolt.processed, queued]
        report = {"tasks": tasks, "metrics": metrics, "errors": self._errors.take_counts(), "pid": os.getpid()}
        self._send({"type": "stats", **report})

    def _open_log(self, label: str, settings: Settings) -> logging.Logger:
        logger = open_task_log(self._logs_folder, label, settings, self._to_console)
        if self._logging is not None:
            self._logging.listen(logger.level)
        return logger

    def _to_console(self, level: str, label: str, text: str) -> None:
        self._send({"type": "log", "level": level, "label": label, "text": text})

    def _set_active(self, executor: BoltExecutor | SpoutExecutor) -> None:
        self._active_label = executor.task.label
        self._out.target = self._err.target = executor.logger

    # -- services of the executors -----------------------------------------------------------------------------

    def send_acks(self, spout_task: int, roots: list[int], xors: bytes, from_task: int) -> None:
        """See `Services`."""
        self._live_runtime().send_acks(spout_task, roots, xors, from_task)

    def send_fails(self, spout_task: int, fails: list[tuple[int, str]], from_task: int) -> None:
        """See `Services`."""
        self._live_runtime().send_fails(spout_task, fails, from_task)

    def send_credit(self, source: int, from_task: int, units: int, pace: int) -> None:
        """See `Services`."""
        self._live_runtime().send_credit(source, from_task, units, pace)

    def _live_runtime(self) -> Runtime:
        assert self._runtime is not None
        return self._runtime

    def tuple_failed(self, executor: BoltExecutor, root: Any, reason: str) -> bool:
        """In exactly-once a failed tuple takes the topology back to its last checkpoint."""
        if self._settings.guarantee is Guarantee.EXACTLY_ONCE:
            self.request_rollback(reason)
            return False
        return root is not None

    def user_error(self, executor: BoltExecutor, tup: Tuple | None, error: Exception) -> str:
        """Log an exception of user code, once in full; returns it in one line."""
        text = one_line(error)
        component = executor.task.component
        count = self._errors.add(component, error)
        where = ""
        if tup is not None:
            where = f" with tuple {shown_values(tup.values)} from {tup.component!r}"
        if count in _LOGGED_COUNTS:
            executor.logger.error(
                "%s%s (seen %d times)\n%s", text, where, count, user_traceback(error), extra={"is_shown": True}
            )
        if count == 1:
            cause = [type(error).__name__, innermost_user_line(error)]
            message = {"type": "user_error", "label": executor.task.label, "text": text, "where": where, "cause": cause}
            self._send({**message, "traceback": user_traceback(error)})
        return f"component {component!r}: {text}"

    def crash(self, reason: str) -> NoReturn:
        """End the worker (`topology.bolt.on.error: crash`)."""
        self._send({"type": "crash", "reason": reason, "detail": "", "label": self._active_label})
        raise WorkerCrash(reason)

    def request_rollback(self, reason: str) -> None:
        """Stop processing and ask for a rollback."""
        runtime = self._live_runtime()
        if runtime.is_running:
            runtime.is_running = False
            self._send({"type": "rollback", "reason": reason})

    def give_up(self, reason: str) -> None:
        """End the run."""
        runtime = self._live_runtime()
        runtime.is_running = False
        self._send({"type": "give_up", "reason": reason})

    def message_failed(self, task: Task, reason: str) -> None:
        """Note a failed message in the spout's log; the first of each reason goes to the console too."""
        count = self._failure_counts[reason] = self._failure_counts.get(reason, 0) + 1
        if len(self._failure_counts) > 1000:
            self._failure_counts.clear()
        logger = logging.getLogger(f"pystorm.task.{task.label}")
        if count in _LOGGED_COUNTS:
            # an exception of user code was shown when it was raised
            is_shown = count > 1 or reason.startswith("component ")
            logger.warning("message failed (%d times): %s", count, reason, extra={"is_shown": is_shown})

    def spout_unpackable(self, executor: SpoutExecutor, root: Any, reason: str) -> None:
        """A spout emitted values that cannot travel: no retry can help."""
        executor.logger.error("%s", reason)
        self.give_up(reason)
