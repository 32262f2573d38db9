"""What spouts and bolts may call, each through the command line: real workers, and what they saw in their metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Lab, kill, wait_until

MODULE = '''
import logging
import time
import warnings
from pathlib import Path

from pystorm import Bolt, KeyValueState, ReplayableSpout, Spout, Stream

log = logging.getLogger("my.library")


class ThreeStreams(Spout):
    """Every number on the default stream, even ones on `even` too, and each to a task of its choice on `hand`."""

    outputs = [
        Stream(["number"]),
        Stream(["number"], name="even"),
        Stream(["number"], name="hand", direct=True),
    ]

    def initialize(self, conf, context):
        tasks = context["task->component"]
        self.hands = [int(task) for task, component in tasks.items() if component == "hand"]
        self.number = 0
        self.targets = set()

    def activate(self):
        self.report_metric("activated", 1)

    def deactivate(self):
        self.report_metric("deactivated", 1)

    def next_tuple(self):
        if self.number == 40:
            self.report_metric("targets", sorted(self.targets))
            self.finish()
            return
        self.number += 1
        self.targets.update(self.emit([self.number], tup_id=self.number, need_task_ids=True))
        if self.number % 2 == 0:
            assert self.emit([self.number], tup_id=-self.number, stream="even") is None
        task = self.hands[self.number % len(self.hands)]
        sent_to = self.emit([self.number], stream="hand", direct_task=task, need_task_ids=True)
        assert sent_to == [task]


class Sums(Bolt):
    """Adds up what came, by stream and sender."""

    def process(self, tup):
        self.report_metric(f"{tup.component}.{tup.stream}", tup.values.number)
        self.report_metric(f"task {self.task_id}", 1)


class Loose(Bolt):
    """Anchors nothing."""

    auto_anchor = False
    outputs = ["number"]

    def process(self, tup):
        self.emit([tup.values.number])
        self.emit([tup.values.number], anchors=[])


class Refuses(Bolt):
    def process(self, tup):
        raise ValueError("refused")


class Many(Bolt):
    outputs = ["number"]

    def process(self, tup):
        self.emit_many([number] for number in range(tup.values.number))
        self.emit_many([(number,) for number in range(3)])


class Late(Bolt):
    """Keeps tuples, and settles each of them when the next but one comes."""

    auto_ack = False
    outputs = ["number"]

    def initialize(self, conf, context):
        self.kept = []

    def process(self, tup):
        self.kept.append(tup)
        if len(self.kept) > 2:
            self._settle(self.kept.pop(0))

    def process_tick(self, tup):
        while self.kept:
            self._settle(self.kept.pop())

    def _settle(self, tup):
        if tup.values.number % 10 == 0:
            self.fail(tup, "a multiple of ten")
        else:
            self.emit([tup.values.number], anchors=[tup.id])
            self.ack(tup.id)


class Context(Bolt):
    def initialize(self, conf, context):
        for name in ("taskid", "componentid", "task->component", "source->stream->fields", "streams",
                     "stream->target->grouping", "stream->outputfields", "source->stream->grouping"):
            self.report_metric(name, context[name])
        self.report_metric("own", [self.task_id, self.component_name, self.topology_name, self.debug, self.pid > 0])
        self.report_metric("conf", [conf["mine"], conf["shared"], conf["topology.name"]])

    def process(self, tup):
        pass


class Talks(Bolt):
    def process(self, tup):
        print("printed", tup.values.number)
        self.logger.info("through its logger %d", tup.values.number)
        self.log("through log", "warn")
        log.info("through another logger %d", tup.values.number)
        log.debug("not asked for")
        log.warning("a warning of %s", "a library")
        logging.getLogger().error("at the root")
        warnings.warn("old-fashioned")


class Closes(Bolt):
    def __init__(self, path):
        self.path = Path(path)

    def initialize(self, conf, context):
        self.path.write_text("open")

    def process(self, tup):
        pass

    def cleanup(self):
        self.path.write_text("closed")
'''


@pytest.fixture
def features(lab: Lab) -> Lab:
    lab.write("features.py", MODULE)
    return lab


def edge(source: str, target: str, kind: str = "SHUFFLE", stream: str = "default") -> tuple[str, str, dict[str, Any]]:
    return source, target, {"type": kind, "streamId": stream}


def test_named_and_direct_streams_go_where_they_are_sent_and_activation_is_told(features: Lab) -> None:
    file = features.topology(
        "streams",
        ("three", "features.ThreeStreams"),
        ("all", "features.Sums", {}, 2),
        ("even", "features.Sums"),
        ("hand", "features.Sums", {}, 3),
        streams=[edge("three", "all"), edge("three", "even", stream="even"), edge("three", "hand", "DIRECT", "hand")],
    )
    parts = features.run(file)["components"]

    assert parts["all"]["metrics"]["three.default"] == sum(range(41))
    assert parts["even"]["metrics"]["three.even"] == sum(range(0, 41, 2))
    hands = parts["hand"]["metrics"]
    assert hands.pop("three.hand") == sum(range(41))
    assert sorted(hands.values()) == [13, 13, 14]
    assert parts["three"]["metrics"]["activated"] == 1
    assert len(parts["three"]["metrics"]["targets"]) == 2
    assert parts["three"]["acked"] == 60


def test_a_spout_that_is_drained_is_deactivated(features: Lab) -> None:
    source = features.write(
        "endless.py",
        "from features import Spout\n\n\nclass Endless(Spout):\n    outputs = ['number']\n\n"
        "    def next_tuple(self):\n        pass\n\n"
        "    def activate(self):\n        self.report_metric('calls', 1)\n\n"
        "    def deactivate(self):\n        self.report_metric('calls', 10)\n",
    )
    assert source.exists()
    book = features.folder / "state"
    file = features.topology("drained", ("src", "endless.Endless"), ("closes", "features.Closes", {"path": str(book)}))
    run = features.start(file, "--duration=0.5")
    wait_until("the bolt is there", lambda: book.exists() and book.read_text() == "open")
    summary = run.wait()

    assert summary["outcome"] == "drained"
    assert summary["components"]["src"]["metrics"]["calls"] == 11
    assert book.read_text() == "closed"


def test_an_unanchored_tuple_that_fails_fails_no_message(features: Lab) -> None:
    file = features.topology(
        "loose",
        ("three", "features.ThreeStreams"),
        ("loose", "features.Loose"),
        ("refuses", "features.Refuses"),
        ("hand", "features.Sums"),
        streams=[edge("three", "loose"), edge("loose", "refuses"), edge("three", "hand", "DIRECT", "hand")],
    )
    parts = features.run(file)["components"]

    assert parts["three"]["acked"] == 60
    assert parts["three"]["failed"] == 0
    assert parts["refuses"]["failed"] == 80


def test_many_tuples_leave_with_one_call(features: Lab) -> None:
    file = features.topology(
        "many",
        ("three", "features.ThreeStreams"),
        ("many", "features.Many"),
        ("sums", "features.Sums", {}, 2),
        ("hand", "features.Sums"),
        streams=[
            edge("three", "many"),
            ("many", "sums", {"type": "FIELDS", "args": ["number"]}),
            edge("three", "hand", "DIRECT", "hand"),
        ],
    )
    parts = features.run(file)["components"]

    assert parts["many"]["emitted"] == sum(range(41)) + 40 * 3
    assert parts["sums"]["metrics"]["many.default"] == sum(sum(range(n)) for n in range(41)) + 40 * 3
    assert parts["three"]["acked"] == 60


def test_tuples_are_acked_and_failed_by_hand_in_later_calls(features: Lab) -> None:
    file = features.topology(
        "late",
        ("three", "features.ThreeStreams"),
        ("late", "features.Late"),
        ("sums", "features.Sums"),
        ("hand", "features.Sums"),
        config={"topology.tick.tuple.freq.secs": 0.2},
        streams=[edge("three", "late"), edge("late", "sums"), edge("three", "hand", "DIRECT", "hand")],
    )
    parts = features.run(file)["components"]

    assert parts["late"]["failed"] == 4
    assert parts["late"]["acked"] == 36
    assert parts["three"]["failed"] == 4
    assert parts["sums"]["metrics"]["late.default"] == sum(range(41)) - 100


def test_the_context_has_storm_s_keys(features: Lab) -> None:
    content = {
        "name": "context",
        "config": {"shared": "s", "mine": "theirs"},
        "spouts": [{"id": "three", "className": "features.ThreeStreams"}],
        "bolts": [
            {"id": "hand", "className": "features.Sums"},
            {"id": "context", "className": "features.Context", "config": {"mine": "own"}},
        ],
        "streams": [
            {"from": "three", "to": "context", "grouping": {"type": "FIELDS", "args": ["number"], "streamId": "even"}},
            {"from": "three", "to": "hand", "grouping": {"type": "DIRECT", "streamId": "hand"}},
        ],
    }
    parts = features.run(features.write("context.yaml", json.dumps(content, indent=1)))["components"]

    assert parts["context"]["metrics"] == {
        "taskid": 3,
        "componentid": "context",
        "task->component": {"1": "three", "2": "hand", "3": "context"},
        "source->stream->fields": {"three": {"even": ["number"]}},
        "source->stream->grouping": {"three": {"even": {"type": "FIELDS", "fields": ["number"]}}},
        "stream->target->grouping": {"dead_letter": {}},
        "stream->outputfields": {"dead_letter": ["error", "traceback", "values"]},
        "streams": ["dead_letter"],
        "own": [3, "context", "context", False, True],
        "conf": ["own", "s", "context"],
    }


def test_what_a_component_says_in_any_way_is_in_its_log(features: Lab) -> None:
    file = features.topology(
        "talks",
        ("three", "features.ThreeStreams"),
        ("talks", "features.Talks"),
        ("hand", "features.Sums"),
        streams=[edge("three", "talks", stream="even"), edge("three", "hand", "DIRECT", "hand")],
    )
    run = features.start(file)
    run.wait()

    log = run.log("talks-0")
    for line in (
        r"INFO +printed 40", r"INFO +through its logger 40", r"WARNING through log", r"INFO +through another logger 40",
        r"WARNING a warning of a library", r"ERROR +at the root", r"WARNING .*UserWarning: old-fashioned",
    ):  # fmt: skip
        assert re.search(line, log), line
    assert "not asked for" not in log
    assert "talks-0: a warning of a library" in run.errors
    assert "through another logger" not in run.errors
    assert "printed" not in run.errors


def test_metrics_are_in_the_summary_for_people_too(features: Lab) -> None:
    file = features.topology(
        "people",
        ("three", "features.ThreeStreams"),
        ("hand", "features.Sums"),
        streams=[edge("three", "hand", "DIRECT", "hand")],
    )
    run = features.start(file)
    run.wait()
    assert re.search(r"metrics:\n(  .*\n)*  hand\.three\.hand = 820\n", run.errors)


def test_metrics_of_a_dead_worker_are_kept(features: Lab, tmp_path: Path) -> None:
    features.write(
        "counts.py",
        "from pystorm import Bolt\n\n\nclass Counts(Bolt):\n    def initialize(self, conf, context):\n"
        "        self.report_metric('lives', 1)\n\n    def process(self, tup):\n        self.logger.info('has one')\n",
    )
    file = features.topology(
        "lives", ("numbers", "faults.NumberSpout", {"per_s": 50}), ("counts", "counts.Counts"), config=None
    )
    run = features.start(file, "--duration=3")
    wait_until("the bolt works", lambda: "has one" in run.log("counts-0"))
    run.wait_for_commit()  # by now the first report of metrics has been sent
    kill(run.worker_of("counts-0"))
    assert run.wait()["components"]["counts"]["metrics"] == {"lives": 2}
