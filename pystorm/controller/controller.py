"""The controller of one running topology: starts workers, drives checkpoints, recovers from every kind of failure.

Theory of operation. One loop handles messages of workers, ends of processes, signals and times. There is one way back
from every failure (`_recover`): a new generation fences everything old, the store is brought to the last committed
checkpoint, dead workers are replaced, and all workers build their tasks anew from that checkpoint.

States, by what they wait for::

    STARTING   every worker to be ready with the generation
    RUNNING    the next checkpoint to be due, the input to end, or a failure
    FINISHING  the final checkpoint, after which nothing is left to do
    BACKOFF    a pause, because failures follow each other, or because the state backend does not answer
    STOPPING   the workers to say goodbye
    DONE
"""

from __future__ import annotations

import enum
import time
from typing import Any

from zmq.backend import zmq_poll

from pystorm.controller.cluster import Cluster, Death, WorkerHandle
from pystorm.controller.coordinator import CheckpointCoordinator, Phase
from pystorm.controller.counters import Counters
from pystorm.controller.datadir import DataDirectory
from pystorm.controller.launcher import Launcher
from pystorm.controller.restarts import Positions, RestartPolicy
from pystorm.controller.signals import StopSignals
from pystorm.controller.statebackend import StateBackend
from pystorm.controller.status import Observer, RunResult, RunStatus
from pystorm.errors import StaleGeneration, StateUnavailable, TopologyFailed
from pystorm.state.record import CheckpointRecord
from pystorm.topology.config import Guarantee, Settings
from pystorm.topology.plan import Plan

#: How long a worker may take to notice a new generation before it is killed, in seconds.
ASSIGN_DEADLINE_S = 5.0
#: How long to wait for what a worker said before it ended by itself, in seconds.
LAST_WORDS_S = 0.5
#: How long workers may take to say goodbye before they are killed, in seconds.
STOP_DEADLINE_S = 10.0
#: Pause between attempts while the state backend does not answer, in seconds.
RETRY_S = 0.2
#: Time between two looks of the observer, in seconds.
PROGRESS_S = 0.5


class RunState(enum.Enum):
    """See the module's docstring."""

    STARTING = "starting"
    RUNNING = "running"
    FINISHING = "finishing"
    BACKOFF = "waiting"
    STOPPING = "stopping"
    DONE = "done"


