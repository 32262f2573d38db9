"""Word count through the command line: exact, resumed, drained, refused."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import GUARANTEES, ROOT, Lab, kill, plain_count, text_lines, wait_until

WORDCOUNT = ROOT / "topologies" / "wordcount.yaml"


def short_wordcount(lab: Lab, lines: int = 1500) -> tuple[Path, Path]:
    """The example's topology over the beginning of its text; returns (topology, text)."""
    text = lab.write("text.txt", text_lines(lines))
    example = WORDCOUNT.read_text().replace("${topology.dir}/data/opticks.txt", str(text))
    return lab.write("wordcount.yaml", example), text


def counting(lab: Lab, text: str, pace: int, **settings: object) -> tuple[Path, dict[str, object]]:
    """The paced word count and its settings."""
    path = lab.write("text.txt", text)
    file = ROOT / "tests" / "chaos" / "topologies" / "counting.yaml"
    return file, {"path": str(path), "pace": pace, "hurry": str(lab.folder / "hurry"), **settings}


def test_shipped_wordcount_equals_a_plain_count(lab: Lab) -> None:
    summary = lab.run(WORDCOUNT)

    plain = plain_count((WORDCOUNT.parent / "data" / "opticks.txt").read_text())
    assert lab.counts("wordcount") == plain
    assert summary["outcome"] == "finished"
    assert summary["components"]["count"]["processed"] == plain.total()
    assert summary["checkpoints"]["committed"] >= 1
    assert summary["recoveries"] == 0


@pytest.mark.parametrize("workers", range(1, 6))
@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_wordcount_equals_a_plain_count(lab: Lab, guarantee: str, workers: int) -> None:
    file, text = short_wordcount(lab)

    lab.run(file, settings={"topology.guarantee": guarantee, "topology.workers": workers})

    assert lab.counts("wordcount") == plain_count(text.read_text())


def test_second_run_of_a_finished_topology_counts_nothing_twice(lab: Lab) -> None:
    file, text = short_wordcount(lab)

    lab.run(file)
    again = lab.run(file)

    assert again["components"]["lines"]["emitted"] == 0
    assert lab.counts("wordcount") == plain_count(text.read_text())


def test_run_after_the_input_grew_counts_what_is_new(lab: Lab) -> None:
    file, text = short_wordcount(lab, 500)
    lab.run(file)

    with text.open("a") as grown:
        grown.write("a tail that was not there before\nand one line more\n")
    again = lab.run(file)

    assert again["components"]["lines"]["emitted"] == 2
    assert lab.counts("wordcount") == plain_count(text.read_text())


