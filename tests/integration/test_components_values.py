"""Values of all kinds through the command line: between workers, in state across runs, too large, not to be sent."""

from __future__ import annotations

import json

import pytest

from tests.integration.support import Lab

SHAPES = '''
"""Known to the spout and the bolt that use it; the module of the bolt between them does not import it."""

import dataclasses
import enum

from pystorm import register_type


@register_type
class Colour(enum.Enum):
    RED = 1


@register_type
@dataclasses.dataclass(frozen=True)
class Shape:
    name: str
    colour: Colour
    corners: tuple
'''

MODULE = '''
import collections
import datetime
import decimal
import uuid

from pystorm import Bolt, KeyValueState, ReplayableSpout
from shapes import Colour, Shape


def values():
    return [
        datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.timezone.utc),
        datetime.date(2024, 5, 1),
        datetime.time(1, 2, 3),
        datetime.timedelta(days=1, microseconds=5),
        decimal.Decimal("1.50"),
        uuid.UUID(int=7),
        {1, 2},
        frozenset({"a"}),
        (1, (2, [3, ()])),
        2**100,
        1j,
        Colour.RED,
        Shape("triangle", Colour.RED, ((0, 0), (0, 1), (1, 0))),
        {"deep": [{"tuple": (1,)}], (1, 2): {"set": {3}}},
    ]


class Shelf(ReplayableSpout):
    """Its positions are tuples."""

    outputs = ["name", "value"]

    def seek(self, partition, position):
        assert position is None or type(position) is tuple, position
        self.next = position[1] if position else 0
        self.values = values()

    def next_tuple(self):
        if self.next == len(self.values):
            self.finish()
            return
        self.next += 1
        self.emit([self.next - 1, self.values[self.next - 1]], position=("at", self.next))


class Compare(Bolt):
    """Keeps what it gets, and compares it with what was sent."""

    kept = KeyValueState()
    by_value = KeyValueState()

    def initialize(self, conf, context):
        self.expected = values()
        for name, value in self.kept.items():
            self.check(name, value)
        self.report_metric("restored", len(self.kept))
        for value, name in self.by_value.items():
            self.check(name, value)

    def check(self, name, value):
        expected = self.expected[name]
        assert (repr(value), type(value)) == (repr(expected), type(expected)), (value, expected)

    def process(self, tup):
        name, value = tup.values
        self.check(name, value)
        self.kept[name] = value
        self.report_metric("same", 1)
        if isinstance(value, collections.abc.Hashable):
            try:
                self.by_value[value] = name
            except TypeError:
                return  # a tuple with a list in it


class Odd(ReplayableSpout):
    """One value that nothing but pickle can carry, then a plain one."""

    outputs = ["name", "value"]

    def seek(self, partition, position):
        self.next = position or 0

    def next_tuple(self):
        if self.next == 2:
            self.finish()
            return
        self.next += 1
        self.emit([self.next, collections.deque([1, 2]) if self.next == 1 else "plain"], position=self.next)


class Types(Bolt):
    types = KeyValueState()
    values = KeyValueState()

    def process(self, tup):
        self.types[tup.values.name] = type(tup.values.value).__name__
        self.values[tup.values.name] = tup.values.value


class Inflate(Bolt):
    """Emits as many bytes as it is told."""

    outputs = ["name", "value"]

    def process(self, tup):
        self.emit(["small", b"x"])
        self.emit([str(tup.values.number), b"x" * tup.values.number * 100])


class Sizes(Bolt):
    def process(self, tup):
        self.report_metric(tup.values.name, len(tup.values.value))
'''

BETWEEN = """
from pystorm import Bolt


class Pass(Bolt):
    outputs = ["name", "value"]

    def process(self, tup):
        self.report_metric("unreadable", type(tup.values.value).__name__ == "UnreadableValue")
        self.emit(tup.values)
"""


