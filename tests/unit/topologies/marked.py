"""Topology files for tests, with a mark at the place where a problem is expected."""

from __future__ import annotations

import shutil
from pathlib import Path

from pystorm.errors import Place

#: Stands right before the text whose place is expected in a problem.
MARK = "§"

PARTS = Path(__file__).with_name("parts.py")

GOOD = """\
name: words
config:
  topology.workers: 2
spouts:
  - id: lines
    className: parts.LineSpout
    constructorArgs: {path: lines.txt}
bolts:
  - id: split
    className: parts.SplitBolt
    parallelism: 2
  - id: count
    className: parts.CountBolt
    parallelism: 4
streams:
  - {from: lines, to: split, grouping: {type: SHUFFLE}}
  - {from: split, to: count, grouping: {type: FIELDS, args: [word]}}
"""


def changed(*replacements: tuple[str, str]) -> str:
    """`GOOD` with some of its text replaced; what is replaced stands in it exactly once."""
    text = GOOD
    for old, new in replacements:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the topology"
        text = text.replace(old, new)
    return text


def write_marked(folder: Path, text: str, name: str = "topology.yaml") -> tuple[Path, Place]:
    """Write a file without its mark, `parts.py` beside it.

    Returns:
        The file, and the place of the mark; line 0 if there is none.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(PARTS, folder / "parts.py")
    before, mark, after = text.partition(MARK)
    path.write_text(before + after, encoding="utf-8")
    line_start = before.rfind("\n") + 1
    return path, Place(str(path), before.count("\n") + 1, len(before) - line_start + 1) if mark else Place(str(path))
