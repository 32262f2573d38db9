"""The bolt of the checkpoint benchmark: makes state dirty and notes how long it waited between tuples."""

from __future__ import annotations

import json
import time
from pathlib import Path

from pystorm import Bolt, KeyValueState, Tuple

KEYS = 100_000
KEYS_PER_TUPLE = 100


class DirtyBolt(Bolt):
    """Changes `KEYS_PER_TUPLE` keys per tuple, in turns, so that `KEYS / KEYS_PER_TUPLE` tuples touch every key once.

    The file `gaps.json` gets, for each whole second of the run, the longest time between the starts of two consecutive
    tuples, ms.
    """

    values: KeyValueState[str, int] = KeyValueState()

    def __init__(self, results: str) -> None:
        self.results = Path(results)
        self.names = [f"key-{number:06d}" for number in range(KEYS)]
        self.began_ns = self.last_ns = 0
        self.longest_ns_by_second: dict[int, int] = {}

    def process(self, tup: Tuple) -> None:
        self.note_gap(time.monotonic_ns())
        number = tup.values.number
        start = number * KEYS_PER_TUPLE % KEYS
        for name in self.names[start : start + KEYS_PER_TUPLE]:
            self.values[name] = number

    def note_gap(self, now_ns: int) -> None:
        if not self.began_ns:
            self.began_ns = self.last_ns = now_ns
        second = (now_ns - self.began_ns) // 1_000_000_000
        gap_ns = now_ns - self.last_ns
        if gap_ns > self.longest_ns_by_second.get(second, -1):
            self.longest_ns_by_second[second] = gap_ns
        self.last_ns = now_ns

    def cleanup(self) -> None:
        gaps_ms = {second: gap_ns / 1e6 for second, gap_ns in self.longest_ns_by_second.items()}
        (self.results / "gaps.json").write_text(json.dumps({"by_second_ms": gaps_ms, "keys": len(self.values)}))