@pytest.fixture
def shelf(lab: Lab) -> Lab:
    lab.write("shapes.py", SHAPES)
    lab.write("shelf.py", MODULE)
    lab.write("between.py", BETWEEN)
    return lab


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_values_come_through_workers_and_come_back_from_state_as_what_they_were(shelf: Lab, guarantee: str) -> None:
    file = shelf.topology(
        "shelf",
        ("shelf", "shelf.Shelf"),
        ("pass", "between.Pass", {}, 2),
        ("compare", "shelf.Compare"),
        config={"topology.guarantee": guarantee},
    )
    first = shelf.run(file)["components"]
    assert first["compare"]["failed"] == 0
    assert first["compare"]["metrics"] == {"restored": 0, "same": 14}
    assert first["pass"]["metrics"] == {"unreadable": False}
    again = shelf.run(file)
    assert again["components"]["compare"]["metrics"]["restored"] == 14
    assert again["recoveries"] == 0


def test_a_value_for_pickle_fails_its_tuple_by_field_unless_pickle_is_on(shelf: Lab) -> None:
    stages = (("odd", "shelf.Odd"), ("pass", "between.Pass"), ("types", "shelf.Types"))
    file = shelf.topology("odd", *stages)
    cause = shelf.run(file, code=1)["cause"]
    assert "'value'" in cause
    assert "collections.deque cannot travel" in cause
    assert "topology.fall.back.on.pickle: true" in cause

    on = shelf.topology("odd", *stages, config={"topology.fall.back.on.pickle": True})
    assert shelf.run(on, "--fresh")["recoveries"] == 0
    assert shelf.counts("odd", "types", "types") == {1: "deque", 2: "str"}


def test_a_tuple_over_the_limit_fails_by_itself_and_names_the_limit_and_the_field(shelf: Lab) -> None:
    book = shelf.folder / "book"
    file = shelf.topology(
        "limit",
        ("numbers", "faults.ReasonSpout", {"count": 60, "path": str(book)}),
        ("inflate", "shelf.Inflate"),
        ("sizes", "shelf.Sizes"),
        config={"topology.message.max.bytes": 5000},
    )
    summary = shelf.run(file)

    fates = {int(line.split()[1].strip(":")): line for line in book.read_text().splitlines()}
    assert sorted(fates) == list(range(60))
    assert {number for number, line in fates.items() if line.startswith("ack")} == set(range(50))
    assert "component 'inflate', stream 'default': a tuple is too large to be sent to another worker" in fates[55]
    assert "topology.message.max.bytes is 5000; the value of field 'value' takes 5503 of them" in fates[55]
    metrics = summary["components"]["sizes"]["metrics"]
    assert metrics.pop("small") == 60
    assert metrics == {str(number): number * 100 for number in range(50)}


def test_batches_over_the_limit_travel_in_parts(shelf: Lab) -> None:
    file = shelf.topology(
        "parts",
        ("numbers", "faults.NumberSpout", {"count": 40}),
        ("inflate", "shelf.Inflate"),
        ("sizes", "shelf.Sizes"),
        config={"topology.message.max.bytes": 5000},
    )
    summary = shelf.run(file)

    metrics = summary["components"]["sizes"]["metrics"]
    assert metrics.pop("small") == 40
    assert metrics == {str(number): number * 100 for number in range(40)}
    assert summary["components"]["numbers"]["failed"] == 0


def test_state_of_any_type_is_shown_as_json(shelf: Lab) -> None:
    import subprocess
    import sys

    file = shelf.topology("shown", ("shelf", "shelf.Shelf"), ("compare", "shelf.Compare"))
    shelf.run(file)
    command = [sys.executable, "-m", "pystorm.cli.main", "state", "dump", "shown", "compare", "kept", "--json"]
    done = subprocess.run([*command, f"--data-dir={shelf.data_dir}"], capture_output=True, text=True, check=True)
    shown = {entry["key"]: entry["value"] for entry in map(json.loads, done.stdout.splitlines())}
    assert shown[1] == "2024-05-01"
    assert shown[4] == "1.50"
    assert shown[6] == [1, 2]
    assert shown[8] == [1, [2, [3, []]]]
    assert "no type is registered as 'shapes.Colour' here" in shown[11]
