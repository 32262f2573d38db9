"""What commands print on standard output: lines and JSON, to a reader that may go away."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any

from pystorm.errors import PystormError


class OutputClosed(Exception):
    """Whoever read standard output does not any more. No error: they have what they wanted."""


def print_line(text: str) -> None:
    """One line on standard output.

    Raises:
        OutputClosed: the reader is gone.
        PystormError: the output cannot be written, say because a disk is full.
    """
    _guarded(text + "\n")


def flush_output() -> None:
    """Write what is still in memory; raises as `print_line`."""
    _guarded("")


def print_json(value: Any) -> None:
    """One line of JSON; raises as `print_line`."""
    print_line(json_line(value))


def json_line(value: Any, *, ascii_only: bool | None = None) -> str:
    """JSON on one line. Not-a-number and infinities, which JSON lacks, become text.

    Args:
        ascii_only: escape every other character; None: where standard output cannot carry all of them.

    >>> json_line({"a": [1, float("inf")]})
    '{"a": [1, "Infinity"]}'
    """
    if ascii_only is None:
        ascii_only = not _is_utf8()
    try:
        return json.dumps(value, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=ascii_only, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def _is_utf8() -> bool:
    encoding = getattr(sys.stdout, "encoding", None) or ""
    return encoding.lower().replace("-", "") == "utf8"


def _guarded(text: str) -> None:
    if sys.stdout is None:
        raise OutputClosed
    try:
        if text:
            sys.stdout.write(text)
        else:
            sys.stdout.flush()
    except UnicodeEncodeError:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        _guarded(text)
    except OSError as error:
        # The interpreter flushes once more at its end and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            raise OutputClosed from None
        raise PystormError(f"cannot write to standard output: {error.strerror}") from error
