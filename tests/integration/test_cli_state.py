"""`pystorm state` and `pystorm checkpoints`: the same answers while a topology runs and after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystorm.state.embedded import EmbeddedRedis
from tests.integration.cli import DEADLINE_S, ENDLESS, Commands, wait_until


@pytest.fixture
def pystorm(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    commands.close()


@pytest.fixture
def finished(pystorm: Commands) -> Commands:
    done = pystorm("run", "steps.yaml")
    assert done.code == 0, done.err
    return pystorm


def test_a_stopped_topology_shows_its_state(finished: Commands) -> None:
    listed = finished("state", "list", "steps", "--json")
    assert listed.objects() == [
        {"component": "sum", "state": "names", "entries": 3},
        {"component": "sum", "state": "sums", "entries": 3},
    ]
    assert finished("state", "list", "steps").out.splitlines() == [
        "component  state  entries",
        "sum        names        3",
        "sum        sums         3",
    ]
    dumped = finished("state", "dump", "steps", "sum", "sums", "--json").objects()
    assert sorted(dumped, key=lambda entry: entry["key"]) == [
        {"component": "sum", "state": "sums", "key": key, "value": 100, "task": 0} for key in range(3)
    ]
    lines = finished("state", "dump", "steps", "sum", "names").out.splitlines()
    assert sorted(lines) == [f"sum\tnames\tn{n}\t{298 + (n + 2) % 3}\ttask 0" for n in range(3)]
    assert len(finished("state", "dump", "steps", "--json").objects()) == 6


def test_a_key_is_tried_as_text_and_then_as_yaml(finished: Commands) -> None:
    assert finished("state", "get", "steps", "sum", "names", "n0").out == "300\n"
    assert finished("state", "get", "steps", "sum", "sums", "2").out == "100\n"
    assert finished("state", "get", "steps", "sum", "sums", "2", "--json").objects() == [
        {"component": "sum", "state": "sums", "key": 2, "value": 100}
    ]
    assert finished("state", "dump", "steps", "sum", "sums", "2", "--json").objects() == [
        {"component": "sum", "state": "sums", "key": 2, "value": 100, "task": 0}
    ]


def test_checkpoints_of_a_stopped_topology(finished: Commands) -> None:
    records = finished("checkpoints", "steps", "--json").objects()
    newest = records[0]
    assert newest["final"] is True
    assert newest["positions"] == {"numbers": {"": 300}}
    assert [record["epoch"] for record in records] == sorted((r["epoch"] for r in records), reverse=True)
    assert sum(record["keys"] for record in records) >= 6
    header, first, *_ = finished("checkpoints", "steps").out.splitlines()
    assert header.split() == ["epoch", "committed", "at", "took", "keys", "size", "positions"]
    assert "numbers=300 (final)" in first
    assert len(finished("checkpoints", "steps", "--limit", "1", "--json").objects()) == 1


def test_a_running_topology_shows_what_it_has_committed_and_goes_on(pystorm: Commands) -> None:
    run = pystorm.start("run", "steps.yaml", *ENDLESS, "--json")
    pystorm.wait_for_file("seen", run)

    def total() -> int:
        done = pystorm("state", "dump", "steps", "sum", "sums", "--json")
        assert done.code == 0 or "no committed state" in done.err or "no state" in done.err, done.err
        return sum(entry["value"] for entry in done.objects()) if done.code == 0 else 0

    first = wait_until("a committed count", total)
    wait_until("a larger one", lambda: total() > first)
    records = pystorm("checkpoints", "steps", "--json").objects()
    assert records[0]["final"] is False
    assert records[0]["positions"]["numbers"][""] >= first
    run.send_signal(signal.SIGINT)
    done = pystorm.finish(run)
    assert done.code == 0, done.err
    assert done.objects()[-1]["recoveries"] == 0
    assert total() == done.objects()[-1]["components"]["sum"]["processed"]


def test_the_state_of_a_killed_run_can_be_read(pystorm: Commands) -> None:
    run = pystorm.start("run", "steps.yaml", *ENDLESS)
    pystorm.wait_for_file("seen", run)
    wait_until("a checkpoint", lambda: pystorm("checkpoints", "steps").code == 0)
    run.kill()  # the lock file is stale now, and names a socket that nobody listens on
    run.wait(DEADLINE_S)
    done = pystorm("state", "dump", "steps", "--json")
    assert done.code == 0, done.err
    assert done.objects()


def test_a_pager_that_is_left_open_does_not_keep_a_run_from_starting(finished: Commands) -> None:
    reader = finished.start("state", "dump", "steps", "--json")
    assert reader.stdout is not None
    assert reader.stdout.readline()  # it prints: the server is gone by now
    assert finished("run", "steps.yaml").code == 0
    assert finished.finish(reader).code == 0


def test_a_reader_that_has_enough_is_no_error(finished: Commands) -> None:
    for command in (["state", "dump", "steps", "--json"], ["graph", "steps.yaml"], ["validate", "steps.yaml"]):
        read_end, write_end = os.pipe()
        os.close(read_end)
        process = finished.start(*command, stdout=write_end)
        os.close(write_end)
        done = finished.finish(process)
        assert (done.code, done.err) == (0, "")


def test_a_full_disk_is_an_error(finished: Commands) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = finished.finish(finished.start("state", "dump", "steps", stdout=full))
    assert done.code == 1
    assert done.err == "error: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["state", "list", "stepz"], "there is no topology 'stepz' in .pystorm; did you mean 'steps'?"),
        (["checkpoints", "zzz"], "there is no topology 'zzz' in .pystorm; known: steps"),
        (["state", "dump", "steps", "summ"], "no component 'summ' with state; did you mean 'sum'?"),
        (["state", "list", "steps", "sum", "sumz"], "no state 'sumz' in component 'sum'; did you mean 'sums'?"),
        (["state", "get", "steps", "sum", "sums", "7"], "sum.sums has no committed entry for key '7'"),
        (["state", "list", "steps.yaml"], "'steps.yaml' is a file; give the name of the topology, as in its `name:`"),
        (["state", "list", "../steps"], "topology name '../steps' cannot name a folder; use letters, digits, - and _"),
    ],
)
def test_a_wrong_name_is_answered_with_the_names_that_exist(finished: Commands, args: list[str], message: str) -> None:
    done = finished(*args)
    assert (done.code, done.out, done.err) == (2, "", f"error: {message}\n")


def test_a_missing_data_directory_is_named(pystorm: Commands) -> None:
    done = pystorm("state", "list", "steps", "--data-dir", "elsewhere")
    assert done.code == 2
    assert f"there is no data directory {pystorm.folder / 'elsewhere'}; name the one of the run" in done.err


def test_a_redis_of_the_users_own_is_read_by_url(pystorm: Commands, own_redis: EmbeddedRedis) -> None:
    url = f"unix://{own_redis.unix_socket_path}"
    provider = f"topology.state.provider.config={json.dumps({'url': url})}"
    assert pystorm("run", "steps.yaml", "--set", provider).code == 0
    entries = pystorm("state", "dump", "steps", "sum", "sums", "--url", url, "--json").objects()
    assert sum(entry["value"] for entry in entries) == 300
    assert pystorm("checkpoints", "steps", "--url", url).code == 0
    wrong = pystorm("checkpoints", "stepz", "--url", url)
    assert wrong.code == 2
    assert "did you mean 'steps'?" in wrong.err
    embedded = pystorm("state", "list", "steps")
    assert embedded.code == 2
    assert "--url" in embedded.err
    own_redis.stop()
    unreachable = pystorm("state", "list", "steps", "--url", url)
    assert unreachable.code == 1
    assert "not available" in unreachable.err


def test_json_stays_json_on_an_output_that_lacks_its_characters(pystorm: Commands) -> None:
    module = pystorm.folder / "steps.py"
    module.write_text(module.read_text().replace('f"n{', 'f"Phænomena{'))
    assert pystorm("run", "steps.yaml").code == 0
    command = ("state", "dump", "steps", "sum", "names", "Phænomena0", "--json")
    for encoding in ("utf-8", "ascii", "latin-1"):
        reader = pystorm.start(*command, env={**os.environ, "PYTHONIOENCODING": encoding})
        out, _ = reader.communicate(timeout=DEADLINE_S)
        assert json.loads(out)["key"] == "Phænomena0"
        assert (b"\\u00e6" in out) == (encoding != "utf-8")


def test_two_readers_at_once_both_get_an_answer(finished: Commands) -> None:
    readers: list[subprocess.Popen[bytes]] = [
        finished.start("state", "dump", "steps", "sum", "sums", "--json") for _ in range(3)
    ]
    for reader in readers:
        done = finished.finish(reader)
        assert done.code == 0, done.err
        assert len(done.objects()) == 3
