"""The examples in topologies/: what they read, their pure functions, and that a followed log loses no line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from pystorm import Tuple

TOPOLOGIES = Path(__file__).resolve().parents[2] / "topologies"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of an example as a run does, with the folder of the topology file first on the path."""
    monkeypatch.syspath_prepend(str(TOPOLOGIES))

    def load_module(name: str) -> ModuleType:
        module = importlib.import_module(name)
        assert Path(str(module.__file__)).parent == TOPOLOGIES
        return module

    yield load_module
    for name in [path.stem for path in TOPOLOGIES.glob("*.py")]:
        sys.modules.pop(name, None)


def test_the_text_is_large_utf8_with_unix_line_ends() -> None:
    data = (TOPOLOGIES / "data" / "opticks.txt").read_bytes()
    assert len(data) >= 500_000
    assert b"\r" not in data
    text = data.decode("utf-8")
    assert text.startswith("OPTICKS:")
    assert "Gutenberg" not in text
    assert "Transcriber" not in text


def test_words_are_lower_case_letters_with_apostrophes_inside(load: Any) -> None:
    words = load("wordcount").words
    assert words("'Tis the _Sun's_ Light--2 x 3 Phænomena;") == ["tis", "the", "sun's", "light", "x", "phænomena"]
    assert words("\n") == []


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_class_of_an_example_exists_and_takes_its_arguments(path: Path, load: Any) -> None:
    topology = yaml.safe_load(path.read_text(encoding="utf-8"))
    ids = {component["id"] for component in topology["spouts"] + topology["bolts"]}
    for component in topology["spouts"] + topology["bolts"]:
        module, _, name = component["className"].rpartition(".")
        getattr(load(module), name)(**component.get("constructorArgs", {}))
    for stream in topology["streams"]:
        assert {stream["from"], stream["to"]} <= ids


def test_a_request_counts_for_its_minute_in_utc(load: Any) -> None:
    parse = load("tail").parse
    line = '192.0.2.1 - ann [31/Dec/2024:23:59:59 {}] "GET /a b HTTP/1.1" 404 - "-" "agent"'
    assert parse(line.format("-0130")) == ("2025-01-01T01:29Z", "4xx")
    assert parse(line.format("+0100")) == ("2024-12-31T22:59Z", "4xx")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\x16\x03\x01",
        '192.0.2.1 - - [31/Feb/2025:09:30:00 +0000] "GET / HTTP/1.1" 200 1',
        '192.0.2.1 - - [01/Foo/2025:09:30:00 +0000] "GET / HTTP/1.1" 200 1',
        '192.0.2.1 - - [01/Jan/2025:24:00:00 +0000] "GET / HTTP/1.1" 200 1',
        '192.0.2.1 - - [01/Jan/2025:09:30:00 +0000] "GET / HTTP/1.1" 600 1',
        '192.0.2.1 - - [01/Jan/0001:00:00:00 +0100] "GET / HTTP/1.1" 200 1',
    ],
)
def test_a_line_that_is_no_request_is_refused(line: str, load: Any) -> None:
    assert load("tail").parse(line) is None


def test_the_sample_log_holds_requests_and_some_broken_lines(load: Any) -> None:
    lines = (TOPOLOGIES / "data" / "access.log").read_text(encoding="utf-8").splitlines()
    refused = [line for line in lines if load("tail").parse(line) is None]
    assert 0 < len(refused) < 10 < len(lines)


class FollowedLog:
    """A log on disk and one who follows it, with a clock that jumps past every pause between two looks."""

    def __init__(self, tail: ModuleType, path: Path) -> None:
        self.tail, self.path = tail, path
        self.warnings: list[str] = []
        self.now_s = 0.0
        self.follower = tail.LogFollower(str(path), warn=self.warnings.append, now_s=self.tick)

    def tick(self) -> float:
        self.now_s += 1
        return self.now_s

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def rotate(self) -> None:
        self.path.rename(self.path.with_name("access.log.1"))

    def read(self) -> list[bytes]:
        """All lines that are there; a look at the end of the file may take a few calls."""
        lines, empty = [], 0
        while empty < 4:
            found = self.follower.read_line()
            empty = 0 if found else empty + 1
            if found:
                lines.append(found[0])
                self.position = found[1]
        return lines


