"""A topology in Python through the command line, in the layout that a streamparse project has."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli import Commands

PARTS = {
    "src/word_spouts.py": """\
from pystorm import Spout


class WordSpout(Spout):
    outputs = ["word"]

    def initialize(self, stormconf, context):
        self.words = iter(["dog", "cat", "zebra", "dog"] * 50)

    def next_tuple(self):
        word = next(self.words, None)
        if word is None:
            self.finish()
        else:
            self.emit([word])
""",
    "src/word_bolts.py": """\
from collections import Counter

from pystorm import Bolt


class WordCountBolt(Bolt):
    outputs = ["word", "count"]

    def initialize(self, conf, ctx):
        self.counter = Counter()

    def process(self, tup):
        word = tup.values[0]
        self.counter[word] += 1
        self.emit([word, self.counter[word]])
""",
    "topologies/word_count.py": """\
import json
from pathlib import Path

from pystorm import Bolt, Grouping, Topology

from word_bolts import WordCountBolt
from word_spouts import WordSpout


class ToFile(Bolt):
    def __init__(self, path):
        self.path = Path(path)

    def initialize(self, conf, ctx):
        self.found = {}

    def process(self, tup):
        self.found[tup.values.word] = tup.values.count

    def cleanup(self):
        self.path.write_text(json.dumps(self.found))


class WordCount(Topology):
    config = {"topology.workers": 2}

    word_spout = WordSpout.spec()
    count_bolt = WordCountBolt.spec(inputs={word_spout: Grouping.fields("word")}, par={"prod": 8, "beta": 2})
    file_bolt = ToFile.spec(inputs={count_bolt: Grouping.GLOBAL}, args=[str(Path(__file__).with_name("found.json"))])
""",
}

FILE = "topologies/word_count.py"


@pytest.fixture
def pystorm(tmp_path: Path) -> Iterator[Commands]:
    for name, text in PARTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    commands = Commands(tmp_path)
    yield commands
    commands.close()


def test_a_streamparse_project_runs_as_it_stands(pystorm: Commands) -> None:
    done = pystorm("run", FILE, "--json", "--set", "env=beta")
    assert done.code == 0, done.err
    result = done.objects()[-1]
    assert (result["topology"], result["outcome"]) == ("word_count", "finished")
    assert result["components"]["count_bolt"]["processed"] == 200
    found = json.loads((pystorm.folder / "topologies" / "found.json").read_text())
    assert found == {"dog": 100, "cat": 50, "zebra": 50}


def test_validate_and_graph_take_a_python_file(pystorm: Commands) -> None:
    done = pystorm("validate", FILE, "--set", "env=beta")
    assert (done.code, done.out, done.err) == (0, "ok: word_count: 1 spout, 2 bolts, 4 tasks, at-least-once\n", "")
    drawn = pystorm("graph", FILE, "--set", "env=prod")
    assert "count_bolt  bolt   x8    word_bolts.WordCountBolt\n  +-- GLOBAL --> file_bolt" in drawn.out


def test_a_mistake_in_the_class_is_told_with_file_and_line(pystorm: Commands) -> None:
    file = pystorm.folder / FILE
    file.write_text(file.read_text().replace('fields("word")', 'fields("wrod")'))
    for command in ("run", "validate", "graph"):
        done = pystorm(command, FILE, "--set", "env=beta")
        assert (done.code, done.out) == (2, "")
        column = 18 if sys.version_info >= (3, 11) else 1  # frames of Python 3.10 know lines only
        assert done.err.startswith(
            f"{FILE}:28:{column}: bolt WordCountBolt 'count_bolt': stream 'default' of WordSpout"
        )
        assert done.err.endswith("did you mean 'word'?\n1 problem\n")
