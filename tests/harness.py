"""A whole topology in one thread: the real workers, sockets and checkpoint store, under a clock that only tests move.

Theory of operation
    A `HarnessWorker` is the real `Worker` without its process: its control channel is a pair of queues, its
    checkpointer runs one job when it is told to, and `turn` stands for one round of its loop. Workers share one ZeroMQ
    context and talk over inproc endpoints, which hand a frame over at once and in order, so nothing depends on time or
    on threads. `Harness` is also the controller: generations, checkpoints (the real `CheckpointCoordinator` and
    `RestartPolicy`) and recovery, over a `MemoryStore`.

    Tests that tell a story use `settle` (work until nothing moves), `advance`, `checkpoint`, `kill` and `run`. The
    simulation picks single moves instead: `turn`, `run_job`, `deliver`, `collect`.

Invariants: the clock moves by `Clock.work_s` each time it is read and otherwise only when told, so a run repeats
exactly. An exception of a worker that no test expects surfaces in the test.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import zmq

from pystorm.components import Bolt, Spout, streams_of
from pystorm.controller.coordinator import CheckpointCoordinator, Phase
from pystorm.controller.restarts import RestartPolicy
from pystorm.controller.statebackend import scopes_of
from pystorm.errors import TopologyFailed
from pystorm.state.memory_store import MemoryBackend, MemoryStore
from pystorm.state.reader import CommittedState
from pystorm.state.record import CheckpointRecord
from pystorm.topology.config import Settings
from pystorm.topology.model import Component, Edge, Grouping, GroupingType, ObjectSpec, Topology
from pystorm.topology.plan import Plan
from pystorm.worker import bolt_executor, control, process, runtime, spout_executor
from pystorm.worker.bolt_executor import BoltExecutor
from pystorm.worker.checkpointer import Checkpointer, MoveJob, PrepareJob
from pystorm.worker.process import Worker, WorkerCrash
from pystorm.worker.spout_executor import SpoutExecutor

#: Where classes of tests live for the builder, which knows classes by name.
_CLASSES = types.ModuleType("pystorm_test_classes")
sys.modules[_CLASSES.__name__] = _CLASSES

_CLOCKED: tuple[Any, ...] = (runtime, spout_executor, bolt_executor, process)
#: Rounds after which a topology that still moves is taken for one that never stops.
MAX_ROUNDS = 20_000


def publish(cls: type) -> str:
    """Make a class importable, however local it is; returns its dotted name."""
    name = f"{cls.__name__}_{id(cls)}"
    setattr(_CLASSES, name, cls)
    return f"{_CLASSES.__name__}.{name}"


class Parts:
    """Collects components and edges and makes a topology and its plan of them.

    >>> parts = Parts(); parts.spout("s", Spout); parts.topology().spouts[0].id
    's'
    """

    def __init__(self) -> None:
        self._components: dict[str, Component] = {}
        self._edges: list[Edge] = []
        self._classes: dict[str, type] = {}

    def spout(self, name: str, cls: type[Spout], parallelism: int = 1, **rest: Any) -> None:
        """Add a spout; `args` and `config` as in a topology file."""
        self._add(name, "spout", cls, parallelism, **rest)

    def bolt(self, name: str, cls: type[Bolt], parallelism: int = 1, *, reads: Iterable[Any] = (), **rest: Any) -> None:
        """Add a bolt; `reads` takes sources: an id (SHUFFLE), or the arguments of `edge` without the target."""
        self._add(name, "bolt", cls, parallelism, **rest)
        for source in reads:
            source = (source,) if isinstance(source, str) else source
            self.edge(source[0], name, *source[1:])

    def _add(
        self,
        name: str,
        kind: str,
        cls: type,
        parallelism: int,
        *,
        args: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        spec = ObjectSpec(class_name=publish(cls), args=args or {})
        self._components[name] = Component(id=name, kind=kind, spec=spec, parallelism=parallelism, config=config or {})
        self._classes[name] = cls

    def edge(
        self,
        source: str,
        target: str,
        grouping: str = "SHUFFLE",
        fields: Iterable[str] = (),
        stream: str = "default",
        custom: type | None = None,
    ) -> None:
        """Add an edge."""
        spec = ObjectSpec(class_name=publish(custom)) if custom else None
        kind = Grouping(type=GroupingType(grouping), fields=tuple(fields), custom=spec)
        self._edges.append(Edge(source=source, target=target, grouping=kind, stream=stream))

    def topology(self, **config: Any) -> Topology:
        """The topology; config keys are written with _ for each dot."""
        return Topology(name="t", components=self._components, edges=tuple(self._edges), config=dotted(config))

    def plan(self, *, workers: int | None = None, **config: Any) -> Plan:
        """The plan of the topology."""
        streams = {name: streams_of(cls) for name, cls in self._classes.items()}
        return Plan(self.topology(**config), streams, workers)


def dotted(config: Mapping[str, Any]) -> dict[str, Any]:
    """{"topology_guarantee": ...} as {"topology.guarantee": ...}."""
    return {key.replace("_", "."): value for key, value in config.items()}


class Clock:
    """Stands for the `time` module in the worker's modules."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        #: how far the clock moves each time it is read: what a look at it, and the work before it, takes
        self.work_s = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        self.now_s += self.work_s
        return self.now_s

    perf_counter = monotonic


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


