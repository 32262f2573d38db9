"""The checkout is laid out as README and CONTRIBUTING say, and what they name exists."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HOUSE = """
bin/pystorm bin/test bin/bench .ci/run
pystorm/components pystorm/topology pystorm/worker pystorm/controller pystorm/state pystorm/cli pystorm/py.typed
topologies/wordcount.yaml topologies/wordcount.py topologies/data/README.md
tests/unit tests/simulation tests/integration tests/chaos
benchmarks/floor.py docs/index.md docs/guide docs/reference
setup.cfg pyproject.toml ruff.toml README.md CHANGELOG.md CONTRIBUTING.md LICENSE
""".split()

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "topologies").rglob("*.md")])


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def tracked_files() -> list[Path]:
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    files = [ROOT / name for name in listed.decode().split("\0") if name]
    return [path for path in files if path.is_file() and not path.is_symlink()]


@pytest.mark.parametrize("name", HOUSE)
def test_the_house_has(name: str) -> None:
    assert (ROOT / name).exists()


def test_state_is_a_link_to_the_package() -> None:
    assert (ROOT / "state").is_symlink()
    assert (ROOT / "state").readlink() == Path("pystorm/state")


@pytest.mark.parametrize("name", ["bin/pystorm", "bin/test", "bin/bench", ".ci/run"])
def test_a_program_can_be_run(name: str) -> None:
    assert (ROOT / name).stat().st_mode & 0o111 == 0o111


def test_no_file_names_a_folder_of_this_machine() -> None:
    # Only paths of two parts or more, and the home folder: "/src" alone is too common a word.
    own = [str(path) + "/" for path in (ROOT, ROOT.parent) if len(path.parts) > 2]
    homes = r"/(?:home|Users)/[a-z][\w.-]*/"
    pattern = re.compile("|".join([*map(re.escape, own), homes, re.escape(f"{Path.home()}/")]).encode())
    found = {
        str(path.relative_to(ROOT)): match.group().decode()
        for path in tracked_files()
        if (match := pattern.search(path.read_bytes()))
    }
    assert not found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    lost = [link for link in links if link and not (page.parent / link).exists()]
    assert not lost


def test_every_guarantee_in_the_readme_names_a_test_that_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Guarantees\n")[2].partition("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| ")][1:]
    assert rows
    assert [row for row in rows if "`tests/" not in row] == []


def test_every_test_that_the_readme_names_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/.-]+)(?:::(\w+))?`", readme)
    assert named
    for path, function in named:
        assert (ROOT / path).exists(), path
        if function:
            assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{function}"


def test_pyproject_holds_the_build_system_only() -> None:
    tables = re.findall(r"^\[(.+)\]$", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert tables == ["build-system"]


def test_the_version_is_the_same_everywhere() -> None:
    source = (ROOT / "pystorm" / "__init__.py").read_text(encoding="utf-8")
    version = setup_cfg()["metadata"]["version"]
    assert f'__version__ = "{version}"' in source
    assert f"{version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", ["install_requires", "test"])
def test_every_dependency_has_a_reason(option: str) -> None:
    lines = (ROOT / "setup.cfg").read_text(encoding="utf-8").splitlines()
    start = lines.index(f"{option} =")
    block = []
    for line in lines[start + 1 :]:
        if not line.startswith(" "):
            break
        block.append(line.strip())
    assert block
    bare = [line for before, line in zip(["", *block], block, strict=False) if line[0] != "#" and before[:1] != "#"]
    assert not bare
