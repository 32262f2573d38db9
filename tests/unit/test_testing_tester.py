"""TopologyTester: whole topologies in one thread of a test, under a clock that jumps."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pystorm import Bolt, ConfigError, KeyValueState, ReplayableSpout, Spout, TopologyFailed
from pystorm.errors import TopologyError
from pystorm.testing import TopologyTester
from tests.harness import Parts

WORDCOUNT = Path(__file__).resolve().parents[2] / "topologies" / "wordcount.yaml"
LINES = [["the cat"], ["the dog"], ["The end"]]


class Numbers(ReplayableSpout):
    outputs = ["number"]

    def __init__(self, last: int = 100) -> None:
        self.last = last

    def seek(self, partition: str, position: Any) -> None:
        self.next = position or 0

    def next_tuple(self) -> None:
        if self.next == self.last:
            self.finish()
            return
        self.next += 1
        self.emit([self.next], position=self.next)


class Sum(Bolt):
    outputs = ["number", "sum"]
    sums = KeyValueState()

    def process(self, tup: Any) -> None:
        self.sums["all"] = total = self.sums.get("all", 0) + tup.values[0]
        self.emit([tup.values[0], total])


class Ticker(Bolt):
    outputs = ["time"]

    def process(self, tup: Any) -> None:
        """Only time counts."""

    def process_tick(self, tup: Any) -> None:
        self.emit([time.monotonic()])


def topology(spout: type[Spout], bolt: type[Bolt], parallelism: int = 1, **config: Any) -> Any:
    parts = Parts()
    parts.spout("numbers", spout)
    parts.bolt("bolt", bolt, parallelism, reads=["numbers"], config=config.pop("bolt_config", None))
    return parts.topology(**config)


def test_a_topology_file_runs_to_its_end_with_rows_for_its_input() -> None:
    with TopologyTester(WORDCOUNT, inputs={"lines": LINES}) as t:
        t.run()

        assert t.is_finished
        assert t.state("count", "counts") == {"the": 3, "cat": 1, "dog": 1, "end": 1}
        assert t.committed("count", "counts") == t.state("count", "counts")
        t.assert_emitted("split", [["the"], ["cat"], ["the"], ["dog"], ["the"], ["end"]], any_order=True)
        assert (t.counts("lines").acked, t.counts("count").processed) == (3, 6)


def test_ten_thousand_tuples_through_three_components_take_less_than_a_second() -> None:
    lines = [[f"word and {'abcdefghij'[number % 10]}"] for number in range(3000)]  # 3,000 lines, 9,000 words
    began = time.perf_counter()
    with TopologyTester(WORDCOUNT, inputs={"lines": [*lines, *[["word"]] * 1000]}) as t:
        t.run()
        assert t.counts("count").processed == 10_000
        assert t.state("count", "counts")["word"] == 4000
    assert time.perf_counter() - began < 1.0


def test_no_socket_file_process_or_thread_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("opened")

    with TopologyTester(WORDCOUNT, inputs={"lines": LINES}) as t:
        with monkeypatch.context() as patched:
            patched.setattr(socket, "socket", refuse)
            patched.setattr(subprocess, "Popen", refuse)
            before = threading.active_count()
            t.run()
            assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []


def test_the_descriptors_of_a_run_are_given_back() -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    with TopologyTester(WORDCOUNT, inputs={"lines": LINES}) as t:
        t.run()
    before = opened()
    for _ in range(3):
        with TopologyTester(WORDCOUNT, inputs={"lines": LINES}) as t:
            t.kill("count")
            t.run()
    assert opened() == before


def test_rows_can_be_fed_one_after_the_other() -> None:
    with TopologyTester(WORDCOUNT, inputs={"lines": []}) as t:
        t.feed("lines", ["a b"])
        assert t.state("count", "counts") == {"a": 1, "b": 1}
        t.feed("lines", ["a"], ["c"])
        assert t.state("count", "counts") == {"a": 2, "b": 1, "c": 1}
        assert t.now_s == 1000.0


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_time_jumps_and_ticks_fire_when_they_are_due(guarantee: str) -> None:
    model = topology(Numbers, Ticker, bolt_config={"topology.tick.tuple.freq.secs": 10}, topology_guarantee=guarantee)
    began = time.perf_counter()
    with TopologyTester(model, inputs={"numbers": []}) as t:
        t.advance(3600)
        ticks = [row[0] - 1000 for row in t.emitted("bolt")]
    assert [round(tick) for tick in ticks] == list(range(10, 3601, 10))
    assert time.perf_counter() - began < 20  # an hour


def test_a_tuple_that_nobody_acks_times_out_in_virtual_time() -> None:
    class Told(Spout):
        outputs = ["number"]

        def initialize(self, conf: Any, context: Any) -> None:
            self.next, self.failures = 0, []

        def next_tuple(self) -> None:
            if self.next == 0:
                self.next = 1
                self.emit([1], tup_id="one")

        def fail(self, tup_id: Any, reason: str = "") -> None:
            self.failures.append((tup_id, reason))

    class Forgetful(Bolt):
        auto_ack = False

        def process(self, tup: Any) -> None:
            """Never acks."""

    with TopologyTester(topology(Told, Forgetful, topology_message_timeout_secs=30)) as t:
        t.advance(29)
        assert t.instance("numbers").failures == []
        t.advance(5)
        assert t.instance("numbers").failures == [("one", "timed out after 30 s, never acked by any bolt")]


def test_checkpoints_come_in_their_interval() -> None:
    model = topology(Numbers, Sum, topology_state_checkpoint_interval_ms=500)
    with TopologyTester(model, inputs={"numbers": []}) as t:
        t.feed("numbers", [1])
        assert t.committed("bolt", "sums") == {}
        t.advance(0.6)
        assert t.committed("bolt", "sums") == {"all": 1}
        t.advance(2.0)
        assert t.checkpoints == 5


def test_a_killed_worker_goes_back_to_the_last_checkpoint_and_the_sum_stays_exact() -> None:
    with TopologyTester(topology(Numbers, Sum, topology_guarantee="exactly-once"), inputs={"numbers": []}) as t:
        t.feed("numbers", [1], [2])
        t.checkpoint()
        t.feed("numbers", [3])
        assert t.state("bolt", "sums") == {"all": 6}

        t.kill("bolt")
        assert t.state("bolt", "sums") == {"all": 3}
        t.assert_emitted("bolt", [[1, 1], [2, 3]])

        t.run()
        assert t.state("bolt", "sums") == {"all": 6}
        t.assert_emitted("bolt", [[1, 1], [2, 3], [3, 6]])
        assert t.recoveries == ["worker 1 died"]


def test_a_new_run_goes_on_where_the_last_checkpoint_was() -> None:
    with TopologyTester(topology(Numbers, Sum, topology_guarantee="exactly-once"), inputs={"numbers": [[1], [2]]}) as t:
        t.advance(1.5)
        t.feed("numbers", [10])
        t.restart()
        t.run()
        assert t.state("bolt", "sums") == {"all": 13}
        t.restart()
        assert t.state("bolt", "sums") == {"all": 13}


def test_the_same_seed_gives_the_same_run_and_leaves_the_random_state_alone() -> None:
    def run(seed: int) -> Any:
        with TopologyTester(topology(Numbers, Sum, parallelism=3), seed=seed) as t:
            t.run()
            return [t.state("bolt", "sums", task) for task in range(3)]

    random.seed(1)
    expected = random.random()
    random.seed(1)
    results = [run(seed) for seed in (1, 1, 2, 3, 4, 5, 6)]
    assert results[0] == results[1]
    assert any(result != results[0] for result in results)
    assert random.random() == expected


def test_equal_keys_of_several_tasks_need_the_task_to_be_said() -> None:
    with TopologyTester(topology(Numbers, Sum, parallelism=2)) as t:
        t.run()
        with pytest.raises(ConfigError, match=r"bolt\.sums: several tasks hold the key 'all'; say task=0"):
            t.state("bolt", "sums")
        assert t.state("bolt", "sums", 0)["all"] + t.state("bolt", "sums", 1)["all"] == 5050
        assert t.committed("bolt", "sums") == {"all": 5050}


def test_an_endless_topology_is_drained() -> None:
    with TopologyTester(topology(Numbers, Sum), inputs={"numbers": [[5]]}) as t:
        t.advance(1)
        t.drain()
        assert t.is_finished
        assert t.committed("bolt", "sums") == {"all": 5}


def test_running_an_endless_topology_to_its_end_fails_with_advice() -> None:
    class Silent(Spout):
        outputs = ["number"]

        def next_tuple(self) -> None:
            """Has nothing."""

    with TopologyTester(topology(Silent, Ticker)) as t:
        with pytest.raises(AssertionError) as caught:
            t.run(longest_s=60)
    assert "spout 'numbers', task 1: has not called finish(), 0 messages are open" in str(caught.value)
    assert "if its input is endless, use advance(seconds) and drain()" in str(caught.value)


def test_a_topology_that_gives_up_shows_the_traceback_of_the_bolt() -> None:
    class Picky(Bolt):
        def process(self, tup: Any) -> None:
            raise ValueError(f"{tup.values[0]} is not good enough")

    with TopologyTester(topology(Numbers, Picky, topology_guarantee="exactly-once")) as t:
        with pytest.raises(TopologyFailed, match="1 is not good enough") as caught:
            t.run()
        assert "in process" in str(caught.value)
        assert isinstance(caught.value.__cause__, ValueError)
        assert str(t.errors[0]) == "1 is not good enough"
        assert any("1 is not good enough" in line for line in t.logs("bolt"))


def test_a_topology_that_fails_slower_than_checkpoints_are_made_gives_up_all_the_same() -> None:
    class Slow(Bolt):
        def process(self, tup: Any) -> None:
            time.sleep(3)
            if tup.values[0] == 5:
                raise ValueError("5 is too much")

    model = topology(Numbers, Slow, topology_guarantee="exactly-once", topology_max_spout_pending=1)
    with TopologyTester(model) as t, pytest.raises(TopologyFailed, match="5 is too much"):
        t.run()


def test_a_python_topology_is_as_good_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "countdown.py").write_text(PYTHON_TOPOLOGY)
    with TopologyTester(tmp_path / "countdown.py", inputs={"numbers": [[3], [4]]}) as t:
        t.run()
        t.assert_emitted("double", [[6], [8]])
        cls = sys.modules["countdown"].Countdown  # type: ignore[attr-defined]
    with TopologyTester(cls) as t:
        t.run()
        t.assert_emitted("double", [[2], [4]])


PYTHON_TOPOLOGY = """
from pystorm import Bolt, ReplayableSpout, Topology