class HarnessWorker(Worker):
    """A worker without a process."""

    def __init__(self, index: int, harness: Harness) -> None:
        streams = sys.stdout, sys.stderr
        super().__init__(index, f"inproc://control-{index}", f"w{index}", os.getppid(), harness.open_store)
        sys.stdout, sys.stderr = streams
        self._control.close(linger=0)
        self._context.term()
        self._context = harness.context
        self.clock = harness.clock
        self.line = ControlLine()
        self._control = self.line  # type: ignore[assignment]

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


class Harness:
    """A running topology. Use it as a context manager: it stands in for the clock of the worker's modules."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        *,
        checkpoints: bool = False,
        backend: MemoryBackend | None = None,
        seed: int = 0,
        expects_crashes: bool = False,
    ) -> None:
        random.seed(seed)
        self.plan = plan
        self.settings = Settings.from_config(plan.topology.config)
        self.clock = Clock()
        self.context: zmq.Context[Any] = zmq.Context()
        self.backend = backend or MemoryBackend()
        self.has_checkpoints = checkpoints
        self.workers: dict[int, HarnessWorker] = {}
        self.generation = 0
        self.record: CheckpointRecord | None = None
        self.coordinator = CheckpointCoordinator(task.label for task in plan.tasks.values())
        self.policy = RestartPolicy(self.settings.recovery_max_attempts)
        self.committed: list[int] = []
        self.reasons: list[str] = []
        self.errors: list[str] = []
        self.is_running = False
        self.is_finished = False
        self._folder = folder
        self._expects_crashes = expects_crashes
        self._store = MemoryStore(plan.topology.name, self.backend)
        self._idle: set[int] = set()
        self._not_ready: set[int] = set()
        self._replaced = [(module, module.time) for module in _CLOCKED]
        self._checkpointer_class = vars(process)["Checkpointer"]

    def __enter__(self) -> Harness:
        for module, _ in self._replaced:
            module.time = self.clock
        vars(process)["Checkpointer"] = SteppedCheckpointer
        self.recover("the run starts")
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.vanish()
        self.context.destroy(linger=0)
        vars(process)["Checkpointer"] = self._checkpointer_class
        for module, original in self._replaced:
            module.time = original
        for task in self.plan.tasks.values():
            logger = logging.getLogger(f"pystorm.task.{task.label}")
            for handler in list(logger.handlers):
                logger.removeHandler(handler)
                handler.close()

    def open_store(self, topology: str, _config: dict[str, Any]) -> MemoryStore:
        """A worker's own connection to the store."""
        return MemoryStore(topology, self.backend)

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
        for entry in CommittedState(self._store, "t").dump(component, state):
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
        self.coordinator = CheckpointCoordinator((task.label for task in self.plan.tasks.values()), last)
        self._idle.clear()
        self._not_ready = set(range(self.plan.workers))
        for index in range(self.plan.workers):
            if index not in self.workers:
                self.workers[index] = HarnessWorker(index, self)
        self.tell({**self._assignment(), "reason": reason})

    def _assignment(self) -> dict[str, Any]:
        names = {str(w): f"inproc://g{self.generation}w{w}" for w in range(self.plan.workers)}
        return {
            "type": "assign",
            "plan": self.plan.to_wire(),
            "endpoints": names,
            "logs": str(self._folder / "logs"),
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
            self._on_message(index, worker.line.to_controller.popleft())
        return had

    def _on_message(self, index: int, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "user_error":
            self.errors.append(message["text"] + message["where"])
        if message["generation"] != self.generation:
            return
        if kind == "ready":
            self._not_ready.discard(index)
            if not self._not_ready:
                self.is_running = True
                self.tell({"type": "start"})
        elif kind == "idle":
            (self._idle.add if message["is_idle"] else self._idle.discard)(index)
        elif kind == "prepared":
            self._on_prepared(message)
        elif kind in ("rollback", "failed", "stale"):
            self.fail(message["reason"])
        elif kind == "give_up":
            raise TopologyFailed(message["reason"])

    def _on_prepared(self, message: dict[str, Any]) -> None:
        names = ("epoch", "task", "component", "keys", "bytes", "positions")
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
        self.policy.on_progress()
        self.committed.append(epoch)
        self.tell({"type": "committed", "epoch": epoch})
        if tally.is_final:
            self.is_finished = True
            self.tell({"type": "stop"})

    @property
    def can_checkpoint(self) -> bool:
        """Whether a checkpoint may begin now."""
        return self.is_running and self.coordinator.phase is Phase.IDLE and not self.is_finished

    @property
    def is_idle(self) -> bool:
        """Whether all input has ended and every tree is complete."""
        return self.is_running and len(self._idle) == self.plan.workers

    # -- moves -----------------------------------------------------------------------------------------------------

    def _guarded(self, worker: HarnessWorker, move: Callable[[], Any]) -> bool:
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

    def settle(self) -> None:
        """Work until nothing moves any more without the clock."""
        for _ in range(MAX_ROUNDS):
            if not self.round() and not any(worker.has_frames for worker in self.workers.values()):
                return
        raise AssertionError(f"still moving after {MAX_ROUNDS} rounds")

    def advance(self, seconds: float, step_s: float = 0.1) -> None:
        """Let time pass, working as it does."""
        end_s = self.clock.now_s + seconds
        while self.clock.now_s < end_s:
            self.clock.now_s = min(end_s, self.clock.now_s + step_s)
            self.settle()

    def feed(self, component: str, *values: Any, id: Any = None) -> None:
        """Give a `Feeder` a tuple to send, and work until nothing moves."""
        self.instance(component).feed(*values, id=id)
        self.advance(0.02, 0.02)  # longer than a spout with nothing to send rests

    def checkpoint(self) -> None:
        """One checkpoint from its start to its commit."""
        self.settle()
        self.begin_checkpoint()
        self.settle()

    def run(self, *, longest_s: float = 600.0) -> None:
        """Run to the end: input over, trees complete, the last checkpoint committed, workers stopped."""
        deadline_s = self.clock.now_s + longest_s
        for _ in itertools.count():
            self.settle()
            if self.is_finished:
                return
            if self.is_idle and self.can_checkpoint:
                self.begin_checkpoint(is_final=True)
                continue
            now_s = self.clock.now_s
            assert now_s < deadline_s, f"not finished after {longest_s:g} s"
            wake_s = min(worker.next_wake_s(now_s) for worker in self.workers.values())
            self.clock.now_s = max(wake_s, now_s + 0.0005)


class Feeder(Spout):
    """A spout that sends what a test feeds it and notes what becomes of it."""

    outputs = ["num"]

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        self.waiting: deque[tuple[list[Any], Any]] = deque()
        self.acked: list[Any] = []
        self.failed: list[tuple[Any, str]] = []

    def feed(self, *values: Any, id: Any = None) -> None:
        """Send these values at the next chance."""
        self.waiting.append((list(values), id))

    def next_tuple(self) -> None:
        if self.waiting:
            values, tup_id = self.waiting.popleft()
            self.emit(values, tup_id)

    def ack(self, tup_id: Any) -> None:
        self.acked.append(tup_id)

    def fail(self, tup_id: Any, reason: str = "") -> None:
        self.failed.append((tup_id, reason))

    def take_acked(self) -> list[Any]:
        """The messages acked since the last call."""
        found, self.acked = self.acked, []
        return found
