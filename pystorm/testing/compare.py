"""Expected and got, side by side: what the assertion helpers show when they fail."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Characters of one side; longer values go on in the next line.
SIDE = 50
#: Rows shown at the most; of long lists only the neighbourhood of the first difference matters.
MAX_ROWS = 20
#: Equal rows shown above the first difference.
CONTEXT = 3

_ABSENT: Any = object()


def assert_rows(got: Iterable[Sequence[Any]], expected: Iterable[Sequence[Any]], what: str, *, any_order: bool) -> None:
    """Compare rows of values.

    Args:
        what: whose rows they are, for the message.
        any_order: only which rows there are matters, and how often.

    Raises:
        AssertionError: they differ; the message shows both sides.
    """
    left, right = [list(row) for row in expected], [list(row) for row in got]
    if any_order:
        left, right = sorted(left, key=repr), sorted(right, key=repr)
    if left == right:
        return
    lines = side_by_side(left, right)
    raise AssertionError(f"{what}: {_counts(left, right)}\n" + "\n".join(lines))


def assert_entries(got: Mapping[Any, Any], expected: Mapping[Any, Any], what: str) -> None:
    """Compare maps key by key.

    Raises:
        AssertionError: they differ; the message shows the keys that do, both sides.
    """
    if got == expected:
        return
    keys = [key for key in {**expected, **got} if expected.get(key, _ABSENT) != got.get(key, _ABSENT)]
    left = [_entry(expected, key) for key in keys]
    right = [_entry(got, key) for key in keys]
    differ = f"{len(keys)} key{'s differ' if len(keys) > 1 else ' differs'}"
    raise AssertionError(f"{what}: {differ} of {len({**expected, **got})}\n" + "\n".join(side_by_side(left, right)))


def side_by_side(expected: Sequence[Any], got: Sequence[Any]) -> list[str]:
    """Lines that show two lists beside each other, from a little before the first difference on.

    >>> print("\\n".join(side_by_side([["a", 1], ["b", 2]], [["a", 1], ["b", 3]])))
        expected | got
        ['a', 1] | ['a', 1]
      ! ['b', 2] | ['b', 3]
    """
    pairs = list(itertools.zip_longest(expected, got, fillvalue=_ABSENT))
    first = next((i for i, (left, right) in enumerate(pairs) if not _same(left, right)), len(pairs))
    start = max(0, first - CONTEXT) if len(pairs) > MAX_ROWS else 0
    shown = pairs[start : start + MAX_ROWS]
    cells = [(_same(left, right), _wrapped(left), _wrapped(right)) for left, right in shown]
    width = max([len("expected"), *(len(line) for _, left, _ in cells for line in left)])
    lines = [f"    {'expected':{width}} | got"]
    if start:
        lines.append(f"    {'...':{width}} | ... ({start} equal rows)")
    for same, left, right in cells:
        for index, (one, other) in enumerate(itertools.zip_longest(left, right, fillvalue="")):
            sign = " " if same or index else "!"
            lines.append(f"  {sign} {one:{width}} | {other}".rstrip())
    if start + len(shown) < len(pairs):
        lines.append(f"    {'...':{width}} | ... ({len(pairs) - start - len(shown)} more rows)")
    return lines


class _Text(str):
    """Text that is shown as it is, without quotes."""


def _entry(entries: Mapping[Any, Any], key: Any) -> Any:
    return _Text(f"{key!r}: {entries[key]!r}") if key in entries else _Text(f"{key!r}: (nothing)")


def _same(left: Any, right: Any) -> bool:
    return left is not _ABSENT and right is not _ABSENT and bool(left == right)


def _wrapped(value: Any) -> list[str]:
    text = "(nothing)" if value is _ABSENT else str(value) if isinstance(value, _Text) else repr(value)
    return textwrap.wrap(text, SIDE, drop_whitespace=False) or [""]


def _counts(expected: Sequence[Any], got: Sequence[Any]) -> str:
    return f"expected {_rows(len(expected))}, got {_rows(len(got))}"


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
