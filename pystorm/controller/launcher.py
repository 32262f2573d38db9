"""The controller's end of the zygote: starts workers, kills them, hears of their ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from pystorm.errors import InternalError


@dataclass(frozen=True, slots=True)
class Spawned:
    """A worker process exists."""

    pid: int
    worker: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker process ended; `status` is that of waitpid(2)."""

    pid: int
    status: int

    def describe(self) -> str:
        """How it ended, for people.

        >>> Exited(1, 9).describe()
        'was killed by SIGKILL'
        """
        code = os.waitstatus_to_exitcode(self.status)
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with code {code}"


@dataclass(frozen=True, slots=True)
class ZygoteDied:
    """The zygote itself ended, and with it every worker."""


LaunchEvent = Spawned | Exited | ZygoteDied


class Launcher:
    """Owns the zygote process. `start` returns at once; the zygote gets ready on its own time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._buffer = b""
        self._has_workers = False

    def start(self) -> None:
        """Start the zygote; nothing happens if it was started."""
        if self._process is not None:
            return
        ours, theirs = socket.socketpair()
        theirs.set_inheritable(True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pystorm.worker.zygote", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C on the terminal reaches the controller only
        )
        theirs.close()
        ours.setblocking(False)
        self._channel = ours
        self._buffer = b""

    def fileno(self) -> int:
        """The descriptor to poll for events."""
        assert self._channel is not None
        return self._channel.fileno()

    def spawn(self, worker: int, identity: str, endpoint: str, out: str) -> None:
        """Ask for a worker process; `Spawned` follows."""
        self._has_workers = True
        self._send({"spawn": worker, "identity": identity, "endpoint": endpoint, "out": out})

    def kill(self, pid: int) -> None:
        """Kill a worker with SIGKILL; `Exited` follows."""
        self._send({"kill": pid})

    def _send(self, request: dict[str, Any]) -> None:
        assert self._channel is not None
        try:
            self._channel.sendall(json.dumps(request).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # `events` reports the death

    def events(self) -> list[LaunchEvent]:
        """What happened since the last call. Never blocks."""
        assert self._channel is not None
        found: list[LaunchEvent] = []
        while True:
            try:
                data = self._channel.recv(65536)
            except BlockingIOError:
                return found
            except ConnectionResetError:
                data = b""
            if not data:
                found.append(ZygoteDied())
                return found
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                event = _parse(json.loads(line))
                if event is not None:
                    found.append(event)

    def close(self) -> None:
        """End the zygote, and with it every worker that is left."""
        if self._process is not None and not self._has_workers:
            # it need not finish its imports first; and dead before the socket closes it has nothing to complain about
            self._process.kill()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def _parse(message: dict[str, Any]) -> LaunchEvent | None:
    if "spawned" in message:
        return Spawned(message["spawned"], message["worker"])
    if "exited" in message:
        return Exited(message["exited"], message["status"])
    if "ready" in message:
        return None
    raise InternalError(f"the zygote said {message!r}")
