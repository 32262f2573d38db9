"""The word count's spout, with a rest now and then."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from wordcount import LineSpout


class PacedLineSpout(LineSpout):
    """Reads about `lines_per_s` lines a second until the file `hurry` exists."""

    def __init__(self, path: str, lines_per_s: float, hurry: str) -> None:
        super().__init__(path)
        self.lines_per_s = lines_per_s
        self.hurry = hurry

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        super().initialize(conf, context)
        self.started_s = time.monotonic()
        self.read = 0
        self.is_hurried = False

    def next_tuple(self) -> None:
        if not self.is_hurried and self.read >= (time.monotonic() - self.started_s) * self.lines_per_s:
            self.is_hurried = os.path.exists(self.hurry)
            return
        self.read += 1
        super().next_tuple()
