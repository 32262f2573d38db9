"""The last bolt of the latency benchmark."""

from __future__ import annotations

import json
import time
from array import array
from pathlib import Path

from pystorm import Bolt, Tuple


class SinkBolt(Bolt):
    """Keeps how long each tuple took, since it was due and since it was sent, and writes all of it at the end."""

    def __init__(self, results: str) -> None:
        self.results = Path(results)
        self.since_due_ns = array("q")
        self.since_sent_ns = array("q")

    def process(self, tup: Tuple) -> None:
        now_ns = time.monotonic_ns()
        self.since_due_ns.append(now_ns - tup.values.due_ns)
        self.since_sent_ns.append(now_ns - tup.values.sent_ns)

    def cleanup(self) -> None:
        latencies = {"since_due_ns": list(self.since_due_ns), "since_sent_ns": list(self.since_sent_ns)}
        (self.results / "latencies.json").write_text(json.dumps(latencies))
