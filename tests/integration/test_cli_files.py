"""`validate`, `graph`, and what every command shares: help, mistyped words, exit codes, bugs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli import DEADLINE_S, Commands


@pytest.fixture
def pystorm(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    commands.close()


@pytest.fixture
def broken(pystorm: Commands) -> Commands:
    file = pystorm.folder / "steps.yaml"
    file.write_text(file.read_text().replace("shuffle", "shufle").replace("SumBolt", "SumBold"))
    return pystorm


def test_a_good_file_is_one_line(pystorm: Commands) -> None:
    done = pystorm("validate", "steps.yaml")
    assert (done.code, done.err) == (0, "")
    assert done.out == "ok: steps: 1 spout, 1 bolt, 2 tasks, at-least-once\n"
    (found,) = pystorm("validate", "steps.yaml", "--json").objects()
    assert found == {"file": "steps.yaml", "ok": True, "topology": "steps", "problems": [], "notes": []}


def test_validate_tells_every_problem_with_its_place_and_their_number(broken: Commands) -> None:
    done = broken("validate", "steps.yaml")
    assert (done.code, done.out) == (2, "")
    *problems, count = done.err.splitlines()
    assert count == "2 problems"
    assert re.fullmatch(r"steps\.yaml:18:\d+: .*'SumBold'; did you mean 'SumBolt'\?", problems[0])
    assert re.fullmatch(r"steps\.yaml:\d+:\d+: .*shufle.*; .*SHUFFLE.*", problems[1])


def test_validate_for_machines_has_the_same_problems(broken: Commands) -> None:
    done = broken("validate", "steps.yaml", "--json")
    assert (done.code, done.err) == (2, "")
    (found,) = done.objects()
    assert found["ok"] is False
    first, second = found["problems"]
    assert (first["file"], first["line"]) == ("steps.yaml", 18)
    assert first["hint"] == "did you mean 'SumBolt'?"
    assert second["line"] > first["line"]


def test_what_is_set_is_checked_too(pystorm: Commands) -> None:
    done = pystorm("validate", "steps.yaml", "--set", "topology.workers=0")
    assert done.code == 2
    assert "topology.workers" in done.err
    for wrong in ("topology.workers", "=3", "last=[1"):
        done = pystorm("validate", "steps.yaml", "--set", wrong)
        assert done.code == 2
        assert done.err.startswith(f"error: --set '{wrong}': ")


def test_graph_draws_in_every_form(pystorm: Commands) -> None:
    text = pystorm("graph", "steps.yaml", "--set", "topology.guarantee=exactly-once")
    assert text.out.startswith("steps: 1 spout, 1 bolt, 2 tasks, exactly-once\n")
    assert pystorm("graph", "steps.yaml", "--format", "mermaid").out.startswith("flowchart LR\n")
    assert pystorm("graph", "steps.yaml", "--format", "dot").out.startswith('digraph "steps" {\n')
    (found,) = pystorm("graph", "steps.yaml", "--json").objects()
    assert found["components"]["sum"] == {"kind": "bolt", "parallelism": 1, "class": "steps.SumBolt"}
    assert found["streams"] == [
        {"from": "numbers", "to": "sum", "stream": "default", "grouping": "SHUFFLE", "fields": []}
    ]
    wrong = pystorm("graph", "steps.yaml", "--format", "mermaidd")
    assert wrong.code == 2
    assert "mermaid" in wrong.err


def test_graph_draws_what_it_can_of_a_broken_file_and_tells_the_rest(broken: Commands) -> None:
    done = broken("graph", "steps.yaml")
    assert done.code == 2
    assert "steps.SumBold" in done.out
    assert "shufle" in done.err


@pytest.mark.parametrize(
    ("args", "advice"),
    [
        (["rnu", "steps.yaml"], "there is no command 'rnu'; did you mean 'run'?"),
        (["steps.yaml"], "did you mean 'pystorm run steps.yaml'?"),
        (["state", "dmup", "steps"], "there is no command 'dmup'; did you mean 'dump'?"),
        (["run", "--freshh", "steps.yaml"], "--fresh"),
        (["run"], "Missing argument 'FILE'"),
        (["run", "steps.yaml", "--duration", "0"], "--duration"),
        (["run", "nothing.yaml"], "nothing.yaml: there is no such file"),
        (["validate", "nothing.yaml"], "nothing.yaml: there is no such file"),
    ],
)
def test_a_wrong_command_is_exit_2_with_advice(pystorm: Commands, args: list[str], advice: str) -> None:
    done = pystorm(*args)
    assert (done.code, done.out) == (2, "")
    assert advice in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "command", [[], ["run"], ["validate"], ["graph"], ["state"], ["state", "dump"], ["checkpoints"]], ids=" ".join
)
def test_every_command_has_help(pystorm: Commands, command: list[str]) -> None:
    done = pystorm(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: {' '.join(['pystorm', *command])} ")


def test_a_bug_says_so_and_keeps_its_traceback(pystorm: Commands) -> None:
    program = (
        "import sys, pystorm.cli.validate as module\n"
        "def broken(*args): raise RuntimeError('unthought of')\n"
        "module.parse_overrides = broken\n"
        "sys.argv = ['pystorm', 'validate', 'steps.yaml']\n"
        "from pystorm.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=pystorm.folder, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 1
    assert "RuntimeError: unthought of" in done.stderr
    assert "in broken" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: this is a bug in pystorm 0.")


def test_run_imports_neither_rich_nor_redis_before_the_zygote_starts() -> None:
    late = "('rich', 'redis', 'zmq', 'yaml')"
    program = f"import sys, pystorm.cli.run, pystorm.cli.app; print([m for m in {late} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.stdout == "[]\n"
