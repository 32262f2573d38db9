"""TopologyTester: a whole topology in one thread of the test, with a clock that the test moves.

Theory of operation: the real workers, executors, channels, ledgers and checkpoints run, stepped by `Driver`; only
processes, sockets, Redis and the clock are replaced by what is in memory. Time is virtual: a round of work takes
ROUND_S, and when nothing is left to do the clock jumps to the next moment at which something is due (a tick, a
checkpoint, a retry, a timeout), so an hour takes no longer than what happens in it.

Source: Storm's simulated time and complete-topology (storm-core/src/clj/backtype/storm/testing.clj).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pystorm.components.stream import DEFAULT_STREAM
from pystorm.controller.counters import Counters
from pystorm.controller.status import ComponentStatus
from pystorm.errors import ConfigError, TopologyFailed
from pystorm.state.keyvalue import KeyValueState
from pystorm.testing.compare import assert_entries, assert_rows
from pystorm.testing.driver import Driver
from pystorm.testing.feed import FedSpout, Rows
from pystorm.testing.loading import Laid, lay_out
from pystorm.testing.worker import InProcessWorker
from pystorm.topology.suggest import hint
from pystorm.worker.logs import user_traceback

#: What a round in which somebody worked takes, in seconds of virtual time.
ROUND_S = 0.005
#: Rounds that time may stand still for at the end of an `advance`, so that what was begun is done.
MAX_CALM_ROUNDS = 200
#: Rounds of `run` after which the input is taken for endless.
MAX_BUSY_ROUNDS = 20_000


class CountingDriver(Driver):
    """The driver with the controller's counters, and its view of what progress is."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.counters = Counters(self.plan)
        self._started_from: Mapping[str, Mapping[str, Any]] = {}

    def recover(self, reason: str) -> None:
        """As the driver; remembers where the topology goes back to."""
        super().recover(reason)
        self._started_from = self.record.positions if self.record else {}

    def note_progress(self, positions: Mapping[str, Mapping[str, Any]]) -> None:
        """As the controller: a checkpoint at the positions where the last recovery started is no progress."""
        if positions:
            self.policy.on_commit(self._started_from, positions)
        else:
            self.policy.on_progress()

    def on_message(self, worker: InProcessWorker, message: dict[str, Any]) -> None:
        """As the driver; workers share one process, so they are told apart by their serial numbers."""
        if message["type"] == "stats":
            self.counters.on_stats({**message, "pid": worker.serial})
        super().on_message(worker, message)