class Controller:
    """Runs one topology once."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        directory: DataDirectory,
        backend: StateBackend | None,
        observer: Observer,
        signals: StopSignals,
        launcher: Launcher,
        *,
        duration_s: float | None = None,
        can_recover: bool = True,
    ) -> None:
        self._can_recover = can_recover
        self._plan = plan
        self._settings = settings
        self._directory = directory
        self._backend = backend
        self._observer = observer
        self._signals = signals
        self._duration_s = duration_s
        self._cluster = Cluster(directory.runtime, directory.logs, plan.workers, launcher)
        self._counters = Counters(plan)
        self._policy = RestartPolicy(settings.recovery_max_attempts)
        self._coordinator = CheckpointCoordinator(task.label for task in plan.tasks.values())
        self._state = RunState.BACKOFF
        self._generation = 0
        self._record: CheckpointRecord | None = None
        self._started_from: Positions = {}
        self._reason = "the run starts"
        self._shown_reason = ""
        self._started_s = time.monotonic()
        self._not_assigned: set[int] = set()
        self._not_ready: set[int] = set()
        self._idle: set[int] = set()
        self._dry: set[int] = set()
        self._assign_deadline_s = 0.0
        self._retry_s = 0.0
        self._next_checkpoint_s = 0.0
        self._next_progress_s = 0.0
        self._running_since_s = 0.0
        self._stop_deadline_s = 0.0
        self._next_final_s = 0.0
        self._has_told_of_held = False
        self._is_draining = False
        self._is_finished = False
        self._outcome = ""
        self._cause = ""
        self._checkpoints = 0
        self._recoveries = 0
        self._last_commit = (0, 0.0, 0.0)  # epoch, duration in ms, monotonic s
        self._shown_causes: set[tuple[str, ...]] = set()
        self._unavailable: set[int] = set()
        self._interval_s = settings.checkpoint_interval_ms / 1000

    def start(self) -> None:
        """Start what takes time, before anything else is ready; returns at once."""
        self._cluster.start()

    def run(self) -> RunResult:
        """Run to the end."""
        try:
            self._recover()
            while self._state is not RunState.DONE:
                self._loop_once()
        except TopologyFailed as failure:
            self._outcome, self._cause = "failed", str(failure)
        return RunResult(
            topology=self._plan.topology.name,
            outcome=self._outcome,
            seconds=time.monotonic() - self._started_s,
            components=self._counters.components(),
            checkpoints=self._checkpoints,
            recoveries=self._recoveries,
            cause=self._cause,
            errors=self._counters.errors(),
        )

    def close(self) -> None:
        """End every process that is left."""
        self._cluster.close()

    # -- the loop ----------------------------------------------------------------------------------------------

    def _loop_once(self) -> None:
        zmq_poll([*self._cluster.pollables, (self._signals.fileno(), 1)], self._poll_ms())
        self._on_signals()
        for handle, message in self._cluster.receive():
            self._on_message(handle, message)
        deaths = self._cluster.deaths()
        if deaths:
            self._hear_last_words(deaths)
            self._on_deaths(deaths)
        self._on_time(time.monotonic())

    def _hear_last_words(self, deaths: list[Death]) -> None:
        """A worker's last messages, its final counts or why it ends, may come a moment after its end."""
        deadline_s = time.monotonic() + LAST_WORDS_S
        while True:
            for handle, message in self._cluster.receive():
                self._on_message(handle, message)
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not any(death.is_news_due for death in deaths):
                return
            self._cluster.wait_for_message(max(1, int(left_s * 1000)))

    def _poll_ms(self) -> int:
        now_s = time.monotonic()
        wake_s = min(self._next_progress_s, now_s + 0.2)
        if self._state is RunState.RUNNING and self._backend is not None:
            wake_s = min(wake_s, self._next_checkpoint_s)
        if self._retry_s:
            wake_s = min(wake_s, self._retry_s)
        return max(0, int((wake_s - now_s) * 1000) + 1) if wake_s > now_s else 0

    def _on_signals(self) -> None:
        count = self._signals.take()
        if not count:
            return
        if self._is_draining or count > 1:
            self._outcome = "aborted"
            self._state = RunState.DONE
            return
        self._observer.event("INFO", "draining: spouts stop, what is in flight is finished (once more to quit at once)")
        self._drain("drained")

    def _drain(self, outcome: str) -> None:
        if self._state in (RunState.STOPPING, RunState.DONE):
            return  # it has ended by itself
        self._is_draining = True
        self._outcome = outcome
        self._cluster.broadcast({"type": "drain", "generation": self._generation})

    def _on_time(self, now_s: float) -> None:
        if self._duration_s is not None and now_s - self._started_s >= self._duration_s and not self._is_draining:
            self._drain("drained")
        if self._backend is not None and self._backend.watch(self._observer):
            self._write_workers()
        if self._state is RunState.BACKOFF and now_s >= self._retry_s:
            self._recover()
        elif self._state is RunState.STARTING and self._not_assigned and now_s >= self._assign_deadline_s:
            self._kill_unresponsive()
        elif self._state is RunState.RUNNING:
            self._on_running(now_s)
        elif self._state is RunState.STOPPING:
            self._on_stopping(now_s)
        if self._coordinator.phase is Phase.COMMITTING and now_s >= self._retry_s:
            self._commit()
        if now_s >= self._next_progress_s:
            self._next_progress_s = now_s + PROGRESS_S
            self._observer.progress(self.status())

    def _on_running(self, now_s: float) -> None:
        has_positions = self._settings.guarantee is Guarantee.EXACTLY_ONCE or bool(
            self._record and self._record.positions
        )
        self._policy.on_running(now_s - self._running_since_s, has_positions=has_positions)
        if self._coordinator.phase is not Phase.IDLE:
            return
        if len(self._idle) == self._plan.workers and now_s >= self._next_final_s:
            self._state = RunState.FINISHING
            self._begin_checkpoint(is_final=True)
        elif self._backend is not None and now_s >= self._next_checkpoint_s:
            self._begin_checkpoint(is_final=False)

    # -- recovery ----------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Start, or start again, from the last committed checkpoint, in a new generation."""
        self._coordinator.abort()
        self._unavailable.clear()
        self._retry_s = 0.0
        if self._backend is None:
            self._generation += 1
        else:
            try:
                self._generation, self._record = self._backend.open_generation()
            except StateUnavailable as error:
                self._backend.say_unavailable(self._observer, str(error), is_processing=False)
                self._state = RunState.BACKOFF
                self._retry_s = time.monotonic() + RETRY_S
                return
            self._backend.say_available(self._observer)
        last = self._record.epoch if self._record else 0
        self._started_from = self._record.positions if self._record else {}
        self._coordinator = CheckpointCoordinator(
            (task.label for task in self._plan.tasks.values()), max(last, self._coordinator.epoch)
        )
        self._state = RunState.STARTING
        everybody = set(range(self._plan.workers))
        self._not_ready, self._idle = set(everybody), set()
        self._dry.clear()
        self._not_assigned = set(everybody)
        self._assign_deadline_s = time.monotonic() + ASSIGN_DEADLINE_S
        self._cluster.spawn_missing()
        for index in self._cluster.workers:
            self._assign(index)

    def _assign(self, index: int) -> None:
        self._cluster.send(
            index,
            {
                "type": "assign",
                "generation": self._generation,
                "plan": self._plan.to_wire(),
                "endpoints": {
                    str(w): f"ipc://{self._directory.runtime}/g{self._generation}w{w}"
                    for w in range(self._plan.workers)
                },
                "logs": str(self._directory.logs),
                "store": self._backend.config if self._backend is not None else None,
                "record": self._record.pack() if self._record else None,
                "has_checkpoints": self._backend is not None,
                "reason": self._reason,
            },
        )

    def _on_deaths(self, deaths: list[Death]) -> None:
        reasons = []
        for death in deaths:
            handle = death.handle
            tasks = ", ".join(task.label for task in self._plan.tasks_on(handle.index))
            reason = f"worker {handle.index} ({tasks}, pid {handle.pid}) {death.description}"
            if handle.last_words:
                reason = f"worker {handle.index} ({tasks}): {handle.last_words}"
            reasons.append(reason)
            if handle.detail:
                self._show_detail(handle)
            self._not_assigned.discard(handle.index)
        if self._state in (RunState.STOPPING, RunState.DONE):
            return
        self._fail("; ".join(reasons))

    def _show_detail(self, handle: WorkerHandle) -> None:
        if (handle.last_words,) not in self._shown_causes:
            self._shown_causes.add((handle.last_words,))
            where = handle.label or f"worker {handle.index}"
            self._observer.event("ERROR", f"{where}: {handle.last_words}\n{handle.detail}")

    def _fail(self, reason: str) -> None:
        """Something broke; go back to the last checkpoint, now or after a pause, or give up."""
        if self._state in (RunState.BACKOFF, RunState.STOPPING, RunState.DONE):
            return
        self._reason = reason
        if not self._can_recover:
            raise TopologyFailed(
                f"{reason}; the state was in memory only (topology.state.provider: memory), so there is nothing to "
                "recover from"
            )
        pause_s = self._policy.on_failure()
        if pause_s is None:
            attempts = self._policy.max_attempts
            raise TopologyFailed(f"{reason} (gave up after {attempts} recoveries in a row without progress)")
        self._recoveries += 1
        where = f"checkpoint {self._last_commit[0]}" if self._last_commit[0] else "the start"
        if self._record is not None:
            where = f"checkpoint {max(self._record.epoch, self._last_commit[0])}"
        later = f" in {pause_s:g} s" if pause_s else ""
        if reason == self._shown_reason:  # it was told in full before
            reason = f"the same again ({self._policy.attempts} times in a row)"
        self._shown_reason = self._reason
        self._observer.event("WARNING", f"{reason}; recovering from {where}{later}")
        self._coordinator.abort()
        if pause_s:
            self._state = RunState.BACKOFF
            self._retry_s = time.monotonic() + pause_s
        else:
            self._recover()

    def _kill_unresponsive(self) -> None:
        for index in sorted(self._not_assigned):
            self._observer.event("WARNING", f"worker {index} did not answer for {ASSIGN_DEADLINE_S:g} s and is killed")
            self._cluster.kill(index)
        self._not_assigned.clear()

    # -- messages ----------------------------------------------------------------------------------------------

    def _on_message(self, handle: WorkerHandle, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "hello":
            self._write_workers()
            if self._state is RunState.STARTING:
                self._assign(handle.index)
        elif kind == "log":
            self._observer.event(message["level"], f"{message['label']}: {message['text']}")
        elif kind == "user_error":
            self._show_user_error(message)
        elif kind == "stats":
            self._counters.on_stats(message)
        elif message["generation"] == self._generation and self._state is not RunState.BACKOFF:
            # during the pause after a failure the generation is still the failed one: its news mean nothing any more
            self._on_generation_message(handle.index, kind, message)

    def _on_generation_message(self, index: int, kind: str, message: dict[str, Any]) -> None:
        if kind == "assigned":
            self._not_assigned.discard(index)
        elif kind == "ready":
            self._on_ready(index)
        elif kind == "dry":
            self._dry.add(index)
            if len(self._dry) == self._plan.workers:  # nothing comes any more: batches need not wait for it
                self._cluster.broadcast({"type": "dry", "generation": self._generation})
        elif kind == "idle":
            (self._idle.add if message["is_idle"] else self._idle.discard)(index)
        elif kind == "prepared":
            self._on_prepared(message)
        elif kind in ("rollback", "failed"):
            self._fail(message["reason"])
        elif kind == "give_up":
            raise TopologyFailed(message["reason"])
        elif kind == "stale":
            self._on_stale(message["reason"])
        elif kind == "unavailable":
            self._unavailable.add(index)
            if self._backend is not None:
                self._backend.say_unavailable(self._observer, message["reason"])
        elif kind == "available":
            self._unavailable.discard(index)
            if self._backend is not None and not self._unavailable:
                self._backend.say_available(self._observer)

    def _on_ready(self, index: int) -> None:
        self._not_ready.discard(index)
        if self._not_ready or self._state is not RunState.STARTING:
            return
        self._state = RunState.RUNNING
        self._running_since_s = now_s = time.monotonic()
        self._next_checkpoint_s = now_s + self._interval_s
        self._cluster.broadcast({"type": "start", "generation": self._generation})
        if self._is_draining:
            self._drain(self._outcome)

    def _on_stale(self, reason: str) -> None:
        """Somebody else owns the topology, or the backend lost what it had."""
        if self._backend is not None and self._backend.is_taken_over(self._generation):
            raise TopologyFailed(
                f"another controller took over topology {self._plan.topology.name!r} on the same state backend "
                f"({reason})"
            )
        self._fail(f"the state backend lost its data: {reason}")

    def _show_user_error(self, message: dict[str, Any]) -> None:
        component = message["label"].rpartition("-")[0]
        cause = (component, *message["cause"])
        if cause in self._shown_causes:
            return
        self._shown_causes.add(cause)
        self._observer.event(
            "ERROR", f"{message['label']}: {message['text']}{message['where']}\n{message['traceback']}"
        )

    def _write_workers(self) -> None:
        workers = [
            {
                "index": handle.index,
                "pid": handle.pid,
                "tasks": [task.label for task in self._plan.tasks_on(handle.index)],
            }
            for handle in self._cluster.workers.values()
            if handle.is_connected
        ]
        self._directory.write_workers(
            {
                "generation": self._generation,
                "controller": self._signals.pid,
                "redis": self._backend.embedded_pid if self._backend is not None else None,
                "workers": workers,
            }
        )

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _begin_checkpoint(self, *, is_final: bool) -> None:
        now_s = time.monotonic()
        epoch = self._coordinator.begin(now_s, is_final=is_final)
        self._next_checkpoint_s = now_s + self._interval_s
        spouts = {t.worker for c in self._plan.topology.spouts for t in self._plan.tasks_of[c.id]}
        self._cluster.broadcast({"type": "checkpoint", "generation": self._generation, "epoch": epoch}, spouts)

    def _on_prepared(self, message: dict[str, Any]) -> None:
        is_last = self._coordinator.on_prepared(
            message["epoch"],
            message["task"],
            message["component"],
            message["keys"],
            message["bytes"],
            message["positions"],
            message["held"],
        )
        if is_last:
            self._commit()

    def _commit(self) -> None:
        """Write the commit record: the commit point."""
        tally = self._coordinator.tally
        assert tally is not None
        # what a bolt still holds may make new tuples that nobody has seen yet
        is_last = tally.is_final and not tally.held
        now_s = time.monotonic()
        duration_ms = (now_s - tally.started_s) * 1000
        epoch = self._coordinator.epoch
        if self._backend is not None:
            record = CheckpointRecord(
                epoch=epoch,
                generation=self._generation,
                wall_time=time.time(),
                duration_ms=round(duration_ms, 3),
                keys=tally.keys,
                bytes=tally.bytes,
                positions=self._merged_positions(tally.positions),
                tasks={c.id: c.parallelism for c in self._plan.topology.components.values()},
                keyed=[c.id for c in self._plan.topology.bolts if self._plan.topology.is_keyed(c.id)],
                max_parallelism=self._settings.max_parallelism,
                final=is_last and not self._is_draining,
            )
            try:
                self._backend.commit(self._generation, record)
            except StateUnavailable as error:
                self._backend.say_unavailable(self._observer, str(error))
                self._retry_s = now_s + RETRY_S
                return
            except StaleGeneration as error:
                self._on_stale(str(error))
                return
            if not self._unavailable:
                self._backend.say_available(self._observer)
            self._record = record
            self._checkpoints += 1
            self._last_commit = (epoch, duration_ms, now_s)
        self._retry_s = 0.0
        self._coordinator.on_committed()
        self._policy.on_commit(self._started_from, tally.positions)
        self._cluster.broadcast({"type": "committed", "generation": self._generation, "epoch": epoch})
        if is_last:
            self._stop_workers()
        elif tally.is_final:
            self._wait_for_held(tally.held)

    def _wait_for_held(self, held: int) -> None:
        """The input has ended and bolts hold tuples: go on until they have worked them off."""
        self._state = RunState.RUNNING
        self._next_final_s = time.monotonic() + self._interval_s
        if not self._has_told_of_held:
            self._has_told_of_held = True
            self._observer.event("INFO", f"the input has ended; waiting for {held} tuples that bolts still hold")

    def _merged_positions(self, reached: Positions) -> dict[str, dict[str, Any]]:
        """Positions of a checkpoint; a partition that is missing this time keeps the one that it had."""
        merged = {c: dict(by_name) for c, by_name in self._record.positions.items()} if self._record else {}
        for component, by_name in reached.items():
            merged.setdefault(component, {}).update(by_name)
        return merged

    # -- the end -----------------------------------------------------------------------------------------------

    def _stop_workers(self) -> None:
        self._state = RunState.STOPPING
        self._outcome = self._outcome or "finished"
        self._stop_deadline_s = time.monotonic() + STOP_DEADLINE_S
        self._cluster.broadcast({"type": "stop"})

    def _on_stopping(self, now_s: float) -> None:
        if not self._cluster.workers:
            self._state = RunState.DONE
        elif now_s >= self._stop_deadline_s:
            late = ", ".join(str(index) for index in sorted(self._cluster.workers))
            self._observer.event("WARNING", f"killed workers that did not end within {STOP_DEADLINE_S:g} s: {late}")
            self._state = RunState.DONE

    def status(self) -> RunStatus:
        """The run as it stands."""
        now_s = time.monotonic()
        epoch, duration_ms, committed_s = self._last_commit
        return RunStatus(
            topology=self._plan.topology.name,
            phase="draining" if self._is_draining and self._state is RunState.RUNNING else self._state.value,
            elapsed_s=now_s - self._started_s,
            generation=self._generation,
            components=self._counters.components(),
            checkpoints=self._checkpoints,
            last_epoch=epoch,
            last_checkpoint_ms=duration_ms,
            last_checkpoint_age_s=now_s - committed_s if epoch else 0.0,
            recoveries=self._recoveries,
        )
