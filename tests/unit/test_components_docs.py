"""The page on compatibility names tests that exist, and a test in every row that claims something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| behaviour"))
]
NAMED = sorted(set(re.findall(r"`((?:unit|integration|chaos|simulation)/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_exists(file: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_every_row_names_a_test_unless_it_says_that_something_is_not_here() -> None:
    assert len(ROWS) > 60
    assert all(len(row) == 3 for row in ROWS)
    assert [row for row in ROWS if "::test_" not in row[2] and not row[1].startswith("not here")] == []