class Numbers(ReplayableSpout):
    outputs = ["number"]
    def seek(self, partition, position):
        self.next = position or 0
    def next_tuple(self):
        if self.next == 2:
            return self.finish()
        self.next += 1
        self.emit([self.next], position=self.next)

class Double(Bolt):
    outputs = ["number"]
    def process(self, tup):
        self.emit([2 * tup.values.number])

class Countdown(Topology):
    numbers = Numbers.spec()
    double = Double.spec(inputs=[numbers])
"""


def test_an_exception_of_a_spout_surfaces_or_is_survived() -> None:
    class Stumbling(Numbers):
        stumbles = [True]

        def next_tuple(self) -> None:
            if self.next == 50 and type(self).stumbles:
                type(self).stumbles.pop()
                raise OSError("lost the source")
            super().next_tuple()

    with TopologyTester(topology(Stumbling, Sum)) as t, pytest.raises(OSError, match="lost the source"):
        t.run()
    Stumbling.stumbles.append(True)
    with TopologyTester(topology(Stumbling, Sum, topology_guarantee="exactly-once"), survive=True) as t:
        t.run()
        assert t.state("bolt", "sums") == {"all": 5050}
        assert "lost the source" in t.recoveries[0]


def test_logs_and_the_end_of_a_run_leave_the_interpreter_as_it_was() -> None:
    path, out, real = list(sys.path), sys.stdout, time.monotonic
    with TopologyTester(WORDCOUNT, inputs={"lines": LINES}) as t:
        t.run()
    assert sys.path == path
    assert sys.stdout is out
    assert time.monotonic is real


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda t: t.state("coun", "counts"), "has no component 'coun'; did you mean 'count'?"),
        (lambda t: t.state("count", "count"), "component 'count' has no state 'count'; did you mean 'counts'?"),
        (lambda t: t.emitted("split", "words"), "component 'split' has no stream 'words'"),
        (lambda t: t.feed("split", ["a"]), "feed: spout 'split' is not replaced; write TopologyTester"),
        (lambda t: t.feed("lines", "a"), r"a row must be a list of values, got 'a'; write \['a'\]"),
        (lambda t: (t.run(), t.feed("lines", ["a"])), r"feed: this run has ended; call restart\(\)"),
        (lambda t: TopologyTester(WORDCOUNT, inputs={"line": []}), "has no spout 'line'; did you mean 'lines'?"),
        (lambda t: TopologyTester(42), "a topology is a path, a Topology model or a Topology class, got 42"),
    ],
)
def test_a_wrong_call_says_what_is_right(call: Any, text: str) -> None:
    with TopologyTester(WORDCOUNT, inputs={"lines": []}) as t, pytest.raises((ConfigError, TypeError), match=text):
        call(t)


def test_a_wrong_topology_file_is_refused_with_its_mistakes(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("name: t\nspouts:\n  - {id: a, className: nowhere.Spout}\n")
    with pytest.raises(TopologyError, match="there is no module 'nowhere'"):
        TopologyTester(tmp_path / "t.yaml")


def test_overrides_are_those_of_the_command_line() -> None:
    with TopologyTester(WORDCOUNT, inputs={"lines": LINES}, overrides={"topology.workers": 1}) as t:
        assert t.driver.plan.workers == 1
        t.run()
        assert t.state("count", "counts")["the"] == 3


def test_comparisons_that_fail_show_both_sides() -> None:
    with TopologyTester(WORDCOUNT, inputs={"lines": [["a b"]]}) as t:
        t.run()
        with pytest.raises(AssertionError, match=r"state count\.counts: 1 key differs of 2"):
            t.assert_state("count", "counts", {"a": 1, "b": 2})
        with pytest.raises(AssertionError, match="'split' emitted to stream 'default': expected 1 row, got 2 rows"):
            t.assert_emitted("split", [["a"]])
