"""Calls beside emit, ack and fail: metrics, reported exceptions, names of pystorm 3.x, replay through rollbacks."""

from __future__ import annotations

import decimal
import importlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pystorm
from pystorm.components import Bolt, Component, ReliableSpout, Tuple
from pystorm.controller.counters import Counters
from pystorm.controller.status import ComponentStatus, RunResult
from pystorm.errors import ComponentError
from pystorm.ui import summary
from pystorm.worker.logs import LoggingToLog, PrintToLog
from pystorm.worker.metrics import TaskMetrics
from tests.harness import Feeder, Harness, Parts

Start = Callable[..., Harness]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    opened: list[Harness] = []

    def begin(parts: Parts, *, workers: int = 2, checkpoints: bool = False, **config: Any) -> Harness:
        harness = Harness(parts.plan(workers=workers, **config), tmp_path, checkpoints=checkpoints)
        opened.append(harness)
        harness.__enter__()
        harness.settle()
        return harness

    yield begin
    for harness in opened:
        harness.__exit__(None, None, None)


def one_bolt(cls: type[Bolt], **grouping: Any) -> Parts:
    parts = Parts()
    parts.spout("src", Feeder)
    parts.bolt("bolt", cls, reads=["src"], **grouping)
    return parts


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_numbers_are_summed_and_other_values_replaced() -> None:
    metrics = TaskMetrics("b")
    money = decimal.Decimal("0.1")
    given = {"n": (1, 2.5), "who": "ab", "is_up": (True, False), "money": (money, money), "list": [[1]]}
    for name, values in given.items():
        for value in values:
            metrics.report(name, value)
    assert metrics.take_news() == {
        "n": 3.5, "who": "b", "is_up": False, "money": 2 * money, "list": [1],
    }  # fmt: skip
    assert metrics.take_news() is None
    metrics.report("n", 1)
    assert metrics.take_news() == metrics.values


def test_a_metric_is_as_it_was_when_it_was_reported() -> None:
    metrics, names = TaskMetrics("b"), ["a"]
    metrics.report("names", names)
    names.append("b")
    assert metrics.values == {"names": ["a"]}


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        (3, 1, "component 'b': a metric's name must be text, got 3"),
        ("m", object(), "component 'b': metric 'm': a value of type builtins.object cannot travel"),
        ("total", decimal.Decimal(1), r"component 'b': metric 'total': Decimal\('1'\) cannot be added to 0.5"),
    ],
)
def test_a_metric_that_makes_no_sense_is_refused(name: Any, value: Any, complaint: str) -> None:
    metrics = TaskMetrics("b")
    metrics.report("total", 0.5)
    with pytest.raises(ComponentError, match=complaint):
        metrics.report(name, value)


def test_metrics_of_tasks_and_of_dead_workers_are_added_up() -> None:
    parts = Parts()
    parts.spout("src", Feeder)
    parts.bolt("bolt", Bolt, 2, reads=["src"])
    counters = Counters(parts.plan())

    def report(pid: int, generation: int, metrics: dict[int, dict[str, Any]]) -> None:
        counters.on_stats({"pid": pid, "generation": generation, "tasks": {}, "metrics": metrics, "errors": []})

    report(10, 1, {2: {"rows": 1, "who": "first"}, 1: {"read": 5}})
    report(10, 1, {2: {"rows": 3, "who": "second"}})
    report(11, 1, {3: {"rows": 10, "who": "third"}})
    report(12, 2, {2: {"rows": 100}, 1: {"read": 7}})
    src, bolt = counters.components()
    assert bolt.metrics == {"rows": 113, "who": "third"}
    assert src.metrics == {"read": 12}


def test_metrics_reach_the_report_of_a_worker(start: Start) -> None:
    class Measures(Bolt):
        def process(self, tup: Tuple) -> None:
            self.report_metric("sum", tup.values.num)

    h = start(one_bolt(Measures), workers=1)
    h.feed("src", 3, id=1)
    h.feed("src", 4, id=2)
    h.workers[0].report_stats()
    messages = [m for m in h.workers[0].line.to_controller if m["type"] == "stats"]
    assert messages[-1]["metrics"] == {2: {"sum": 7}}


def test_the_summary_shows_metrics() -> None:
    component = ComponentStatus("bolt", "bolt", 1, metrics={"rows": 1234567, "who": "x" * 300, "z": 0.5})
    result = RunResult("t", "finished", 1.0, [component], 0, 0)
    lines = summary.facts(result, Path("logs"))
    at = lines.index("metrics:")
    assert [line.strip() for line in lines[at + 1 : at + 4]] == [
        f"bolt.rows = {1234567:,}", f"bolt.who = {'x' * 200}...", "bolt.z = 0.5",
    ]  # fmt: skip


# -- names of pystorm 3.x ---------------------------------------------------------------------------------------------


def test_a_reported_exception_is_shown_with_its_tuple_and_fails_nothing(start: Start) -> None:
    class Reports(Bolt):
        def process(self, tup: Tuple) -> None:
            try:
                raise ValueError("handled")
            except ValueError as error:
                self.raise_exception(error, tup)

    h = start(one_bolt(Reports))
    h.feed("src", 3, id=1)
    assert h.instance("src").acked == [1]
    assert h.errors[0].startswith("ValueError: handled (at ")
    assert h.errors[0].endswith("with tuple Values_default(num=3) from 'src'")


def test_outside_a_topology_the_calls_say_what_to_do() -> None:
    with pytest.raises(ComponentError, match="raise_exception works only inside a running topology"):
        Bolt().raise_exception(ValueError())
    with pytest.raises(
        ComponentError, match=r"Bolt\.run: components do not run by themselves; .* pystorm run TOPOLOGY"
    ):
        Bolt().run()


