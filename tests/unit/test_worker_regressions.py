"""What went wrong once: each test tells one way in which user code or an unlucky moment broke a promise."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pystorm.components import Bolt, ReplayableSpout, Spout, Stream, Tuple
from pystorm.errors import ComponentError
from pystorm.state.keyvalue import KeyValueState
from pystorm.topology.config import Settings
from pystorm.worker.logs import PrintToLog, open_task_log
from tests.harness import Feeder, Harness, Parts

Start = Callable[..., Harness]
ROOT = Path(__file__).parents[2]
ONCE_EACH = dict.fromkeys(range(60), 1)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts topologies, with checkpoints unless told otherwise; ends them afterwards."""
    running: list[Harness] = []

    def start(parts: Parts, *, workers: int | None = None, checkpoints: bool = True, **config: Any) -> Harness:
        harness = Harness(parts.plan(workers=workers, **config), tmp_path, checkpoints=checkpoints)
        running.append(harness.__enter__())
        return harness

    yield start
    for harness in running:
        harness.__exit__()


class Numbers(ReplayableSpout):
    """0 to 59; a position is how many were sent."""

    outputs = ["num"]

    def seek(self, partition: str, position: Any) -> None:
        self.at = position or 0

    def next_tuple(self) -> None:
        if self.at == 60:
            self.finish()
            return
        self.at += 1
        self.emit([self.at - 1], position=self.at)


class Count(Bolt):
    counts: KeyValueState[Any, int] = KeyValueState()

    def process(self, tup: Tuple) -> None:
        self.counts[tup.values.num] = self.counts.get(tup.values.num, 0) + 1


# -- positions -------------------------------------------------------------------------------------------------------


def test_a_position_that_the_spout_changes_after_the_barrier_is_committed_as_it_was_at_the_barrier(
    start: Start,
) -> None:
    is_held_back = True

    class OneDict(Numbers):
        """Gives the same dict as its position every time."""

        def seek(self, partition: str, position: Any) -> None:
            self.where = dict(position or {"at": 0})

        def next_tuple(self) -> None:
            number = self.where["at"]
            if number == 60:
                self.finish()
            elif number < 10 or not is_held_back:
                self.where["at"] += 1
                self.emit([number], position=self.where)

    parts = Parts()
    parts.spout("s", OneDict)
    parts.bolt("b", Count, reads=["s"])
    harness = start(parts, workers=2, topology_guarantee="exactly-once")
    harness.advance(0.1)
    harness.begin_checkpoint()
    for index in (0, 1):
        harness.deliver(index)  # the spout's share is fixed, and waits to be written
    is_held_back = False
    while harness.instance("s").where["at"] < 60:
        harness.turn(0)
        harness.turn(1)
        harness.clock.now_s += 0.001
    harness.settle()
    assert harness.committed
    harness.kill(1)
    harness.run()
    assert harness.state("b", "counts") == ONCE_EACH


def test_a_position_that_cannot_be_saved_is_named(start: Start) -> None:
    class Odd(Numbers):
        def next_tuple(self) -> None:
            self.emit([1], position=object())
            self.finish()

    parts = Parts()
    parts.spout("odd", Odd)
    parts.bolt("b", Count, reads=["odd"])
    harness = start(parts, workers=2)
    with pytest.raises(ComponentError, match=r"spout 'odd', task \d+: a position cannot be saved: .*object"):
        harness.run()


# -- tuples that nobody settles --------------------------------------------------------------------------------------


def test_in_exactly_once_a_raising_tuple_is_not_lost_without_auto_fail(start: Start) -> None:
    raised: list[int] = []

    class Once(Count):
        auto_fail = False

        def process(self, tup: Tuple) -> None:
            if tup.values.num == 5 and not raised:
                raised.append(5)
                raise ValueError("this time only")
            super().process(tup)

    parts = Parts()
    parts.spout("s", Numbers)
    parts.bolt("b", Once, reads=["s"])
    harness = start(parts, workers=2, topology_guarantee="exactly-once")
    harness.checkpoint()
    harness.run()
    assert raised
    assert harness.state("b", "counts") == ONCE_EACH


# -- lists that their emitter changes --------------------------------------------------------------------------------


@pytest.mark.parametrize("acks_itself", [False, True])
def test_a_list_that_grew_after_it_was_emitted_is_an_error_that_names_its_emitter(
    start: Start, acks_itself: bool
) -> None:
    class Pairs(Spout):
        outputs = ["left", "right"]

        def next_tuple(self) -> None:
            pair = [1, 2]
            self.emit(pair)
            pair.append(3)

    class Sink(Bolt):
        auto_ack = not acks_itself

        def process(self, tup: Tuple) -> None:
            """Nothing."""

    parts = Parts()
    parts.spout("pairs", Pairs)
    parts.bolt("sink", Sink, reads=["pairs"])
    harness = start(parts, workers=2, checkpoints=False)
    with pytest.raises(ComponentError, match=r"'pairs'.* a row of 3 values for 2 fields .*emit a new list"):
        harness.advance(1)


