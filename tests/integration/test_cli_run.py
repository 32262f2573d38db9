"""`pystorm run` as a user or a script meets it: output, exit codes, signals, readers that go away."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli import ENDLESS, Commands, wait_until


@pytest.fixture
def pystorm(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    commands.close()


def read_until(descriptor: int, wanted: bytes) -> bytes:
    found = b""
    while wanted not in found:
        data = os.read(descriptor, 65536)
        assert data, f"ended without {wanted!r}: {found.decode()}"
        found += data
    return found


def test_json_prints_one_object_with_the_keys_of_the_contract(pystorm: Commands) -> None:
    done = pystorm("run", "steps.yaml", "--json")
    assert done.code == 0, done.err
    (summary,) = done.objects()
    assert isinstance(summary.pop("seconds"), float)
    assert summary.pop("checkpoints")["committed"] >= 1
    assert summary == {
        "topology": "steps",
        "outcome": "finished",
        "components": {
            "numbers": {"emitted": 300, "acked": 300, "failed": 0, "processed": 0},
            "sum": {"emitted": 0, "acked": 300, "failed": 0, "processed": 300},
        },
        "recoveries": 0,
    }


def test_without_a_terminal_everything_is_plain_text_on_stderr(pystorm: Commands) -> None:
    done = pystorm("run", "steps.yaml")
    assert done.code == 0
    assert done.out == ""
    assert "\x1b" not in done.err
    assert "steps finished after" in done.err
    assert re.search(r"^  component +tasks +emitted +processed", done.err, flags=re.MULTILINE)
    assert re.search(r"^  sum +1 +0 +300 +300 +0 ", done.err, flags=re.MULTILINE)
    assert ".pystorm/steps/logs" in done.err
    assert "Traceback" not in done.err


def test_a_second_run_says_where_it_resumes_and_fresh_starts_anew(pystorm: Commands) -> None:
    pystorm("run", "steps.yaml")
    again = pystorm("run", "steps.yaml", "--json")
    assert "resuming from checkpoint" in again.err
    assert again.objects()[-1]["components"]["sum"]["processed"] == 0
    fresh = pystorm("run", "steps.yaml", "--json", "--fresh")
    assert "resuming" not in fresh.err
    assert fresh.objects()[-1]["components"]["sum"]["processed"] == 300


def test_user_errors_are_shown_once_indented_and_counted_in_the_summary(pystorm: Commands) -> None:
    config = ("--set", "bad=100", "--set", "topology.bolt.on.error=dead-letter")
    done = pystorm("run", "steps.yaml", *config, "--json")
    assert done.code == 0, done.err
    (error,) = done.objects()[-1]["errors"]
    assert (error["component"], error["type"], error["count"]) == ("sum", "ValueError", 3)
    assert "steps.py:" in error["line"]
    lines = done.err.splitlines()
    (first,) = [at for at, line in enumerate(lines) if "Traceback" in line]
    event = lines[first - 1]
    assert re.match(r"\d\d:\d\d:\d\d ERROR +sum-0: .*\[red\]100 is bad", event)
    last = lines.index("    and says so on two lines")
    assert first < last
    assert all(line.startswith("    ") for line in lines[first:last])
    assert re.search(r"^  3 x sum: ValueError at .*steps.py:\d+$", done.err, flags=re.MULTILINE)


def test_a_run_that_gives_up_exits_1_with_the_cause(pystorm: Commands) -> None:
    config = ("--set", "bad=50", "--set", "topology.bolt.on.error=crash", "--set", "topology.recovery.max.attempts=1")
    done = pystorm("run", "steps.yaml", *config, "--json")
    assert done.code == 1
    summary = done.objects()[-1]
    assert summary["outcome"] == "failed"
    assert "50 is bad" in summary["cause"]
    assert re.search(r"^cause: .*50 is bad", done.err, flags=re.MULTILINE)


def test_ctrl_c_drains_and_exits_0(pystorm: Commands) -> None:
    run = pystorm.start("run", "steps.yaml", *ENDLESS, "--json")
    pystorm.wait_for_file("seen", run)
    run.send_signal(signal.SIGINT)
    done = pystorm.finish(run)
    assert done.code == 0, done.err
    summary = done.objects()[-1]
    assert summary["outcome"] == "drained"
    assert summary["components"]["numbers"]["emitted"] == summary["components"]["sum"]["processed"] > 0
    assert "draining" in done.err


def test_a_second_ctrl_c_quits_at_once_with_130(pystorm: Commands) -> None:
    run = pystorm.start("run", "steps.yaml", "--set", "slow=0.5", "--json")
    assert run.stderr is not None
    pystorm.wait_for_file("seen", run)
    run.send_signal(signal.SIGINT)
    read_until(run.stderr.fileno(), b"draining")
    run.send_signal(signal.SIGINT)
    done = pystorm.finish(run)
    assert done.code == 130
    assert done.objects()[-1]["outcome"] == "aborted"
    assert "Traceback" not in done.err


def test_ctrl_c_before_the_run_started_leaves_130_and_no_traceback(pystorm: Commands) -> None:
    module = pystorm.folder / "steps.py"
    module.write_text(module.read_text() + "\n(HERE / 'imported').touch()\ntime.sleep(60)\n")
    run = pystorm.start("run", "steps.yaml")
    pystorm.wait_for_file("imported", run)
    run.send_signal(signal.SIGINT)
    done = pystorm.finish(run)
    assert done.code == 130
    assert done.err.strip() == "interrupted"


def test_duration_drains(pystorm: Commands) -> None:
    done = pystorm("run", "steps.yaml", *ENDLESS, "--duration", "0.5", "--json")
    assert done.code == 0, done.err
    assert done.objects()[-1]["outcome"] == "drained"


def test_a_wrong_file_is_exit_2_with_all_problems_and_nothing_on_stdout(pystorm: Commands) -> None:
    file = pystorm.folder / "steps.yaml"
    file.write_text(file.read_text().replace("shuffle", "shufle").replace("SumBolt", "SumBold"))
    done = pystorm("run", "steps.yaml", "--json")
    assert done.code == 2
    assert done.out == ""
    lines = done.err.splitlines()
    assert lines[-1] == "2 problems"
    assert all(re.match(r"steps\.yaml:\d+:\d+: ", line) for line in lines[:-1])
    assert "did you mean 'SumBolt'?" in done.err
    assert not (pystorm.folder / ".pystorm").exists()


def test_a_second_run_in_the_same_data_directory_is_refused_with_the_pid(pystorm: Commands) -> None:
    run = pystorm.start("run", "steps.yaml", *ENDLESS)
    pystorm.wait_for_file("seen", run)
    done = pystorm("run", "steps.yaml", "--json")
    assert done.code == 2
    assert f"pid {run.pid}" in done.err
    assert run.poll() is None


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_goes_away_does_not_harm_the_run(pystorm: Commands, stream: str) -> None:
    talking = ("--set", "bad=20", "--set", "topology.bolt.on.error=dead-letter", "--set", "warnings=1")
    run = pystorm.start("run", "steps.yaml", *ENDLESS, "--duration", "0.5", "--json", *talking)
    pipe = getattr(run, stream)
    pipe.close()
    setattr(run, stream, None)
    done = pystorm.finish(run)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err.replace('Traceback (most recent call last):\n      File "', "")
    if stream == "stderr":
        assert json.loads(done.out)["outcome"] == "drained"


def test_a_reader_that_does_not_read_does_not_stop_the_run(pystorm: Commands) -> None:
    run = pystorm.start("run", "steps.yaml", "--set", "warnings=2", "--json")  # 600 kB, a pipe holds 64
    pystorm.wait_for_file("done", run)
    lock = pystorm.folder / ".pystorm" / "steps" / "lock"
    wait_until("the run is over", lambda: lock.read_text() == "{}")
    with pytest.raises(subprocess.TimeoutExpired):
        run.wait(0.5)  # the summary is the last word, and waits to be read
    done = pystorm.finish(run)
    assert done.code == 0
    assert done.objects()[-1]["components"]["sum"]["processed"] == 300
    assert "messages left out" in done.err
    assert "steps finished after" in done.err


@pytest.mark.slow
def test_progress_is_a_line_every_five_seconds(pystorm: Commands) -> None:
    done = pystorm("run", "steps.yaml", *ENDLESS, "--duration", "6")
    (line,) = [line for line in done.err.splitlines() if "| pending" in line]
    assert re.match(
        r"\d\d:\d\d:\d\d running 5\.\d s \| numbers [\d,]+/s \| sum [\d,]+/s \| pending \d+ \| checkp", line
    )


def test_no_socket_folder_is_left_behind(pystorm: Commands, tmp_path: Path) -> None:
    runtime = tmp_path / "r"
    runtime.mkdir()
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    assert len(str(runtime)) < 80
    run = pystorm.start("run", "steps.yaml", *ENDLESS, env=env)
    pystorm.wait_for_file("seen", run)
    wait_until("a folder", lambda: list(runtime.iterdir()))
    run.send_signal(signal.SIGTERM)
    assert pystorm.finish(run).code == 0
    assert list(runtime.iterdir()) == []