def test_the_configuration_has_the_name_of_pystorm_3_too(start: Start) -> None:
    class Looks(Bolt):
        def initialize(self, conf: Any, context: Any) -> None:
            self.same = self.storm_conf is conf is self.conf

        def process(self, tup: Tuple) -> None:
            self.heartbeat = self.is_heartbeat(tup)

    h = start(one_bolt(Looks))
    h.feed("src", 1)
    assert h.instance("bolt").same
    assert not h.instance("bolt").heartbeat
    assert Component.is_heartbeat(Tuple(1, "__system", "__heartbeat", -1, ()))


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("bolt", ["BatchingBolt", "Bolt", "TicklessBatchingBolt"]),
        ("spout", ["ReliableSpout", "Spout"]),
        ("component", ["Component", "Tuple"]),
    ],
)
def test_modules_of_pystorm_3_have_their_names(module: str, names: list[str]) -> None:
    found = importlib.import_module(f"pystorm.{module}")
    assert [getattr(found, name) for name in names] == [getattr(pystorm, name) for name in names]


@pytest.mark.parametrize("to_manual", [True, False])
def test_initialize_may_set_the_switches(start: Start, to_manual: bool) -> None:
    class Late(Bolt):
        outputs = ["num"]
        auto_ack = not to_manual

        def initialize(self, conf: Any, context: Any) -> None:
            self.auto_ack = to_manual is False
            self.auto_anchor = False
            self.held: list[Tuple] = []
            self.emit([0], anchors=[])

        def process(self, tup: Tuple) -> None:
            self.held.append(tup)
            self.emit([tup.values.num])

    class Refuses(Bolt):
        def process(self, tup: Tuple) -> None:
            raise ValueError("no")

    parts = one_bolt(Late)
    parts.bolt("refuses", Refuses, reads=[("bolt", "FIELDS", ["num"])])
    h = start(parts)
    h.feed("src", 1, id="one")
    assert h.instance("src").failed == []
    assert h.instance("src").acked == ([] if to_manual else ["one"])
    if to_manual:
        h.instance("bolt").ack(h.instance("bolt").held[0])
        h.advance(0.1)
        assert h.instance("src").acked == ["one"]
    assert h.executors("bolt")[0].outbox.emitted() == 2


# -- replay from memory -----------------------------------------------------------------------------------------------


class Remembers(ReliableSpout):
    outputs = ["num"]
    max_fails = 1

    def initialize(self, conf: Any, context: Any) -> None:
        self.left = [3, 2, 1]

    def next_tuple(self) -> None:
        if self.left:
            number = self.left.pop()
            self.emit([number], number)
        elif not self.unacked_tuples:
            self.finish()


class Holds(Bolt):
    auto_ack = False

    def initialize(self, conf: Any, context: Any) -> None:
        self.held: list[Tuple] = []

    def process(self, tup: Tuple) -> None:
        self.held.append(tup)


def test_rollbacks_are_no_failures_of_a_reliable_spout_s_messages(start: Start) -> None:
    parts = Parts()
    parts.spout("src", Remembers)
    parts.bolt("bolt", Holds, reads=["src"])
    h = start(parts)
    for _ in range(4):
        h.advance(0.2)
        assert sorted(tup.values.num for tup in h.instance("bolt").held) == [1, 2, 3]
        h.fail("a rollback")
    h.advance(0.2)
    spout, bolt = h.instance("src"), h.instance("bolt")
    assert sum(spout.failed_tuples.values()) == 0
    for _ in range(2):
        bad = next(tup for tup in bolt.held if tup.values.num == 2)
        bolt.held.remove(bad)
        bolt.fail(bad, "bad")
        h.advance(0.2)
    assert sorted(tup.values.num for tup in bolt.held) == [1, 3]
    assert 2 not in spout.unacked_tuples


def test_a_reliable_spout_sends_again_what_it_sent_not_what_became_of_it(start: Start) -> None:
    class Changes(Holds):
        def process(self, tup: Tuple) -> None:
            super().process(tup)
            tup.values.num.append("touched")

    class SendsList(Remembers):
        def next_tuple(self) -> None:
            if self.left:
                row = [["row"]]
                self.left.clear()
                self.emit(row, 1)
                row[0] = "changed after the emit"  # type: ignore[call-overload]

    parts = Parts()
    parts.spout("src", SendsList)
    parts.bolt("bolt", Changes, reads=["src"])
    h = start(parts, workers=2)
    h.advance(0.1)
    bolt = h.instance("bolt")
    bolt.fail(bolt.held[0])
    h.advance(0.1)
    assert [tup.values.num for tup in bolt.held] == [["row", "touched"]] * 2


# -- logging ----------------------------------------------------------------------------------------------------------


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def test_other_loggers_write_to_the_log_of_the_task_that_runs(capfd: pytest.CaptureFixture[str]) -> None:
    root_before = logging.root.handlers[:], logging.root.level
    out, task = PrintToLog(logging.INFO), logging.getLogger("pystorm.task.test-0")
    task.handlers, task.propagate = [Lines()], False
    task.setLevel(logging.INFO)
    own = logging.getLogger("users.module")
    try:
        capture = LoggingToLog(out)
        capture.install()
        own.critical("before %s", "any task")
        out.target = task
        own.info("not listened to")
        capture.listen(logging.DEBUG)
        own.debug("below the task's level")
        own.info("heard %d", 1)
    finally:
        logging.root.handlers[:], logging.root.level = root_before
        lines = task.handlers[0].lines  # type: ignore[attr-defined]
        task.handlers, task.propagate = [], True
    assert lines == ["INFO heard 1"]
    assert capfd.readouterr().err == "users.module: before any task\n"