# -- what spouts keep ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_an_emit_that_a_spout_kept_works_after_a_rollback(start: Start, guarantee: str) -> None:
    class Keeps(Numbers):
        def initialize(self, conf: Any, context: Any) -> None:
            self.push = self.emit

        def next_tuple(self) -> None:
            if self.at == 60:
                self.finish()
                return
            self.at += 1
            self.push([self.at - 1], position=self.at)

    parts = Parts()
    parts.spout("s", Keeps)
    parts.bolt("b", Count, reads=["s"])
    harness = start(parts, workers=2, topology_guarantee=guarantee)
    harness.settle()
    harness.kill(1)
    begun_s = harness.clock.now_s
    harness.run()
    assert harness.state("b", "counts") == ONCE_EACH
    assert harness.clock.now_s - begun_s < 10, "no message had to time out"


def test_a_spout_is_activated_although_a_worker_dies_while_the_run_starts(start: Start) -> None:
    activated: list[int] = []

    class Activated(Numbers):
        def activate(self) -> None:
            activated.append(self.task_id)

    parts = Parts()
    parts.spout("s", Activated)
    parts.bolt("b", Count, reads=["s"])
    harness = start(parts, workers=2)
    harness.deliver(0)  # the spout is built, and has not started
    harness.kill(1)
    harness.run()
    assert len(activated) == 1


# -- user code that is slow all of a sudden --------------------------------------------------------------------------


@pytest.mark.parametrize("acks_itself", [False, True])
@pytest.mark.parametrize("raises", [False, True])
def test_a_worker_listens_soon_after_a_fast_bolt_turned_slow(start: Start, acks_itself: bool, raises: bool) -> None:
    slow: list[int] = []

    class Endless(Numbers):
        def next_tuple(self) -> None:
            self.at += 1
            self.emit([self.at], position=self.at)

    class Turns(Bolt):
        auto_ack = not acks_itself

        def process(self, tup: Tuple) -> None:
            if tup.values.num > 3000:
                slow.append(tup.values.num)
                harness.clock.now_s += 1.0
            if acks_itself:
                self.ack(tup)
            if raises and slow:
                raise TimeoutError("the service behind it does not answer")

    parts = Parts()
    parts.spout("s", Endless)
    parts.bolt("b", Turns, reads=["s"])
    harness = start(parts, workers=2, checkpoints=False)
    while not slow:
        harness.clock.now_s += 0.0005
        harness.round()
    assert len(slow) <= 8


def test_what_a_source_that_turned_slow_emits_leaves_soon(start: Start) -> None:
    slow: list[int] = []

    class Turns(Numbers):
        def next_tuple(self) -> None:
            self.at += 1
            if self.at > 3000:
                slow.append(self.at)
                harness.clock.now_s += 0.4  # as queue.get(timeout=0.5) does when messages are few
            self.emit([self.at], position=self.at)

    class Sink(Bolt):
        def process(self, tup: Tuple) -> None:
            """Nothing."""

    parts = Parts()
    parts.spout("s", Turns)
    parts.bolt("b", Sink, reads=["s"])
    harness = start(parts, workers=2, checkpoints=False)
    while not slow:
        harness.clock.now_s += 0.0005
        harness.round()
    assert len(slow) <= 8


def test_acks_that_came_while_the_worker_was_busy_count_before_timeouts_do(start: Start) -> None:
    class Source(Spout):
        outputs = [Stream(["num"], name) for name in ("quick", "slow")]
        is_open = False

        def initialize(self, conf: Any, context: Any) -> None:
            self.ends: list[str] = []

        def next_tuple(self) -> None:
            if self.is_open:
                self.is_open = False
                self.emit([1], "one", stream="quick")
                self.emit([1], stream="slow")

        def ack(self, tup_id: Any) -> None:
            self.ends.append("acked")

        def fail(self, tup_id: Any, reason: str = "") -> None:
            self.ends.append(reason)

    class Quick(Bolt):
        def process(self, tup: Tuple) -> None:
            """Nothing."""

    class Slow(Bolt):
        def process(self, tup: Tuple) -> None:
            harness.turn(1)  # the quick bolt's worker goes on meanwhile
            harness.clock.now_s += 40

    parts = Parts()
    parts.spout("s", Source)
    parts.bolt("quick", Quick, reads=[("s", "SHUFFLE", (), "quick")])
    parts.bolt("slow", Slow, reads=[("s", "SHUFFLE", (), "slow")])
    harness = start(parts, workers=2, checkpoints=False, topology_message_timeout_secs=30)
    harness.settle()
    harness.instance("s").is_open = True
    harness.clock.now_s += 3.1
    for _ in range(10):
        harness.turn(0)
    assert harness.instance("s").ends == ["acked"]