@pytest.fixture
def log(load: Any, tmp_path: Path) -> Any:
    followed = FollowedLog(load("tail"), tmp_path / "access.log")
    yield followed
    followed.follower.close()


def test_a_follower_waits_for_a_log_that_is_not_there_yet(log: FollowedLog) -> None:
    assert log.read() == []
    log.append(b"a\n")
    assert log.read() == [b"a\n"]


def test_a_follower_gives_a_line_only_when_its_end_is_written(log: FollowedLog) -> None:
    log.append(b"a\nbe")
    assert log.read() == [b"a\n"]
    log.append(b"e\n")
    assert log.read() == [b"bee\n"]


def test_a_follower_goes_on_at_a_position_in_the_middle(log: FollowedLog) -> None:
    log.append(b"a\nb\nc\n")
    first = log.follower.read_line()
    log.read()
    assert first is not None
    log.follower.seek(first[1])
    assert log.read() == [b"b\n", b"c\n"]


def test_a_follower_reads_a_rotated_log_to_its_end_and_then_the_new_one(log: FollowedLog) -> None:
    log.append(b"a\n")
    assert log.read() == [b"a\n"]
    log.append(b"b\nno end")
    log.rotate()
    assert log.read() == [b"b\n"]
    log.append(b"c\n")
    assert log.read() == [b"no end", b"c\n"]


def test_a_follower_starts_again_when_the_log_is_truncated(log: FollowedLog) -> None:
    log.append(b"aaaa\nbbbb\n")
    log.read()
    log.path.write_bytes(b"c\n")
    assert log.read() == [b"c\n"]


def test_a_position_in_a_log_that_was_rotated_meanwhile_is_found_again(log: FollowedLog) -> None:
    log.append(b"a\n")
    log.read()
    log.append(b"b\n")
    log.rotate()
    log.append(b"c\n")
    log.follower.seek(log.position)
    assert log.read() == [b"b\n", b"c\n"]
    assert log.warnings == []


def test_a_position_in_a_log_that_is_gone_is_told(log: FollowedLog) -> None:
    log.append(b"a\n")
    log.read()
    log.follower.close()
    log.rotate()
    log.append(b"b\n")
    log.path.with_name("access.log.1").unlink()
    log.follower.seek(log.position)
    assert log.read() == [b"b\n"]
    assert len(log.warnings) == 1
    assert "is gone" in log.warnings[0]


def test_a_ranking_of_parts_is_the_ranking_of_the_whole(load: Any) -> None:
    ranking, size = load("topwords").ranking, load("topwords").SIZE
    counts = {f"word{n}": n % 7 for n in range(40)}
    halves = [dict(list(counts.items())[:17]), dict(list(counts.items())[17:])]
    merged = ranking(item for half in halves for item in ranking(half.items()))
    assert merged == ranking(counts.items())
    assert len(merged) == size


@pytest.fixture
def rates(load: Any) -> Any:
    """Feeds readings of one counter to machine's RateBolt; gives the rates that it emits."""
    bolt, emitted = load("machine").RateBolt(), []
    bolt.last, bolt.emit = {}, lambda values: emitted.append(values[1])

    def feed(*readings: tuple[float, float]) -> list[float]:
        for value, second in readings:
            bolt.process(Tuple(1, "readings", "counters", 1, ["bytes", value, second]))
        return emitted

    return feed


def test_a_rate_is_the_difference_by_the_time_between_two_readings(rates: Any) -> None:
    assert rates((100, 10), (300, 12), (300, 13)) == [100, 0]


def test_a_counter_or_a_clock_that_begins_anew_gives_no_rate_until_its_second_reading(rates: Any) -> None:
    assert rates((900, 10), (100, 11), (150, 12)) == [50]
    assert rates((900, 5), (950, 6)) == [50, 50]


def test_processor_time_leaves_out_waiting_and_counts_guests_once(load: Any) -> None:
    machine = load("machine")
    # user nice system idle iowait irq softirq steal guest guest_nice; the time of guests is in user and nice already
    counters = machine.processor_counters("cpu  1 2 4 1000 2000 8 16 32 1 2\ncpu0 9 9 9 9\nctxt 5\nbtime 7")
    assert counters == {"processor busy [cores]": 63 / machine.TICKS_PER_S, "context switches [/s]": 5.0}
