"""What typical mistakes of newcomers are answered with: the place, what is wrong, and what to do; and nothing more.

The readers of topology files test their own messages one by one. These are the cases where a newcomer once read a
message and was none the wiser.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pystorm.errors import TopologyError
from pystorm.topology.loading import load_checked

TOPOLOGIES = Path(__file__).resolve().parents[2] / "topologies"


def complaints(path: Path) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        load_checked(path)
    return [str(problem) for problem in caught.value.problems]


def copy_of_wordcount(folder: Path, old: str, new: str) -> Path:
    text = (TOPOLOGIES / "wordcount.yaml").read_text(encoding="utf-8")
    assert old in text
    (folder / "wordcount.py").write_bytes((TOPOLOGIES / "wordcount.py").read_bytes())
    (folder / "wordcount.yaml").write_text(text.replace(old, new), encoding="utf-8")
    return folder / "wordcount.yaml"


def test_a_misspelt_grouping_is_not_also_told_that_it_takes_no_args(tmp_path: Path) -> None:
    found = complaints(copy_of_wordcount(tmp_path, "type: FIELDS", "type: FIELD"))
    assert len(found) == 1
    assert found[0].endswith("stream split -> count: unknown grouping 'FIELD'; did you mean 'FIELDS'?")


def test_the_module_in_place_of_its_topology_file_is_answered_with_the_topology_file() -> None:
    found = complaints(TOPOLOGIES / "wordcount.py")
    assert len(found) == 1
    assert "this is a Python file" in found[0]
    assert f"did you mean '{TOPOLOGIES / 'wordcount.yaml'}'?" in found[0]
