"""The command line from outside: real processes in a folder of their own, and a small topology to run there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: How long anything here may take that usually takes a second, in seconds.
DEADLINE_S = 60.0

MODULE = '''
import time
from pathlib import Path

from pystorm import Bolt, KeyValueState, ReplayableSpout

HERE = Path(__file__).parent


class NumberSpout(ReplayableSpout):
    """Emits 1, 2, 3 ... up to `last`, or for ever."""

    outputs = ["number"]

    def __init__(self, last, pause_s):
        self.last, self.pause_s = last, pause_s

    def seek(self, partition, position):
        self.number = position or 0

    def next_tuple(self):
        if self.number == self.last:
            self.finish()
            return
        time.sleep(self.pause_s)
        self.number += 1
        self.emit([self.number], position=self.number)


class SumBolt(Bolt):
    """Counts numbers by their remainder; may be slow, fail, or talk much."""

    sums = KeyValueState()
    names = KeyValueState()

    def __init__(self, pause_s=0, bad=0, warnings=0):
        self.pause_s, self.bad, self.warnings = pause_s, bad, warnings

    def process(self, tup):
        number = tup.values.number
        (HERE / "seen").touch()
        for _ in range(self.warnings):
            self.logger.warning("x" * 1000)
        if self.bad and number % self.bad == 0:
            raise ValueError(f"[red]{number} is bad\\nand says so on two lines")
        time.sleep(self.pause_s)
        self.sums[number % 3] = self.sums.get(number % 3, 0) + 1
        self.names[f"n{number % 3}"] = number

    def cleanup(self):
        (HERE / "done").touch()
'''

TOPOLOGY = """\
name: steps
config:
  topology.guarantee: at-least-once
  topology.state.checkpoint.interval.ms: 100
  last: 300
  pause: 0
  slow: 0
  bad: 0
  warnings: 0
spouts:
  - id: numbers
    className: steps.NumberSpout
    constructorArgs:
      last: ${last}
      pause_s: ${pause}
bolts:
  - id: sum
    className: steps.SumBolt
    constructorArgs:
      pause_s: ${slow}
      bad: ${bad}
      warnings: ${warnings}
streams:
  - {from: numbers, to: sum, grouping: shuffle}
"""

#: Options of a run that never ends by itself and leaves the machine alone.
ENDLESS = ("--set", "last=-1", "--set", "pause=0.002")


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    def objects(self) -> list[dict[str, Any]]:
        """Standard output as one JSON object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Commands:
    """Starts `pystorm` in a folder that holds steps.yaml and steps.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "steps.py").write_text(MODULE)
        (folder / "steps.yaml").write_text(TOPOLOGY)
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *args: str, **options: Any) -> subprocess.Popen[bytes]:
        """A command in the background, with pipes for its output."""
        # Handlers of the test runner's must not decide what a signal does here.
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process = subprocess.Popen(
            [sys.executable, "-m", "pystorm.cli.main", *args],
            cwd=self.folder,
            start_new_session=True,
            **options,
        )
        self._started.append(process)
        return process

    def __call__(self, *args: str) -> Done:
        """A command from start to end."""
        return self.finish(self.start(*args))

    @staticmethod
    def finish(process: subprocess.Popen[bytes]) -> Done:
        """Wait for the end of a command."""
        out, err = process.communicate(timeout=DEADLINE_S)
        return Done(process.returncode, (out or b"").decode(), (err or b"").decode())

    def wait_for_file(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Until a file in the folder exists, which the topology makes."""
        wait_until(name, lambda: (self.folder / name).exists() or process.poll() is not None)
        assert (self.folder / name).exists(), self.finish(process).err

    def close(self) -> None:
        """Kill what is left; workers and servers die with their controller."""
        for process in self._started:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        for lock in self.folder.glob(".pystorm/*/lock"):  # what a run that was killed could not remove
            runtime = json.loads(lock.read_text() or "{}").get("runtime")
            if runtime is not None:
                shutil.rmtree(runtime, ignore_errors=True)


def wait_until(what: str, condition: Callable[[], Any]) -> Any:
    """The first true value of `condition`."""
    end = time.monotonic() + DEADLINE_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(0.01)
