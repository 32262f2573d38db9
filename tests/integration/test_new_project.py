"""`pystorm new`: what it makes runs and passes its tests as it stands, and what it cannot make it refuses clearly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli import DEADLINE_S, Commands, Done


@pytest.fixture
def commands(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Commands(tmp_path)
    yield made
    made.close()


def run_pytest(folder: Path, *args: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_a_new_project_runs_and_passes_its_tests(commands: Commands) -> None:
    made = commands("new", "greet")
    assert made.code == 0, made.err
    assert made.out.splitlines() == [
        "made greet: greet.yaml, greet.py, test_greet.py, lines.txt, README.md, pytest.ini, .gitignore",
        "next:",
        "  pystorm run greet/greet.yaml",
        "  pystorm state dump greet count counts",
        "  pytest greet",
    ]

    run = commands("run", "greet/greet.yaml", "--json")
    assert run.code == 0, run.err
    assert run.objects()[-1]["outcome"] == "finished"

    counts = {
        entry["key"]: entry["value"]
        for entry in commands("state", "dump", "greet", "count", "counts", "--json").objects()
    }
    words = re.findall(r"\w+", (commands.folder / "greet" / "lines.txt").read_text().lower())
    assert counts == {word: words.count(word) for word in words}

    for folder, args in [(commands.folder, ["greet"]), (commands.folder / "greet", [])]:
        tested = run_pytest(folder, *args)
        assert tested.code == 0, tested.out
        assert "5 passed" in tested.out


def test_the_tests_of_a_new_project_can_fail(commands: Commands) -> None:
    commands("new", "greet")
    module = commands.folder / "greet" / "greet.py"
    module.write_text(module.read_text().replace("self.counts.get(word, 0) + 1", "1"))

    tested = run_pytest(commands.folder, "greet")
    assert tested.code == 1
    assert "  ! 'to': 2  | 'to': 1" in tested.out


def test_a_project_may_be_made_below_another_folder_and_in_an_empty_one(commands: Commands) -> None:
    (commands.folder / "there").mkdir()
    assert commands("new", "there").code == 0
    assert commands("new", "deep/down/words").code == 0
    assert (commands.folder / "deep" / "down" / "words" / "words.yaml").exists()
    assert commands("validate", "deep/down/words/words.yaml").out.startswith("ok: words")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("word-count", "it must be made of|did you mean 'word_count'?"),
        ("Greet", "small letters|did you mean 'greet'?"),
        ("4ever", "begin with a letter"),
        ("héllo", "small letters, digits and _"),
        ("class", "'class' is a word of the Python language; take another, such as my_class"),
        ("json", "Python's own module 'json' would be hidden by the project's; take another, such as my_json"),
        ("pytest", "the installed module 'pytest' would be hidden by the project's"),
        ("pystorm", "the installed module 'pystorm' would be hidden by the project's"),
    ],
)
def test_a_name_that_would_not_work_is_refused_with_one_that_does(name: str, text: str, commands: Commands) -> None:
    before = sorted(commands.folder.iterdir())
    refused = commands("new", name)

    assert refused.code == 2
    assert refused.err.startswith(f"error: {name!r} cannot be the name of a project: ")
    for part in text.split("|"):
        assert part in refused.err
    assert sorted(commands.folder.iterdir()) == before


def test_what_is_there_is_never_written_over(commands: Commands) -> None:
    (commands.folder / "mine").mkdir()
    (commands.folder / "mine" / "notes").write_text("keep")
    (commands.folder / "file").write_text("keep")

    refused = commands("new", "mine")
    assert (refused.code, refused.err) == (
        2,
        "error: mine is there already and not empty; choose another name, or remove it\n",
    )
    assert [path.name for path in (commands.folder / "mine").iterdir()] == ["notes"]

    refused = commands("new", "file")
    assert (refused.code, refused.err) == (2, "error: cannot make the project in file: File exists\n")
    assert (commands.folder / "file").read_text() == "keep"


def test_every_template_is_in_the_package() -> None:
    setup = (Path(__file__).resolve().parents[2] / "setup.cfg").read_text(encoding="utf-8")
    templates = Path(__file__).resolve().parents[2] / "pystorm" / "cli" / "templates"
    assert "cli/templates/*.txt" in setup
    assert {path.suffix for path in templates.iterdir()} == {".txt"}
