"""The data directory's lock and the sums of counters."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pystorm.components import Bolt
from pystorm.controller.counters import Counters
from pystorm.controller.datadir import DataDirectory
from pystorm.errors import AlreadyRunning, ConfigError
from tests.harness import Feeder, Parts


def test_a_locked_directory_refuses_a_second_run_with_the_first_one_s_pid(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path, "t"), DataDirectory(tmp_path, "t")
    first.lock()
    try:
        with pytest.raises(AlreadyRunning, match=rf"'t' is already running .*pid {os.getpid()}"):
            second.lock()
        other = DataDirectory(tmp_path, "other")
        other.lock()
        other.unlock()
    finally:
        first.unlock()
    second.lock()
    second.unlock()


def test_the_runtime_directory_is_private_short_and_gone_afterwards(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path, "t")
    directory.lock()
    runtime = directory.runtime
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    assert len(str(runtime)) < 90
    directory.unlock()
    assert not runtime.exists()


def test_what_a_killed_run_left_is_no_obstacle_and_is_removed(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from pystorm.controller.datadir import DataDirectory\n"
        "d = DataDirectory(Path(sys.argv[1]), 't'); d.lock(); print(d.runtime, flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    left = Path(killed.stdout.strip())
    assert left.is_dir()
    directory = DataDirectory(tmp_path, "t")
    directory.lock()
    assert not left.exists()
    directory.unlock()


@pytest.mark.parametrize("content", ["", "{half", "[]", '{"pid": 1, "runtime": 7}', '{"runtime": "/etc"}'])
def test_a_damaged_lock_file_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "lock").write_text(content)
    directory = DataDirectory(tmp_path, "t")
    directory.lock()
    directory.unlock()


def test_only_a_folder_of_ours_is_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "lock").write_text(json.dumps({"runtime": str(precious)}))
    link = tmp_path / "pystorm-link"
    link.symlink_to(precious)
    directory = DataDirectory(tmp_path, "t")
    directory.lock()
    directory.unlock()
    (tmp_path / "t" / "lock").write_text(json.dumps({"runtime": str(link)}))
    directory.lock()
    directory.unlock()
    assert precious.is_dir()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "x" * 201])
def test_a_name_that_cannot_name_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a folder"):
        DataDirectory(tmp_path, name)


def test_a_place_that_cannot_be_used_is_named_with_advice(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot use the data directory .*--data-dir"):
        DataDirectory(tmp_path, "t").lock()


def test_workers_are_written_in_one_step(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path, "t")
    directory.lock()
    directory.write_workers({"workers": [1]})
    directory.write_workers({"workers": [2]})
    assert json.loads((directory.path / "workers.json").read_text()) == {"workers": [2]}
    assert not list(directory.path.glob("*.tmp"))
    directory.unlock()


# -- counters ---------------------------------------------------------------------------------------------------------


def counters() -> Counters:
    parts = Parts()
    parts.spout("s", Feeder)
    parts.bolt("b", Bolt, 2, reads=["s"])
    return Counters(parts.plan())


def report(pid: int, generation: int, tasks: dict[int, list[int]], errors: Any = ()) -> dict[str, Any]:
    return {"pid": pid, "generation": generation, "tasks": tasks, "metrics": {}, "errors": list(errors)}


def sums(found: Counters) -> dict[str, tuple[int, ...]]:
    return {c.id: (c.emitted, c.acked, c.failed, c.processed, c.pending) for c in found.components()}


def test_the_latest_report_of_a_task_counts_and_tasks_are_added() -> None:
    found = counters()
    found.on_stats(report(10, 1, {1: [5, 4, 1, 0, 2], 2: [1, 1, 0, 1, 3]}))
    found.on_stats(report(11, 1, {3: [2, 2, 0, 2, 1]}))
    found.on_stats(report(10, 1, {1: [7, 6, 1, 0, 0], 2: [2, 2, 0, 2, 0]}))
    assert sums(found) == {"s": (7, 6, 1, 0, 0), "b": (4, 4, 0, 4, 1)}


def test_a_rollback_starts_a_bolt_s_counters_anew_and_a_spout_s_go_on() -> None:
    found = counters()
    found.on_stats(report(10, 1, {1: [5, 4, 0, 0, 1], 2: [3, 3, 0, 3, 0]}))
    found.on_stats(report(10, 2, {1: [8, 6, 0, 0, 2], 2: [1, 1, 0, 1, 0]}))
    assert sums(found) == {"s": (8, 6, 0, 0, 2), "b": (4, 4, 0, 4, 0)}


def test_a_new_worker_s_counts_come_on_top_of_the_dead_one_s() -> None:
    found = counters()
    found.on_stats(report(10, 1, {1: [5, 5, 0, 0, 0]}))
    found.on_stats(report(12, 2, {1: [2, 2, 0, 0, 0]}))
    assert sums(found)["s"] == (7, 7, 0, 0, 0)


def test_errors_are_added_over_workers_and_the_most_frequent_comes_first() -> None:
    found = counters()
    found.on_stats(report(10, 1, {}, [["b", "ValueError", "x.py:3", 2], ["b", "KeyError", "x.py:9", 3]]))
    found.on_stats(report(11, 1, {}, [["b", "ValueError", "x.py:3", 2]]))
    found.on_stats(report(11, 1, {}, [["b", "ValueError", "x.py:3", 5]]))
    assert found.errors() == [("b", "ValueError", "x.py:3", 7), ("b", "KeyError", "x.py:9", 3)]