class TopologyTester:
    """A topology under test. Use it as a context manager, one at a time.

    Args:
        topology: path of a YAML or Python file, a `Topology` class, or a model.
        inputs: rows by spout: instead of that spout, a spout of the test kit sends them. A row is a list of values;
            for other streams than the default one give `{stream: rows}`. An empty list can be filled by `feed`.
        overrides: as `--set` of `pystorm run`: configuration keys and `${variables}`.
        env: the environment for `${ENV-NAME}`; default: the process's.
        seed: of every random choice: the same seed, the same run.
        checkpoints: whether checkpoints are made; default: as `pystorm run` decides it.
        survive: an exception of a constructor, `initialize`, `next_tuple`, `ack` or `fail` ends the worker, and the
            recovery follows, as in production. Without it such an exception surfaces in the test. (An exception of
            `process` fails its tuple either way.)

    Raises:
        TopologyError, ConfigError: the topology is wrong.
    """

    def __init__(
        self,
        topology: Any,
        *,
        inputs: Mapping[str, Rows] | None = None,
        overrides: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        seed: int = 0,
        checkpoints: bool | None = None,
        survive: bool = False,
    ) -> None:
        self._laid: Laid = lay_out(topology, inputs or {}, overrides or {}, env)
        modules = {cls.__module__ for cls in self._laid.classes.values()}
        self.driver = CountingDriver(
            self._laid.plan,
            checkpoints=self._laid.has_checkpoints if checkpoints is None else checkpoints,
            seed=seed,
            expects_crashes=survive,
            records=True,
            clocked=modules,
        )
        self._interval_s = self.driver.settings.checkpoint_interval_ms / 1000
        self._next_checkpoint_s = 0.0
        self._last_states: dict[str, list[dict[str, dict[Any, Any]]]] = {}
        self._path: list[str] = []

    def __enter__(self) -> TopologyTester:
        self._path = list(sys.path)
        self.driver.__enter__()
        try:
            self._next_checkpoint_s = self.now_s + self._interval_s
            self._guarded(self._until_running)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.__exit__()
        sys.path[:] = self._path

    # -- moving on -------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """The virtual time, in seconds; it began at 1000."""
        return self.driver.clock.now_s

    def feed(self, spout: str, *rows: Sequence[Any], stream: str | None = None) -> None:
        """Give rows to a spout that `inputs` replaces, and work until they are done, without time passing."""
        feed = self._laid.feeds.get(spout)
        if feed is None:
            raise ConfigError(
                f"feed: spout {spout!r} is not replaced", hint=f"write TopologyTester(..., inputs={{{spout!r}: []}})"
            )
        self._need_running("feed")
        feed.add(rows, stream)
        self._guarded(self._calm)

    def advance(self, seconds: float) -> None:
        """Let virtual time pass: ticks fire, checkpoints are made, timeouts expire, spouts are asked for more."""
        self._need_running("advance")
        self._guarded(lambda: self._work_until(self.now_s + seconds))

    def run(self, *, longest_s: float = 86_400.0) -> None:
        """Run to the end: every spout has finished, every tree is complete, the last checkpoint is committed.

        Args:
            longest_s: virtual time after which to give up.

        Raises:
            TopologyFailed: the topology gave up; with the traceback of the last error in a bolt.
            AssertionError: it does not come to an end.
        """
        self._need_running("run")
        for feed in self._laid.feeds.values():
            feed.is_closed = True
        self._wake_feeding()
        self._guarded(lambda: self._work_until(self.now_s + longest_s, to_the_end=True))

    def drain(self) -> None:
        """End as Ctrl-C does: spouts stop, trees complete, a last checkpoint commits. For endless topologies."""
        self._need_running("drain")
        self.driver.tell({"type": "drain"})
        self.run()

    def checkpoint(self) -> None:
        """Make a checkpoint now."""
        self._need_running("checkpoint")
        self._guarded(self._checkpoint)

    def kill(self, component: str, task: int = 0) -> None:
        """kill -9 of the worker that runs a task of `component`, and the recovery that follows.

        The other tasks of that worker die too; set `topology.workers` or leave it out (one worker per task).
        """
        self._need_running("kill")
        tasks = self.driver.plan.tasks_of[self._known(component)]
        self._guarded(lambda: self.driver.kill(tasks[task].worker))
        self._guarded(self._until_running)

    def restart(self) -> None:
        """kill -9 of everything, and a new run that goes on from the last committed checkpoint."""
        self.driver.is_finished = False
        self._last_states.clear()
        self._guarded(self.driver.restart)
        self._guarded(self._until_running)

    def _until_running(self) -> None:
        """Deliver the assignments; no tuple moves yet."""
        while not self.driver.is_running:
            for index in range(self.driver.plan.workers):
                self.driver.deliver(index)
                self.driver.collect(index)

    def _checkpoint(self) -> None:
        committed = len(self.driver.committed)
        for _ in range(MAX_CALM_ROUNDS):
            if self.driver.can_checkpoint:
                break
            self._round()
        self.driver.begin_checkpoint()
        for _ in range(MAX_CALM_ROUNDS):
            self._round()
            if len(self.driver.committed) > committed:
                break
        self._calm()

    def _work_until(self, end_s: float, *, to_the_end: bool = False) -> None:
        driver, rounds = self.driver, 0
        while True:
            moved = self._round()
            if driver.is_finished:
                return
            now_s = self.now_s
            if to_the_end and driver.is_idle and driver.can_checkpoint:
                self._remember_states()
                driver.begin_checkpoint(is_final=True)
            elif driver.can_checkpoint and driver.has_checkpoints and now_s >= self._next_checkpoint_s:
                self._next_checkpoint_s = now_s + self._interval_s
                driver.begin_checkpoint()
            elif now_s >= end_s:
                break
            else:
                driver.clock.now_s = min(end_s, now_s + ROUND_S if moved else self._next_event_s())
            rounds += moved
            if to_the_end and rounds > MAX_BUSY_ROUNDS:
                break
        if to_the_end:
            self._complain_endless(rounds)
        self._calm()

    def _next_event_s(self) -> float:
        for executor in self._fed():
            if not executor.spout.has_more:
                executor.wake_s = math.inf  # nobody need ask it, it is woken when it is fed
        wake_s = self.driver.next_wake_s()
        if self.driver.has_checkpoints:
            wake_s = min(wake_s, self._next_checkpoint_s)
        return max(wake_s, self.now_s + 0.0001)

    def _calm(self) -> None:
        """Work without time passing, until nothing moves and all that was fed is sent."""
        self._wake_feeding()
        for _ in range(MAX_CALM_ROUNDS):
            if not self._round() and not any(executor.spout.has_more for executor in self._fed()):
                return

    def _wake_feeding(self) -> None:
        for executor in self._fed():
            if executor.spout.has_more:
                executor.wake_s = 0.0

    def _fed(self) -> list[Any]:
        """Executors of the test kit's own spouts."""
        names = [c.id for c in self._laid.plan.topology.spouts if issubclass(self._laid.classes[c.id], FedSpout)]
        return [executor for name in names for executor in self.driver.executors(name) if executor.spout.is_used]

    def _round(self) -> bool:
        return self.driver.round() or self.driver.has_frames

    def _guarded(self, move: Any) -> None:
        """A move; a failure of the topology is told with the error behind it."""
        try:
            move()
        except TopologyFailed as failure:
            if not self.driver.exceptions:
                raise
            cause = self.driver.exceptions[-1]
            raise TopologyFailed(f"{failure}\n{user_traceback(cause)}") from cause

    def _complain_endless(self, rounds: int) -> None:
        lines = []
        for name in (component.id for component in self._laid.plan.topology.spouts):
            for executor in self.driver.executors(name):
                said = "has finished" if executor.is_finished else "has not called finish()"
                lines.append(f"  spout {name!r}, task {executor.task.id}: {said}, {executor.open} messages are open")
        raise AssertionError(
            f"the topology does not come to its end ({rounds} rounds, now at {self.now_s:g} s):\n"
            + "\n".join(lines)
            + "\nif its input is endless, use advance(seconds) and drain()"
        )

    def _need_running(self, verb: str) -> None:
        if self.driver.is_finished:
            raise ConfigError(f"{verb}: this run has ended", hint="call restart() for a new run on the same state")

    # -- looking in ------------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.driver.is_finished

    @property
    def checkpoints(self) -> int:
        """How many checkpoints were committed."""
        return len(self.driver.committed)

    @property
    def recoveries(self) -> list[str]:
        """Why the topology went back to a checkpoint, each time."""
        return self.driver.reasons

    @property
    def errors(self) -> list[Exception]:
        """The exceptions that bolts raised, each time that they did."""
        return self.driver.exceptions

    def emitted(self, component: str, stream: str = DEFAULT_STREAM) -> list[list[Any]]:
        """The values of all tuples that a component has emitted to a stream, oldest first.

        What a recovery undoes is taken out again, so in exactly-once each is there once, whatever was killed.
        """
        declared = [name for owner, name in self.driver.plan.stream_of if owner == self._known(component)]
        if stream not in declared:
            raise ConfigError(f"component {component!r} has no stream {stream!r}", hint=hint(stream, declared))
        return [values for name, values in self.emitted_rows(component) if name == stream]

    def emitted_rows(self, component: str) -> list[tuple[str, list[Any]]]:
        """As `emitted`, for all streams in one order: (stream, values)."""
        recording = self.driver.recording
        assert recording is not None
        return recording.rows_of(task.id for task in self.driver.plan.tasks_of[self._known(component)])

    def state(self, component: str, state: str, task: int | None = None) -> dict[Any, Any]:
        """The entries of a state as the bolt sees them now (at the end of the run: as they were at the end).

        Args:
            task: index of one task. Without it the entries of all tasks are put together.

        Raises:
            ConfigError: there is no such state; or two tasks hold the same key, and `task` does not say which.
        """
        tasks = self._states_of(self._known(component))
        for states in tasks:
            if state not in states:
                raise ConfigError(f"component {component!r} has no state {state!r}", hint=hint(state, list(states)))
        if task is not None:
            return tasks[task][state]
        found: dict[Any, Any] = {}
        for states in tasks:
            twice = found.keys() & states[state].keys()
            if twice:
                raise ConfigError(
                    f"state {component}.{state}: several tasks hold the key {min(twice, key=repr)!r}", hint="say task=0"
                )
            found.update(states[state])
        return found

    def committed(self, component: str, state: str) -> dict[Any, Any]:
        """The entries of a state as of the last committed checkpoint; numbers of several tasks are added."""
        return self.driver.state(self._known(component), state)

    def counts(self, component: str) -> ComponentStatus:
        """Counters of a component: `emitted`, `acked`, `failed`, `processed`; what a recovery repeats counts again."""
        for worker in self.driver.workers.values():
            if worker.runtime is not None:
                worker.report_stats()
            self.driver.collect(worker.index)
        known = self._known(component)
        return next(status for status in self.driver.counters.components() if status.id == known)

    def logs(self, component: str) -> list[str]:
        """The lines that the tasks of a component have logged, task by task."""
        tasks = self.driver.plan.tasks_of[self._known(component)]
        return [line for task in tasks for line in self.driver.logs.get(task.label, [])]

    def instance(self, component: str, task: int = 0) -> Any:
        """The spout or bolt object behind a task; a recovery makes a new one."""
        self._need_running("instance")
        return self.driver.instance(self._known(component), task)

    def _known(self, component: str) -> str:
        known = list(self.driver.plan.topology.components)
        if component not in known:
            raise ConfigError(
                f"topology {self.driver.plan.topology.name!r} has no component {component!r}",
                hint=hint(component, known),
            )
        return component

    def _states_of(self, component: str) -> list[dict[str, dict[Any, Any]]]:
        if self.driver.is_finished:
            return self._last_states.get(component, [])
        tasks = self.driver.plan.tasks_of[component]
        return [states_of(self.driver.instance(component, task.index)) for task in tasks]

    def _remember_states(self) -> None:
        """The workers are about to end; what their bolts hold stays readable."""
        for bolt in self.driver.plan.topology.bolts:
            self._last_states[bolt.id] = self._states_of(bolt.id)

    # -- asserting -------------------------------------------------------------------------------------------------

    def assert_emitted(
        self,
        component: str,
        expected: Iterable[Sequence[Any]],
        stream: str = DEFAULT_STREAM,
        *,
        any_order: bool = False,
    ) -> None:
        """Compare what a component has emitted; a failure shows both side by side.

        Tuples of several tasks come in no particular order: use `any_order`.
        """
        what = f"{component!r} emitted to stream {stream!r}"
        assert_rows(self.emitted(component, stream), expected, what, any_order=any_order)

    def assert_state(self, component: str, state: str, expected: Mapping[Any, Any], task: int | None = None) -> None:
        """Compare a state; a failure shows the keys that differ side by side."""
        assert_entries(self.state(component, state, task), expected, f"state {component}.{state}")


def states_of(bolt: Any) -> dict[str, dict[Any, Any]]:
    """The states of a bolt by name, as plain dicts."""
    return {name: dict(value) for name, value in vars(bolt).items() if isinstance(value, KeyValueState)}
