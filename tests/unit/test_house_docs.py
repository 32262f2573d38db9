"""Pages that repeat what the code knows are compared with it.

To bring the table of configuration keys up to date: `python -m tests.unit.test_house_docs` from the checkout.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from pystorm.topology.options import OPTIONS, Option

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "yaml.md"
BLOCK = re.compile(r"(<!-- options:[^\n]*-->\n).*(<!-- end of options -->)", re.DOTALL)


def row(option: Option) -> str:
    default = getattr(option.default, "value", option.default)
    shown = "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
    where = "topology, component" if option.per_component else "topology"
    return f"| `{option.key}` | {option.wanted} | `{shown}` | {where} | {option.doc} |\n"


def table() -> str:
    head = "| key | value | default | set for | meaning |\n|---|---|---|---|---|\n"
    return head + "".join(map(row, OPTIONS))


def with_table(text: str) -> str:
    return BLOCK.sub(lambda found: found[1] + table() + found[2], text)


def test_the_reference_lists_every_configuration_key_with_its_default() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert BLOCK.search(text)
    assert text == with_table(text), "run python -m tests.unit.test_house_docs"


def test_the_example_in_the_reference_is_the_one_that_ships() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert example
    shipped = (ROOT / "topologies" / "wordcount.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(example[1]) == yaml.safe_load(shipped)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