def test_fresh_run_forgets_the_earlier_one(lab: Lab) -> None:
    file, text = short_wordcount(lab, 500)

    lab.run(file)
    lab.run(file, "--fresh")

    assert lab.counts("wordcount") == plain_count(text.read_text())


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_run_that_was_stopped_half_way_resumes_exactly(lab: Lab, guarantee: str) -> None:
    text = text_lines(3000)
    file, settings = counting(lab, text, 2000, **{"topology.guarantee": guarantee})

    first = lab.run(file, "--duration=0.8", settings=settings)
    assert first["outcome"] == "drained"
    emitted = first["components"]["lines"]["emitted"]
    assert 0 < emitted < 3000
    (lab.folder / "hurry").touch()
    second = lab.run(file, settings=settings)

    assert second["components"]["lines"]["emitted"] == 3000 - emitted
    assert lab.counts("counting") == plain_count(text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_signal_drains_commits_and_ends_well(lab: Lab, number: int) -> None:
    text = text_lines(3000)
    file, settings = counting(lab, text, 1000)
    run = lab.start(file, settings=settings)
    run.wait_for_commit(position=1)

    kill(run.pid, number)
    summary = run.wait(0)

    assert summary["outcome"] == "drained"
    drained = lab.counts("counting")
    assert 0 < sum(drained.values()) < plain_count(text).total()
    assert summary["components"]["count"]["processed"] == sum(drained.values())
    (lab.folder / "hurry").touch()
    lab.run(file, settings=settings)
    assert lab.counts("counting") == plain_count(text)


def test_second_stop_signal_ends_the_run_at_once(lab: Lab) -> None:
    file = lab.topology(
        "stuck",
        ("numbers", "faults.NumberSpout"),
        ("hold", "faults.HoldBolt"),
        config={"topology.max.spout.pending": 10},
    )
    run = lab.start(file)
    run.wait_for_workers(2)

    kill(run.pid, signal.SIGINT)
    wait_until("the run says that it drains", lambda: "draining" in run.errors)
    kill(run.pid, signal.SIGINT)

    assert run.wait(130)["outcome"] == "aborted"


def test_second_run_beside_a_live_one_is_refused_with_its_pid(lab: Lab) -> None:
    file, settings = counting(lab, text_lines(3000), 500)
    run = lab.start(file, settings=settings)
    run.wait_for_workers(5)

    second = lab.start(file, settings=settings)
    second.wait(2)

    assert str(run.pid) in second.errors
    run.check_running()


def test_input_without_a_line_ends_well(lab: Lab) -> None:
    file, _ = short_wordcount(lab, 0)

    summary = lab.run(file)

    assert summary["outcome"] == "finished"
    assert summary["components"]["lines"]["emitted"] == 0


def test_line_of_megabytes_is_counted(lab: Lab) -> None:
    file, text = short_wordcount(lab, 0)
    text.write_text("word and " * 300_000)

    lab.run(file)

    assert lab.counts("wordcount") == {"word": 300_000, "and": 300_000}


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ({}, {"topology.max.parallelism": 64}, r"topology.max.parallelism was 128 .* is 64 now.*--fresh"),
        ({}, {"tasks": 3, "grouping": "SHUFFLE"}, r"bolt 'sum': its state is per task now.*--fresh"),
        (
            {"tasks": 2, "grouping": "SHUFFLE"},
            {"tasks": 3, "grouping": "SHUFFLE"},
            r"saved by 2 tasks, parallelism is 3",
        ),
    ],
)
def test_a_change_that_would_lose_state_is_refused(
    lab: Lab, first: dict[str, Any], second: dict[str, Any], complaint: str
) -> None:
    file = lab.folder / "keys.yaml"
    (lab.folder / "keys.py").write_text(KEYS_MODULE)

    def run(changes: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        changes = {"tasks": 2, "grouping": "{type: FIELDS, args: [n]}", "topology.max.parallelism": 128} | changes
        file.write_text(KEYS_YAML.format(changes["topology.max.parallelism"], changes["tasks"], changes["grouping"]))
        command = [sys.executable, "-m", "pystorm.cli.main", "run", str(file), "--data-dir", str(lab.folder / "data")]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    done = run(first)
    assert done.returncode == 0, done.stderr
    refused = run(second)
    assert refused.returncode == 2
    assert re.search(complaint, refused.stderr), refused.stderr
    again = run(first)
    assert again.returncode == 0, again.stderr


KEYS_YAML = """\
name: keys
config: {{topology.max.parallelism: {}}}
spouts:
  - {{id: numbers, className: keys.Numbers}}
bolts:
  - {{id: sum, className: keys.Sum, parallelism: {}}}
streams:
  - {{from: numbers, to: sum, grouping: {}}}
"""

KEYS_MODULE = """\
from pystorm import Bolt, KeyValueState, ReplayableSpout


class Numbers(ReplayableSpout):
    outputs = ["n"]

    def seek(self, partition, position):
        self.n = position or 0

    def next_tuple(self):
        if self.n == 10:
            self.finish()
            return
        self.n += 1
        self.emit([self.n], position=self.n)


class Sum(Bolt):
    sums = KeyValueState()

    def process(self, tup):
        self.sums[tup.values.n] = self.sums.get(tup.values.n, 0) + 1
"""