# -- logs ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def printing_to(folder: Path) -> Iterator[Path]:
    """What is printed goes to a task's log, as in a worker; gives the log's path."""
    logger = open_task_log(folder, "b-0", Settings(), lambda *_: None)
    out, err = PrintToLog(logging.INFO), PrintToLog(logging.WARNING)
    out.target = err.target = logger
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield folder / "b-0.log"
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_full_disk_does_not_stop_who_prints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b-0.log").symlink_to("/dev/full")
    with printing_to(tmp_path):
        print("no room for this")
    assert capfd.readouterr().err.count("No space left on device") == 1


def test_any_text_can_be_printed(tmp_path: Path) -> None:
    with printing_to(tmp_path) as log:
        print("half a pair: \ud800, and \u20ac")
    assert "half a pair: \\ud800, and \u20ac" in log.read_text(encoding="utf-8")


def test_a_line_that_never_ends_is_logged_in_pieces(tmp_path: Path) -> None:
    with printing_to(tmp_path) as log:
        for _ in range(20_000):
            print(".", end="")
    assert log.read_text(encoding="utf-8").count(".") > 15_000


# -- user code in odd places, and odd exceptions ---------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_a_bolt_may_emit_many_tuples_in_initialize(start: Start, workers: int) -> None:
    class Eager(Bolt):
        outputs = ["num"]

        def initialize(self, conf: Any, context: Any) -> None:
            for number in range(20_000):
                self.emit([number])

        def process(self, tup: Tuple) -> None:
            """Nothing."""

    class Sink(Bolt):
        def initialize(self, conf: Any, context: Any) -> None:
            self.seen: list[int] = []

        def process(self, tup: Tuple) -> None:
            self.seen.append(tup.values.num)

    parts = Parts()
    parts.spout("s", Feeder)
    parts.bolt("eager", Eager, reads=["s"])
    parts.bolt("sink", Sink, reads=["eager"])
    harness = start(parts, workers=workers, checkpoints=False)
    harness.settle()
    assert harness.instance("sink").seen == list(range(20_000))


def test_an_exception_that_is_no_exception_is_told_as_the_cause(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        "import asyncio, pystorm\n"
        "class Odd(pystorm.Spout):\n"
        "    outputs = ['num']\n"
        "    def next_tuple(self):\n"
        "        raise asyncio.CancelledError('the loop was closed')\n"
        "class Sink(pystorm.Bolt):\n"
        "    def process(self, tup):\n"
        "        pass\n"
    )
    (tmp_path / "odd.yaml").write_text(
        "name: odd\n"
        "config: {topology.recovery.max.attempts: 0}\n"
        "spouts: [{id: odd, className: odd.Odd, parallelism: 1}]\n"
        "bolts: [{id: sink, className: odd.Sink, parallelism: 1}]\n"
        "streams: [{from: odd, to: sink, grouping: {type: SHUFFLE}}]\n"
    )
    command = [sys.executable, "-m", "pystorm.cli.main", "run", "odd.yaml", "--data-dir", "data"]
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert "CancelledError: the loop was closed" in ended.stdout + ended.stderr


def in_another_thread(call: Callable[[], Any]) -> BaseException | None:
    """Run a call in a thread of its own; returns what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def test_emitting_and_settling_from_another_thread_is_refused(start: Start) -> None:
    class Relay(Bolt):
        outputs = ["num"]

        def process(self, tup: Tuple) -> None:
            """Nothing."""

    class Keep(Bolt):
        auto_ack = False

        def process(self, tup: Tuple) -> None:
            self.kept = tup

    parts = Parts()
    parts.spout("plain", Feeder)
    parts.spout("numbers", Numbers)
    parts.bolt("relay", Relay, reads=["plain", "numbers"])
    parts.bolt("keep", Keep, reads=[("relay", "FIELDS", ["num"]), "plain"])
    harness = start(parts, workers=1)
    harness.settle()
    harness.feed("plain", 1, id=1)
    plain, numbers, relay, keep = map(harness.instance, ("plain", "numbers", "relay", "keep"))
    calls: list[Callable[[], Any]] = [
        lambda: plain.emit([1], 2),
        lambda: numbers.emit([1], position=1),
        lambda: relay.emit([1]),
        lambda: relay.emit_many([[1]]),
        lambda: keep.ack(keep.kept),
        lambda: keep.fail(keep.kept),
    ]
    for call in calls:
        assert "from another thread" in str(in_another_thread(call))


def test_without_checkpoints_state_does_not_remember_what_was_deleted(start: Start) -> None:
    class Churn(Bolt):
        seen: KeyValueState[int, int] = KeyValueState()

        def process(self, tup: Tuple) -> None:
            self.seen[tup.values.num] = 1
            del self.seen[tup.values.num]

    parts = Parts()
    parts.spout("s", Numbers)
    parts.bolt("b", Churn, reads=["s"])
    harness = start(parts, workers=2, checkpoints=False)
    harness.advance(1)
    assert harness.executors("b")[0].processed == 60
    assert harness.instance("b").seen.has_dirty
    harness.workers[1].report_stats()  # four times a second in a process
    assert not harness.instance("b").seen.has_dirty
