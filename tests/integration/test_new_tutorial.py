"""The tutorial, typed: its commands work in its folder, print what the page shows, and the killed run stays exact."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support import ROOT, Lab, kill
from tests.unit.test_docs_blocks import Block, blocks_of, write_files

PAGE = ROOT / "docs" / "guide" / "tutorial.md"

#: Sales in the killed run; the page has more, so that people find the time to kill.
SALES = 1_000_000


@pytest.fixture
def page(lab: Lab) -> list[Block]:
    found = blocks_of(PAGE)
    write_files(found, lab.folder)
    return found


def typed(folder: Path, line: str) -> str:
    """Standard output of a command line of the page."""
    words = shlex.split(line)
    program = {"pystorm": ["-m", "pystorm.cli.main"], "python": [], "pytest": ["-m", "pytest"]}[words[0]]
    command = [sys.executable, *program, *words[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout


def revenue(folder: Path, last: int) -> dict[str, int]:
    """What the page's own program for the expected sums finds."""
    code = f"import expected, json; print(json.dumps(expected.revenue({last})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_the_commands_of_the_tutorial_work_and_print_what_it_shows(lab: Lab, page: list[Block]) -> None:
    lines = [
        line
        for block in page
        if block.language == "sh" and block.mark != "not run"
        for line in block.code.splitlines()
        if "3000000" not in line and line not in ("pytest", "python expected.py")
    ]
    assert "pystorm run sales.yaml" in lines
    printed = {line: typed(lab.folder, line) for line in lines[: lines.index("pystorm graph shop.yaml")]}
    shown = next(block.code for block in page if block.mark == "output" and block.code.startswith("revenue\t"))
    dump = printed["pystorm state dump sales revenue revenue"]
    assert sorted(dump.splitlines()) == sorted(shown.splitlines())
    for line in lines[lines.index("pystorm graph shop.yaml") :]:
        assert typed(lab.folder, line) or " run " in line


def test_the_revenue_is_exact_though_workers_are_killed_as_the_tutorial_says(lab: Lab, page: list[Block]) -> None:
    run = lab.start(lab.folder / "sales.yaml", settings={"last": SALES, "topology.state.checkpoint.interval.ms": 100})
    for task in ("revenue-0", "sales-0"):
        epoch = run.wait_for_commit(position=1000).epoch
        assert run.workers_file()["workers"]
        kill(run.worker_of(task))
        run.wait_for_commit(after=epoch)
    summary = run.wait(0)

    assert summary["outcome"] == "finished"
    assert summary["recoveries"] == 2
    assert lab.counts("sales", "revenue", "revenue") == revenue(lab.folder, SALES)
