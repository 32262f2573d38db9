"""A worker without its process: the real `Worker`, stepped from outside.

Its control channel is a pair of queues, its checkpointer runs one job when it is told to, its tasks log to memory, and
`turn` stands for one round of its loop.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from pystorm.testing.transport import MemoryZmq
from pystorm.topology.config import Settings
from pystorm.topology.plan import Task
from pystorm.worker import control, process
from pystorm.worker.bolt_executor import BoltExecutor
from pystorm.worker.checkpointer import Checkpointer, MoveJob, PrepareJob
from pystorm.worker.logs import ConsoleHandler
from pystorm.worker.process import Worker
from pystorm.worker.runtime import Runtime
from pystorm.worker.tasks import TaskFactory

if TYPE_CHECKING:
    from pystorm.testing.driver import Driver


class ControlLine:
    """The worker's end of the control channel: two queues, as a socket."""

    def __init__(self) -> None:
        self.to_worker: deque[bytes] = deque()
        self.to_controller: deque[dict[str, Any]] = deque()

    def recv(self, _flags: int = 0) -> bytes:
        """The next message from the controller."""
        if not self.to_worker:
            raise zmq.Again
        return self.to_worker.popleft()

    def send(self, data: bytes) -> None:
        """A message to the controller."""
        self.to_controller.append(control.decode(data))

    def close(self, linger: int = 0) -> None:
        """Forget what was not delivered."""
        self.to_worker.clear()


class SteppedCheckpointer(Checkpointer):
    """The real checkpointer, which runs one job when told to instead of all of them on a thread."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.waiting: deque[PrepareJob | MoveJob] = deque()

    def start(self) -> None:
        """No thread."""

    def submit(self, job: PrepareJob | MoveJob) -> None:
        """Let a job wait for `run_one`."""
        self.waiting.append(job)

    def run_one(self) -> None:
        """Run the oldest job to its end."""
        super().submit(self.waiting.popleft())
        self._jobs.put(None)
        self.run()

    def close(self, *, wait: bool) -> None:
        """As the real one's."""
        while wait and self.waiting:
            self.run_one()
        self.waiting.clear()


class MemoryLog(logging.Handler):
    """Keeps the lines of one task."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as text."""
        self._lines.append(self.format(record))


class InProcessWorker(Worker):
    """A worker that its driver steps."""

    def __init__(self, index: int, driver: Driver) -> None:
        streams = sys.stdout, sys.stderr
        before, vars(process)["zmq"] = vars(process)["zmq"], MemoryZmq()
        try:
            super().__init__(index, f"inproc://control-{index}", f"w{index}", os.getppid(), driver.open_store)
        finally:
            vars(process)["zmq"] = before
            sys.stdout, sys.stderr = streams
        self._driver = driver
        self._context = driver.context
        self.clock = driver.clock
        self.line = ControlLine()
        self._control = self.line  # type: ignore[assignment]
        #: tells this worker from the one that had its place before
        self.serial = driver.next_serial()

    @property
    def runtime(self) -> Any:
        """The runtime of the current generation, None before the first."""
        return self._runtime

    @property
    def checkpointer(self) -> Any:
        """The stepped checkpointer, if there are checkpoints."""
        return self._checkpointer

    def take_control(self) -> None:
        """Handle the messages of the controller."""
        self._receive_control()

    def run_job(self) -> None:
        """Run one checkpoint job and report it."""
        self.checkpointer.run_one()
        self._take_results()

    def turn(self) -> bool:
        """One round of the worker's loop, without control and checkpoints; returns whether it did something."""
        live = self._runtime
        if live is None or not live.is_running:
            return False
        live.receive()
        self._has_progressed = live.step()
        if not self._has_progressed:
            self._report_idle(live)
        return self._has_progressed

    def report_stats(self) -> None:
        """Report counters now."""
        self._report_stats(self.clock.monotonic())

    def report_crash(self, error: BaseException) -> None:
        """Tell the controller what user code did."""
        self._report_crash(error)

    @property
    def has_frames(self) -> bool:
        """Whether frames wait in the inbound socket."""
        live = self._runtime
        return live is not None and live.is_running and bool(int(live.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def next_wake_s(self, now_s: float) -> float:
        """When the worker has to look again."""
        return self._runtime.next_wake_s(now_s) if self._runtime is not None else now_s + 0.5

    def vanish(self) -> None:
        """End as kill -9 does: nothing is cleaned up, written or said."""
        if self._runtime is not None:
            self._runtime.close()
        self._runtime = None
        self.release()

    def release(self) -> None:
        """Give file descriptors back."""
        os.close(self._wake_read)
        os.close(self._wake_write)

    # -- what the worker does, seen by the driver ------------------------------------------------------------------

    def _build_task(self, task: Task, runtime: Runtime, factory: TaskFactory, has_checkpoints: bool) -> None:
        super()._build_task(task, runtime, factory, has_checkpoints)
        if self._driver.recording is not None:
            self._driver.recording.tap(runtime.bolts.get(task.id) or runtime.spouts[task.id])

    def _begin_checkpoint(self, runtime: Runtime, epoch: int) -> None:
        if self._driver.recording is not None:
            for spout in runtime.spouts.values():
                self._driver.recording.mark(spout.task.id, epoch)
        super()._begin_checkpoint(runtime, epoch)

    def on_aligned(self, executor: BoltExecutor, epoch: int) -> None:
        """As the real one's; what the task has emitted so far belongs to the checkpoint."""
        if self._driver.recording is not None:
            self._driver.recording.mark(executor.task.id, epoch)
        super().on_aligned(executor, epoch)

    def user_error(self, executor: BoltExecutor, tup: Any, error: Exception) -> str:
        """As the real one's; the exception itself is kept too."""
        self._driver.exceptions.append(error)
        return super().user_error(executor, tup, error)

    def _open_log(self, label: str, settings: Settings) -> logging.Logger:
        if self._logs_folder != Path():
            return super()._open_log(label, settings)
        logger = logging.getLogger(f"pystorm.task.{label}")
        for old in list(logger.handlers):
            logger.removeHandler(old)
        logger.setLevel(logging.DEBUG if settings.debug else settings.log_level.upper())
        logger.addHandler(MemoryLog(self._driver.logs.setdefault(label, [])))
        logger.addHandler(ConsoleHandler(label, self._to_console))
        return logger
