"""A paced word count that is being disturbed: what the recovery and chaos tests have in common."""

from __future__ import annotations

import time
from typing import Any

from tests.integration.support import TOPOLOGIES, Lab, Run, plain_count, text_lines, total_position, wait_until

#: One for each task of counting.yaml.
WORKERS = 5


class Count:
    """A run of tests/chaos/topologies/counting.yaml, exactly-once unless said otherwise.

    Args:
        text: what is counted.
        pace: lines a second.
        settings: more of `--set`.
    """

    def __init__(self, lab: Lab, *, text: str = "", pace: int = 1000, **settings: Any) -> None:
        self.lab = lab
        self.text = text or text_lines(3000)
        self.hurry = lab.folder / "hurry"
        path = lab.write("text.txt", self.text)
        self.settings = {"path": str(path), "pace": pace, "hurry": str(self.hurry), **settings}
        self.file = TOPOLOGIES / "counting.yaml"
        self.run = self.start()

    def start(self) -> Run:
        """Start the run, for the first time or again."""
        self.run = self.lab.start(self.file, settings=self.settings)
        return self.run

    def under_way(self, after: int = 0) -> int:
        """Wait until everything runs and more than `after` is committed; returns how much.

        Fails if the input is used up: what follows would disturb nothing.
        """
        self.run.wait_for_workers(WORKERS)
        done = total_position(self.run.wait_for_commit(position=after))
        assert done < len(self.text.encode()), "the whole text is counted, there is nothing left to disturb"
        return done

    def finish(self, *, exactly: bool = True) -> dict[str, Any]:
        """Let it end without a rest; the count must be exact."""
        self.hurry.touch()
        summary = self.run.wait()
        if exactly:
            assert self.lab.counts("counting") == plain_count(self.text)
        return summary

    def missing(self) -> dict[str, tuple[int, int]]:
        """Words that were counted less often than they are in the text."""
        found = self.lab.counts("counting")
        return {w: (n, found.get(w, 0)) for w, n in plain_count(self.text).items() if found.get(w, 0) < n}


def let_pass(seconds: float) -> None:
    """Let a random moment pass; no assertion rests on it."""
    end = time.monotonic() + seconds
    wait_until("the moment is over", lambda: time.monotonic() >= end)
