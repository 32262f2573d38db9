"""The nearest valid word for a word that is not valid.

Source: difflib's ratio; Storm's and git's "did you mean" served as examples of use.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Below this likeness (0..1) a suggestion confuses more than it helps; difflib's own default.
_WORTH_SUGGESTING = 0.6


def nearest(word: str, known: Iterable[str], *, likeness: float = _WORTH_SUGGESTING) -> str | None:
    """The known word most like `word`, letters' case aside, or None when none is alike enough.

    >>> nearest("paralelism", ["id", "parallelism"])
    'parallelism'
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=likeness)
    return by_folded[found[0]] if found else None


def hint(word: str, known: Iterable[str]) -> str:
    """What to tell somebody who wrote `word`: the nearest known word, else the few words there are, else nothing.

    >>> hint("nme", ["name", "config"]), hint("zzz", ["name", "config"])
    ("did you mean 'name'?", 'known: config, name')
    """
    candidates = sorted(set(known))
    close = nearest(word, candidates)
    if close:
        return f"did you mean {close!r}?"
    # Twelve names fit on a line; a longer list is no help in an error message.
    if candidates and len(candidates) <= 12:
        return "known: " + ", ".join(candidates)
    return ""
