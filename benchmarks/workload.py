"""What the word count benchmarks count: a file of sentences that is the same on every machine, and its true counts.

Theory: sentence i has 8 to 12 words, equally likely; each word is drawn from `VOCABULARY_SIZE` words with probability
proportional to 1/rank (Zipf's law with exponent 1, about that of English prose). All choices come from one seeded
Mersenne Twister through `random()` alone, the one method whose sequence Python promises to keep between versions.

The file is written once, in the cache directory, and read by floor and pystorm alike. The reference count is made by
reading that very file with a plain loop; it knows nothing of how the file came about.

Source: https://docs.python.org/3/library/random.html#notes-on-reproducibility
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

#: words to draw from
VOCABULARY_SIZE = 10_000
#: words per sentence, both ends included
SHORTEST, LONGEST = 8, 12
#: in the cached file's name: raise it when the generator changes, or old files would pass for new ones
FORMAT = 1
#: sentences of the full benchmark
FULL_SIZE = 1_000_000
SEED = 20_240_229

_SYLLABLES = [consonant + vowel for consonant in "bdfklmnrst" for vowel in "aeiou"]
_CHUNK = 10_000


def cache_dir() -> Path:
    """The directory for generated inputs: `PYSTORM_BENCH_CACHE`, else a folder of the user's cache directory."""
    named = os.environ.get("PYSTORM_BENCH_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pystorm-bench"


def vocabulary() -> list[str]:
    """The words by rank, the most frequent first: two syllables for the first 2,500, then three (4 or 6 letters)."""
    base = len(_SYLLABLES)
    words = [first + second for first in _SYLLABLES for second in _SYLLABLES]
    for rank in range(VOCABULARY_SIZE - len(words)):
        words.append(_SYLLABLES[rank // base // base] + _SYLLABLES[rank // base % base] + _SYLLABLES[rank % base])
    return words


def sentences(count: int, seed: int = SEED) -> Iterator[str]:
    """`count` sentences, without line ends; the same seed gives the same sentences, and a shorter run is a prefix."""
    draw = random.Random(seed).random
    words = vocabulary()
    heights = list(accumulate(1.0 / rank for rank in range(1, VOCABULARY_SIZE + 1)))
    total = heights[-1]
    lengths = LONGEST - SHORTEST + 1
    for _ in range(count):
        size = SHORTEST + int(draw() * lengths)
        yield " ".join([words[bisect(heights, draw() * total)] for _ in range(size)])


def sentence_file(count: int, seed: int = SEED) -> Path:
    """The cached file of `count` sentences, one a line; written on first use (about 6 s and 53 MB for a million).

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"a workload needs at least 1 sentence, got {count}")
    path = cache_dir() / f"sentences-v{FORMAT}-{count}-{seed}.txt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _counts_path(path).unlink(missing_ok=True)
        _write_lines(path, sentences(count, seed))
    return path


def reference_counts(path: Path) -> dict[str, int]:
    """The true count of each word of the file, by a plain loop; kept beside the file for the next run."""
    kept = _counts_path(path)
    if kept.exists():
        stored: dict[str, int] = json.loads(kept.read_text())
        return stored
    counts: dict[str, int] = {}
    with path.open() as lines:
        for line in lines:
            for word in line.split():
                counts[word] = counts.get(word, 0) + 1
    _write_lines(kept, [json.dumps(counts)])
    return counts


def difference(counts: dict[str, int], reference: dict[str, int]) -> str:
    """Empty when the counts are right, else one line that says how they differ."""
    if counts == reference:
        return ""
    wrong = [word for word in reference.keys() | counts.keys() if counts.get(word) != reference.get(word)]
    word = min(wrong)
    return (
        f"{len(wrong)} of {len(reference)} words have a wrong count, {sum(counts.values())} words counted instead of "
        f"{sum(reference.values())}; for instance {word!r}: got {counts.get(word)}, wanted {reference.get(word)}"
    )


def _counts_path(path: Path) -> Path:
    return path.with_suffix(".counts.json")


def _write_lines(path: Path, lines: Iterator[str] | list[str]) -> None:
    """Write the whole file or nothing: two benchmarks may start at once, and a run may be interrupted."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with os.fdopen(handle, "w") as out:
            chunk: list[str] = []
            for line in lines:
                chunk.append(line + "\n")
                if len(chunk) == _CHUNK:
                    out.writelines(chunk)
                    chunk.clear()
            out.writelines(chunk)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
