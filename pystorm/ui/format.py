"""Numbers, times and tables as people read them; plain text, no terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def count(number: int) -> str:
    """A number of things.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{number:,}"


def rate(per_s: float) -> str:
    """Things per second, without the unit.

    >>> rate(12345.6), rate(2.25), rate(0)
    ('12,346', '2.2', '0')
    """
    return f"{per_s:.1f}" if 0 < per_s < 9.95 else f"{per_s:,.0f}"


def duration(seconds: float) -> str:
    """A time span.

    >>> duration(0.0254), duration(3.14159), duration(75), duration(7500)
    ('25 ms', '3.1 s', '1 min 15 s', '2 h 05 min')
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def size(number_of_bytes: int) -> str:
    """A number of bytes, in decimal units.

    >>> size(512), size(2048), size(3_500_000)
    ('512 B', '2.0 kB', '3.5 MB')
    """
    value = float(number_of_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.95:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "checkpoint"), counted(2, "recovery", "recoveries")
    ('1 checkpoint', '2 recoveries')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def printable(text: str) -> str:
    r"""One line without what moves a terminal's cursor or changes its colours.

    >>> printable("a\x1b[31mb\tc")
    'a\\x1b[31mb\tc'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Rows as lines with aligned columns, two spaces apart.

    Args:
        right: columns, from 0, that are aligned on the right, as numbers are.

    >>> aligned([["id", "n"], ["lines", "12"]], right={1})
    ['id      n', 'lines  12']
    """
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width) for at, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
