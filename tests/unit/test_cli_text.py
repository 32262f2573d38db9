"""What commands make of values and arguments, without a process."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from pystorm.cli.checkpoints import table
from pystorm.cli.options import parse_overrides
from pystorm.cli.output import json_line
from pystorm.cli.state import as_text, entry_json, entry_text, find_value, key_candidates
from pystorm.errors import ConfigError
from pystorm.state.memory_store import MemoryBackend, MemoryStore
from pystorm.state.reader import CommittedState, Entry
from pystorm.state.record import CheckpointRecord
from tests.state_tools import chunk, record


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("word", ["word"]),
        ("42", ["42", 42]),
        ("'42'", ["'42'", "42"]),
        ("true", ["true", True]),
        ("[a, [1, 2]]", ["[a, [1, 2]]", ("a", (1, 2))]),
        ("2025-01-01 00:00:00", ["2025-01-01 00:00:00", datetime.datetime(2025, 1, 1)]),
        ("{a: 1}", ["{a: 1}"]),
        ("[unclosed", ["[unclosed"]),
        ("", ["", None]),
    ],
)
def test_a_key_can_mean_its_text_or_what_it_is_as_yaml(text: str, candidates: list[Any]) -> None:
    assert key_candidates(text) == candidates


@pytest.fixture
def two_tasks() -> CommittedState:
    """Two tasks with a state each: both hold the text "1", the first also the number 2."""
    store = MemoryStore("t", MemoryBackend())
    generation = store.acquire(["t0", "t1"])
    store.prepare(generation, 1, "count", [chunk("t0", {"1": "a", 1: "c", 2: "two"}), chunk("t1", {"1": "b"})])
    store.commit(generation, record(generation, 1))
    return CommittedState(store, "t")


def test_only_a_missing_key_leads_to_the_next_meaning(two_tasks: CommittedState) -> None:
    assert find_value(two_tasks, "count", "counts", "2", None) == (2, "two")
    assert find_value(two_tasks, "count", "counts", "1", 1) == ("1", "b")
    with pytest.raises(ConfigError, match="more than once"):
        find_value(two_tasks, "count", "counts", "1", None)
    with pytest.raises(ConfigError, match="no committed entry for key '3'"):
        find_value(two_tasks, "count", "counts", "3", None)
    with pytest.raises(ConfigError, match="did you mean 'count'"):
        find_value(two_tasks, "coumt", "counts", "2", None)


def test_an_entry_has_its_task_only_where_state_is_per_task() -> None:
    assert json.loads(entry_json(Entry("c", "s", (1, "a"), b"\xff"))) == {
        "component": "c",
        "state": "s",
        "key": [1, "a"],
        "value": "ff",
    }
    assert json.loads(entry_json(Entry("c", "s", 1, 2, 0)))["task"] == 0
    assert entry_text(Entry("c", "s", "a\tb", [1, None], 3)) == 'c\ts\t"a\\tb"\t[1, null]\ttask 3'


def test_json_is_json_whatever_the_numbers() -> None:
    line = json_line({"a": float("nan"), "b": [float("-inf"), 1.5, {"c": float("inf")}]})
    assert json.loads(line, parse_constant=pytest.fail) == {"a": "NaN", "b": ["-Infinity", 1.5, {"c": "Infinity"}]}
    assert json_line("æ", ascii_only=False) == '"æ"'
    assert json_line("æ", ascii_only=True) == '"\\u00e6"'


def test_text_stays_on_its_line() -> None:
    assert as_text("two words") == "two words"
    assert as_text("two\nlines") == '"two\\nlines"'


def test_the_value_of_set_is_yaml() -> None:
    assert parse_overrides(("a=1", "b=x=y", "c=", "d={e: [1]}")) == {"a": 1, "b": "x=y", "c": None, "d": {"e": [1]}}
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        parse_overrides(("a",))


def test_positions_are_named_by_partition_and_shortened() -> None:
    checkpoint = CheckpointRecord(
        epoch=3,
        generation=1,
        wall_time=0.0,
        duration_ms=12.3,
        keys=1000,
        bytes=2048,
        positions={"log": {"": 5}, "files": {"a": 1, "b": "x" * 50}},
    )
    header, line = table([checkpoint])
    assert header.startswith("epoch  committed at")
    assert line.startswith("    3  19")
    assert line.endswith(f"12 ms  1,000  2.0 kB  log=5, files/a=1, files/b={'x' * 37}...")
