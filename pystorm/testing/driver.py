"""A whole topology in one thread: the real workers, channels and checkpoints, under a clock that only its user moves.

Theory of operation
    Workers talk over queues in memory (or ZeroMQ's inproc endpoints), which hand a frame over at once and in order, so
    nothing depends on time or on threads. `Driver` is also the controller: generations, checkpoints (the real
    `CheckpointCoordinator` and `RestartPolicy`) and recovery, over a `MemoryStore`.

    Who tells a story uses `settle` (work until nothing moves), `advance`, `checkpoint`, `kill` and `run`. A simulation
    picks single moves instead: `turn`, `run_job`, `deliver`, `collect`.

Invariants: the clock moves by `Clock.work_s` each time it is read and otherwise only when told, so a run repeats
exactly. An exception of a worker that nobody expects surfaces where the driver was called.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pystorm.controller.coordinator import CheckpointCoordinator, Phase
from pystorm.controller.restarts import RestartPolicy
from pystorm.controller.statebackend import scopes_of
from pystorm.errors import TopologyFailed
from pystorm.state.memory_store import MemoryBackend, MemoryStore
from pystorm.state.reader import CommittedState
from pystorm.state.record import CheckpointRecord
from pystorm.testing.clock import Clock, virtual_time
from pystorm.testing.recording import Recording
from pystorm.testing.transport import MemoryContext
from pystorm.testing.worker import InProcessWorker, SteppedCheckpointer
from pystorm.topology.config import Guarantee, Settings
from pystorm.topology.plan import Plan
from pystorm.worker import control, process
from pystorm.worker.bolt_executor import BoltExecutor
from pystorm.worker.process import WorkerCrash
from pystorm.worker.spout_executor import SpoutExecutor

#: Rounds after which a topology that still moves is taken for one that never stops.
MAX_ROUNDS = 20_000


class Driver:
    """A running topology. Use it as a context manager: it stands in for the clock of the worker's modules.

    Args:
        plan: the topology, laid out.
        folder: where tasks write their logs; None: they are kept in `logs`.
        checkpoints: whether there are any; without them a recovery starts from nothing.
        backend: what an earlier run has left.
        seed: of every random choice.
        expects_crashes: an exception that ends a worker leads to a recovery instead of surfacing.
        context: where the workers' sockets come from; default: queues in memory.
        records: whether `recording` keeps what tasks emit.
        clocked: names of further modules whose `time` is to be the clock.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path | None = None,
        *,
        checkpoints: bool = False,
        backend: MemoryBackend | None = None,
        seed: int = 0,
        expects_crashes: bool = False,
        context: Any = None,
        records: bool = False,
        clocked: Iterable[str] = (),
    ) -> None:
        self.plan = plan
        self.settings = Settings.from_config(plan.topology.config)
        self.clock = Clock()
        self.context: Any = context if context is not None else MemoryContext()
        self.backend = backend or MemoryBackend()
        self.has_checkpoints = checkpoints
        self.recording = Recording() if records else None
        self.workers: dict[int, InProcessWorker] = {}
        self.generation = 0
        self.record: CheckpointRecord | None = None
        self.coordinator = CheckpointCoordinator(task.label for task in plan.tasks.values())
        self.policy = RestartPolicy(self.settings.recovery_max_attempts)
        self.committed: list[int] = []
        self.reasons: list[str] = []
        self.errors: list[str] = []
        #: exceptions that bolts raised
        self.exceptions: list[Exception] = []
        #: lines by task, if there is no folder for them
        self.logs: dict[str, list[str]] = {}
        self.is_running = False
        self.is_finished = False
        self._folder = folder
        self._expects_crashes = expects_crashes
        self._seed = seed
        self._clocked = tuple(clocked)
        self._store = MemoryStore(plan.topology.name, self.backend)
        self._idle: set[int] = set()
        self._not_ready: set[int] = set()
        self._serials = itertools.count(1)
        self._undo: list[Callable[[], object]] = []

    def __enter__(self) -> Driver:
        random_state = random.getstate()
        self._undo.append(lambda: random.setstate(random_state))
        random.seed(self._seed)
        time = virtual_time(self.clock, self._clocked)
        time.__enter__()
        self._undo.append(lambda: time.__exit__(None, None, None))
        before = vars(process)["Checkpointer"]
        vars(process)["Checkpointer"] = SteppedCheckpointer
        self._undo.append(lambda: vars(process).__setitem__("Checkpointer", before))
        try:
            self.recover("the run starts")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.vanish()
        self.context.destroy(linger=0)
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        for task in self.plan.tasks.values():
            logger = logging.getLogger(f"pystorm.task.{task.label}")
            for handler in list(logger.handlers):
                logger.removeHandler(handler)
                handler.close()

    def open_store(self, topology: str, _config: dict[str, Any]) -> MemoryStore:
        """A worker's own connection to the store."""
        return MemoryStore(topology, self.backend)

    def next_serial(self) -> int:
        """A number for a new worker."""
        return next(self._serials)

    # -- looking in ----------------------------------------------------------------------------------------------

    def executors(self, component: str) -> list[Any]:
        """The executors of a component's tasks, by task."""
        found: list[SpoutExecutor | BoltExecutor] = []
        for task in self.plan.tasks_of[component]:
            live = self.workers[task.worker].runtime
            found.append(live.bolts.get(task.id) or live.spouts[task.id])
        return found

    def instance(self, component: str, index: int = 0) -> Any:
        """The user's spout or bolt behind a task."""
        executor = self.executors(component)[index]
        return executor.bolt if isinstance(executor, BoltExecutor) else executor.spout

    def state(self, component: str, state: str) -> dict[Any, Any]:
        """The committed entries of a state; values of equal keys of several tasks are added."""
        found: dict[Any, Any] = {}
        if (component, state) not in self._store.catalog().states:
            return found
        for entry in CommittedState(self._store, self.plan.topology.name).dump(component, state):
            found[entry.key] = found[entry.key] + entry.value if entry.key in found else entry.value
        return found

    # -- the controller: recovery ----------------------------------------------------------------------------------

    def recover(self, reason: str) -> None:
        """Start, or start again, from the last committed checkpoint in a new generation."""
        self.is_running = False
        self.coordinator.abort()
        if self.has_checkpoints:
            components = {c.id: scopes_of(self.plan, c.id, self.settings) for c in self.plan.topology.bolts}
            self.generation = self._store.acquire({scope for scopes in components.values() for scope in scopes})
            self._store.settle(self.generation, components)
            self.record = self._store.last_commit()
        else:
            self.generation += 1
        last = max(self.record.epoch if self.record else 0, self.coordinator.epoch)
        self._forget_emitted()
        self.coordinator = CheckpointCoordinator((task.label for task in self.plan.tasks.values()), last)
        self._idle.clear()
        self._not_ready = set(range(self.plan.workers))
        for index in range(self.plan.workers):
            if index not in self.workers:
                self.workers[index] = InProcessWorker(index, self)
        self.tell({**self._assignment(), "reason": reason})

    def _forget_emitted(self) -> None:
        """What the tasks that go back have emitted since the checkpoint is no longer part of the run."""
        if self.recording is None or not self.has_checkpoints:
            return
        no_spout_seeks = self.settings.guarantee is Guarantee.AT_MOST_ONCE
        for task in self.plan.tasks.values():
            is_spout = self.plan.topology.components[task.component].kind == "spout"
            lives_on = is_spout and task.worker in self.workers
            if not (lives_on and (no_spout_seeks or task.id in self.recording.plain_spouts)):
                self.recording.back_to(task.id, self.record.epoch if self.record else 0)

    def _assignment(self) -> dict[str, Any]:
        names = {str(w): f"inproc://g{self.generation}w{w}" for w in range(self.plan.workers)}
        return {
            "type": "assign",
            "plan": self.plan.to_wire(),
            "endpoints": names,
            "logs": str(self._folder / "logs") if self._folder is not None else "",
            "store": {"in": "memory"} if self.has_checkpoints else None,
            "record": self.record.pack() if self.record else None,
            "has_checkpoints": self.has_checkpoints,
        }

    def fail(self, reason: str) -> None:
        """Something broke: as the controller, go back, or give up after too many failures in a row."""
        self.reasons.append(reason)
        pause_s = self.policy.on_failure()
        if pause_s is None:
            raise TopologyFailed(reason)
        self.clock.now_s += pause_s
        self.recover(reason)

    def kill(self, *indexes: int) -> None:
        """kill -9 of workers, and the recovery that follows."""
        for index in indexes:
            self.workers.pop(index).vanish()
        self.fail(f"worker {indexes[0]} died")

    def restart(self) -> None:
        """kill -9 of everything, and a new run on the same store."""
        for index in list(self.workers):
            self.workers.pop(index).vanish()
        self.policy = RestartPolicy(self.settings.recovery_max_attempts)
        self.coordinator = CheckpointCoordinator(task.label for task in self.plan.tasks.values())
        self.recover("the run starts")

    # -- the controller: messages ----------------------------------------------------------------------------------

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to every worker."""
        data = control.encode({"generation": self.generation, **message})
        for worker in self.workers.values():
            worker.line.to_worker.append(data)

    def deliver(self, index: int) -> bool:
        """Let a worker take its control messages."""
        worker = self.workers[index]
        had = bool(worker.line.to_worker)
        self._guarded(worker, worker.take_control)
        return had

    def collect(self, index: int) -> bool:
        """Handle what a worker has told the controller."""
        worker = self.workers.get(index)
        had = False
        while worker is not None and worker.line.to_controller and self.workers.get(index) is worker:
            had = True
            self.on_message(worker, worker.line.to_controller.popleft())
        return had

    def on_message(self, worker: InProcessWorker, message: dict[str, Any]) -> None:
        """Handle one message of a worker."""
        kind = message["type"]
        if kind == "user_error":
            self.errors.append(message["text"] + message["where"])
        if message["generation"] != self.generation:
            return
        if kind == "ready":
            self._not_ready.discard(worker.index)
            if not self._not_ready:
                self.is_running = True
                self.tell({"type": "start"})
        elif kind == "idle":
            (self._idle.add if message["is_idle"] else self._idle.discard)(worker.index)
        elif kind == "prepared":
            self._on_prepared(message)
        elif kind in ("rollback", "failed", "stale"):
            self.fail(message["reason"])
        elif kind == "give_up":
            raise TopologyFailed(message["reason"])

    def _on_prepared(self, message: dict[str, Any]) -> None:
        names = ("epoch", "task", "component", "keys", "bytes", "positions", "held")
        if self.coordinator.on_prepared(*(message[name] for name in names)):
            self.commit()

    def begin_checkpoint(self, *, is_final: bool = False) -> None:
        """Start a checkpoint."""
        epoch = self.coordinator.begin(self.clock.now_s, is_final=is_final)
        self.tell({"type": "checkpoint", "epoch": epoch})

    def commit(self) -> None:
        """Write the commit record and tell everybody."""
        tally, epoch = self.coordinator.tally, self.coordinator.epoch
        assert tally is not None
        if self.has_checkpoints:
            self.record = CheckpointRecord(
                epoch=epoch,
                generation=self.generation,
                wall_time=0.0,
                duration_ms=0.0,
                keys=tally.keys,
                bytes=tally.bytes,
                positions=tally.positions,
                tasks={c.id: c.parallelism for c in self.plan.topology.components.values()},
                final=tally.is_final,
            )
            self._store.commit(self.generation, self.record)
            self._store.drop_snapshots(self.generation, epoch)
        self.coordinator.on_committed()
        self.note_progress(tally.positions)
        self.committed.append(epoch)
        self.tell({"type": "committed", "epoch": epoch})
        if tally.is_final:
            self.is_finished = True
            self.tell({"type": "stop"})

    def note_progress(self, _positions: Mapping[str, Mapping[str, Any]]) -> None:
        """A checkpoint with these positions was committed. To a story or a simulation every one is progress."""
        self.policy.on_progress()

    @property
    def can_checkpoint(self) -> bool:
        """Whether a checkpoint may begin now."""
        return self.is_running and self.coordinator.phase is Phase.IDLE and not self.is_finished

    @property
    def is_idle(self) -> bool:
        """Whether all input has ended and every tree is complete."""
        return self.is_running and len(self._idle) == self.plan.workers

    # -- moves -----------------------------------------------------------------------------------------------------

    def _guarded(self, worker: InProcessWorker, move: Callable[[], Any]) -> bool:
        """A move of a worker; what ends a process ends the worker here, and the recovery follows."""
        try:
            return bool(move())
        except (Exception, WorkerCrash) as error:
            if not self._expects_crashes:
                raise
            if not isinstance(error, WorkerCrash):
                worker.report_crash(error)
            reasons = [m["reason"] for m in worker.line.to_controller if m["type"] == "crash"]
            worker.vanish()
            del self.workers[worker.index]
            self.fail(f"worker {worker.index}: {reasons[-1]}")
            return True

    def turn(self, index: int) -> bool:
        """One round of a worker's loop."""
        worker = self.workers[index]
        return self._guarded(worker, worker.turn)

    def run_job(self, index: int) -> bool:
        """Run a worker's oldest checkpoint job."""
        worker = self.workers[index]
        if worker.checkpointer is None or not worker.checkpointer.waiting:
            return False
        self._guarded(worker, worker.run_job)
        return True

    def round(self) -> bool:
        """Everybody does everything once; returns whether anything moved."""
        moved = False
        for index in range(self.plan.workers):
            for move in (self.deliver, self.turn, self.run_job, self.collect):
                if index in self.workers:
                    moved = move(index) or moved
        return moved

    @property
    def has_frames(self) -> bool:
        """Whether frames wait in any worker's inbound socket."""
        return any(worker.has_frames for worker in self.workers.values())

    def next_wake_s(self) -> float:
        """When the first worker has to look again."""
        return min(worker.next_wake_s(self.clock.now_s) for worker in self.workers.values())

    def settle(self) -> None:
        """Work until nothing moves any more without the clock."""
        for _ in range(MAX_ROUNDS):
            if not self.round() and not self.has_frames:
                return
        raise AssertionError(f"still moving after {MAX_ROUNDS} rounds")

    def advance(self, seconds: float, step_s: float = 0.1) -> None:
        """Let time pass, working as it does."""
        end_s = self.clock.now_s + seconds
        while self.clock.now_s < end_s:
            self.clock.now_s = min(end_s, self.clock.now_s + step_s)
            self.settle()

    def checkpoint(self) -> None:
        """One checkpoint from its start to its commit."""
        self.settle()
        self.begin_checkpoint()
        self.settle()

    def run(self, *, longest_s: float = 600.0) -> None:
        """Run to the end: input over, trees complete, the last checkpoint committed, workers stopped."""
        deadline_s = self.clock.now_s + longest_s
        while True:
            self.settle()
            if self.is_finished:
                return
            if self.is_idle and self.can_checkpoint:
                self.begin_checkpoint(is_final=True)
                continue
            now_s = self.clock.now_s
            assert now_s < deadline_s, f"not finished after {longest_s:g} s"
            self.clock.now_s = max(self.next_wake_s(), now_s + 0.0005)
