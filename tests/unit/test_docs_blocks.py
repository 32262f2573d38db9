"""Every block of code in the pages works: Python is executed, topologies are loaded, commands exist with their options.

How a page says what a block is, in a comment or in the words right before it:

- `<!-- file: name -->`: the block belongs to that file; a second block of it goes on where the first ended, `, anew`
  starts it again. Without a comment, a file that the paragraph before the block ends with (as in "type `greet.py`:") is
  taken. All files of a page are in one folder; a `test_*.py` is run by pytest.
- `<!-- output -->`: what a program prints. Blocks without a language are that anyway, unless they are a file.
- Python without a file is executed, all of it of a page in one namespace.
- `EXCEPTIONS` lists what cannot run as it stands, with the reason.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml

from pystorm.cli.app import cli
from pystorm.topology.loading import load_checked
from tests.unit.test_testing_plugin import plugin_options

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

#: (page, how the block begins) -> why it cannot run as it stands
EXCEPTIONS = {
    ("docs/guide/guarantees.md", "self.seen[user].append(page)"): (
        "three ways to write one line inside a bolt, the first one wrong on purpose"
    ),
}

_MARK = re.compile(r"<!-- (file|output|not run)(?:: (.*?))? -->\s*$")
_NAMED = re.compile(r"`([\w.-]+\.(?:py|yaml|csv|txt|ini))`(?:[^`\n.]|\n(?!\n))*:\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is written in, what is in it, which file it belongs to, where it stands."""

    page: str
    line: int
    language: str
    code: str
    mark: str
    file: str
    is_anew: bool

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    end = 0
    for match in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, flags=re.MULTILINE | re.DOTALL):
        before, end = text[end : match.start()], match.end()
        indent, language, code = match.groups()
        mark = _MARK.search(before)
        kind, argument = (mark[1], mark[2] or "") if mark else ("", "")
        file, _, anew = argument.partition(", ") if kind == "file" else ("", "", "")
        named = None if mark else _NAMED.search(before.rpartition("\n\n")[2] if before.strip() else "")
        code = re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)
        line = text.count("\n", 0, match.start()) + 1
        name = str(page.relative_to(ROOT))
        found.append(Block(name, line, language, code, kind, file or (named[1] if named else ""), anew == "anew"))
    return found


def is_excepted(block: Block) -> bool:
    return any(block.page == page and block.code.startswith(begin) for page, begin in EXCEPTIONS)


def write_files(blocks: list[Block], folder: Path) -> dict[str, Block]:
    """Put the files of a page into a folder; returns the last block of each."""
    written: dict[str, Block] = {}
    for block in blocks:
        if block.file and block.language not in ("sh", "json"):
            path = folder / block.file
            before = path.read_text(encoding="utf-8") + "\n\n" if block.file in written and not block.is_anew else ""
            path.write_text(before + block.code, encoding="utf-8")
            written[block.file] = block
    return written


BLOCKS = {page: blocks_of(page) for page in PAGES}
ALL = [block for blocks in BLOCKS.values() for block in blocks]


def pages_with(language: str) -> list[Path]:
    return [page for page, blocks in BLOCKS.items() if any(block.language == language for block in blocks)]


def python(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_the_python_of_a_page_can_be_executed(page: Path, tmp_path: Path) -> None:
    blocks = [block for block in BLOCKS[page] if not is_excepted(block)]
    written = write_files(blocks, tmp_path)
    modules = [name for name in written if name.endswith(".py") and not name.startswith("test_")]
    loose = [block.code for block in blocks if block.language == "python" and not block.file]
    if loose:
        (tmp_path / "loose_blocks.py").write_text("\n\n".join(loose), encoding="utf-8")
        modules.append("loose_blocks.py")
    for name in modules:
        done = python(tmp_path, "-W", "error", "-c", f"import {name.removesuffix('.py')}")
        assert done.returncode == 0, f"{name_of(page)}, {name}:\n{done.stderr}"


@pytest.mark.parametrize(
    "page", [p for p, found in BLOCKS.items() if any(b.file.startswith("test_") for b in found)], ids=name_of
)
def test_the_tests_of_a_page_pass(page: Path, tmp_path: Path) -> None:
    write_files(BLOCKS[page], tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    done = python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin_options())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", pages_with("yaml"), ids=name_of)
def test_the_topologies_of_a_page_are_right(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_files(BLOCKS[page], tmp_path)
    for block in BLOCKS[page]:
        if block.language != "yaml" or is_excepted(block):
            continue
        content = yaml.safe_load(block.code)
        if not isinstance(content, dict) or "streams" not in content:
            continue  # part of a file; that it is YAML is all that can be said
        path = tmp_path / block.file if block.file else tmp_path / f"{content['name']}.yaml"
        if block.file in files and files[block.file] is not block:
            continue  # its file goes on, or is begun anew
        path.write_text(block.code, encoding="utf-8")
        if not list(tmp_path.glob("*.py")):  # the page shows one of the shipped examples
            path = ROOT / "topologies" / path.name
        assert load_checked(path).topology.name == content["name"], block.place


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "json"], ids=lambda block: block.place)
def test_json_is_json(block: Block) -> None:
    try:
        json.loads(block.code)
    except json.JSONDecodeError:  # or one object a line, as commands print them
        assert all(json.loads(line) for line in block.code.splitlines())


def commands() -> list[tuple[str, str]]:
    """(place, command line) of every line in a shell block that calls pystorm."""
    found = []
    for block in ALL:
        if block.language == "sh":
            lines = block.code.replace("\\\n", " ").splitlines()
            found += [(block.place, line) for line in lines if re.match(r"(?:\S*/)?pystorm(?:\s|$)", line)]
    return found


@pytest.mark.parametrize(("place", "line"), commands())
def test_a_command_exists_with_its_options(place: str, line: str) -> None:
    words = shlex.split(re.split(r"\s[|>&]", line)[0], comments=True)[1:]
    context = click.Context(cli, info_name="pystorm")
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, f"{place}: {line}"
        command = found
        context = click.Context(command, info_name=name, parent=context)
    if words != ["--help"]:
        command.make_context(context.info_name, list(words), parent=context.parent)


def test_a_shell_block_names_nothing_that_the_checkout_lacks() -> None:
    """`bin/...` and `topologies/...` in commands are files that exist."""
    lost = []
    for block in ALL:
        if block.language == "sh":
            for path in re.findall(r"(?<![\w./-])(?:bin|topologies|benchmarks)/[\w./-]+", block.code):
                if not (ROOT / path).exists():
                    lost.append(f"{block.place}: {path}")
    assert not lost


def test_every_exception_is_still_needed() -> None:
    """A page that changed must not leave its exception behind."""
    assert len(EXCEPTIONS) == sum(map(is_excepted, ALL))


def test_blocks_are_found_with_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Type `a.py`:\n```python\nx = 1\n```\n"
        "More.\n\n<!-- file: a.py -->\n```python\ny = x\n```\n"
        "- item\n  ```python\n  z = 1\n  ```\n"
        "<!-- file: a.py, anew -->\n```python\nw = 1\n```\n"
        "It says `b.py`. And then\n```\nb\n```\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    found = blocks_of(page)
    assert [(b.file, b.is_anew, b.code) for b in found] == [
        ("a.py", False, "x = 1\n"),
        ("a.py", False, "y = x\n"),
        ("", False, "z = 1\n"),
        ("a.py", True, "w = 1\n"),
        ("", False, "b\n"),
    ]
    write_files(found[:2], tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = 1\n\n\ny = x\n"
