"""`pystorm run` on a terminal: a pseudo-terminal stands for the user's, and gets what a user would see and type."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli import DEADLINE_S, ENDLESS, Commands, wait_until

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def pystorm(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    commands.close()


class Terminal:
    """Standard error and the keyboard of a command; standard output is a pipe."""

    def __init__(self, pystorm: Commands, *args: str, term: str = "xterm-256color") -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = pystorm.start(
            *args,
            stdin=slave,
            stderr=slave,
            env={**os.environ, "TERM": term},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C then comes from this terminal
        )
        os.close(slave)
        self._seen = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the last writer is gone
                return
            self._seen += data

    @property
    def raw(self) -> str:
        return self._seen.decode()

    @property
    def text(self) -> str:
        """What was written, without colours and movements of the cursor."""
        return ESCAPES.sub("", self.raw).replace("\r", "")

    def wait_for(self, pattern: str) -> None:
        wait_until(f"{pattern} in {self.text}", lambda: re.search(pattern, self.text))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def finish(self) -> tuple[int, str]:
        """Exit code and standard output."""
        out, _ = self.process.communicate(timeout=DEADLINE_S)
        self._reader.join(DEADLINE_S)
        os.close(self._master)
        return self.process.returncode, out.decode()


def test_a_terminal_gets_a_table_that_lives_and_ctrl_c_drains(pystorm: Commands) -> None:
    config = ("--set", "bad=100", "--set", "topology.bolt.on.error=dead-letter")
    terminal = Terminal(pystorm, "run", "steps.yaml", *ENDLESS, *config)
    terminal.wait_for(r"component +tasks +emitted/s +processed/s +emitted +processed +acked +failed +pending")
    terminal.wait_for(r"steps  running .*  checkpoint \d+ \d+ ms ago, took \d+ ms")
    terminal.wait_for(r"sum +1 +[\d.]+ +[1-9]\d* +\d+ +[1-9]\d* ")
    terminal.type(b"\x03")
    code, out = terminal.finish()
    assert code == 0
    assert out == ""
    assert "\x1b[1A" in terminal.raw  # the table was drawn over itself
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h") == 1  # the cursor is back
    assert re.search(r"ERROR +sum-0: .*\[red\]100 is bad", terminal.text)
    last = terminal.text.rpartition("steps drained after")[2]
    assert re.search(r"component +tasks +emitted +processed +acked +failed +avg/s", last)
    assert re.search(r"\d+ checkpoints committed, 0 recoveries", last)
    assert re.search(r"logs: \.pystorm/steps/logs", last)


def test_a_file_with_mistakes_shows_no_table(pystorm: Commands) -> None:
    file = pystorm.folder / "steps.yaml"
    file.write_text(file.read_text().replace("SumBolt", "SumBold"))
    terminal = Terminal(pystorm, "run", "steps.yaml")
    code, _ = terminal.finish()
    assert code == 2
    assert re.match(r"steps\.yaml:\d+:\d+: .*SumBold.*\n1 problem\n$", terminal.raw.replace("\r", ""))


@pytest.mark.parametrize("args", [("--json",), ()])
def test_json_and_dumb_terminals_get_plain_lines(pystorm: Commands, args: tuple[str, ...]) -> None:
    terminal = Terminal(pystorm, "run", "steps.yaml", *args, term="xterm" if args else "dumb")
    code, _ = terminal.finish()
    assert code == 0
    assert "\x1b" not in terminal.raw
    assert "steps finished after" in terminal.raw


def test_a_terminal_that_is_closed_ends_the_run_in_good_order(pystorm: Commands) -> None:
    terminal = Terminal(pystorm, "run", "steps.yaml", *ENDLESS)
    terminal.wait_for("running")
    # What the kernel does when the window goes away; the terminal itself stays open for the reading thread.
    terminal.process.send_signal(signal.SIGHUP)
    code, _ = terminal.finish()
    assert code == 0


def test_the_run_lives_on_when_nobody_owns_the_terminal_any_more(pystorm: Commands) -> None:
    master, slave = pty.openpty()
    run = pystorm.start("run", "steps.yaml", *ENDLESS, "--duration", "1.5", stderr=slave, stdout=subprocess.PIPE)
    os.close(slave)
    pystorm.wait_for_file("seen", run)
    os.close(master)  # from now on every write to the terminal is an input/output error
    assert pystorm.finish(run).code == 0
