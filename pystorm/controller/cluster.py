"""The worker processes of a topology, as the controller sees them: spawn, kill, talk, hear of their ends."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from pystorm.controller.launcher import Exited, Launcher, Spawned, ZygoteDied
from pystorm.worker import control


@dataclass(slots=True)
class WorkerHandle:
    """One incarnation of a worker."""

    index: int
    identity: str
    pid: int = 0
    is_connected: bool = False
    #: why it ends, in its own words, and the task that was running
    last_words: str = ""
    detail: str = ""
    label: str = ""
    #: whether it has said its last: goodbye, or why it ends
    has_taken_leave: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """A worker process ended. What it said of the cause, if it could, is in `handle`; it may come after its end."""

    handle: WorkerHandle
    exit: Exited | None

    @property
    def description(self) -> str:
        """How it ended, for people."""
        return self.exit.describe() if self.exit else "ended with the process it was forked from"

    @property
    def is_news_due(self) -> bool:
        """Whether the process ended by itself, and its last message has not arrived yet."""
        has_exited = self.exit is not None and os.WIFEXITED(self.exit.status)
        return has_exited and self.handle.is_connected and not self.handle.has_taken_leave


class Cluster:
    """Not thread-safe; the controller's loop drives it."""

    def __init__(self, runtime: Path, logs: Path, workers: int, launcher: Launcher) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._router: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 0)
        self._router.setsockopt(zmq.SNDHWM, 0)
        self._router.setsockopt(zmq.RCVHWM, 0)
        self.endpoint = f"ipc://{runtime}/c"
        self._router.bind(self.endpoint)
        self._logs = logs
        self._count = workers
        self._launcher = launcher
        self._incarnations = 0
        self.workers: dict[int, WorkerHandle] = {}
        self._by_identity: dict[str, WorkerHandle] = {}

    def start(self) -> None:
        """Start what workers are forked from; returns at once."""
        self._launcher.start()

    @property
    def pollables(self) -> list[tuple[Any, int]]:
        """What to poll for news."""
        return [(self._router, zmq.POLLIN), (self._launcher.fileno(), zmq.POLLIN)]

    def spawn_missing(self) -> None:
        """Ask for a process for every worker that has none."""
        for index in range(self._count):
            if index in self.workers:
                continue
            self._incarnations += 1
            identity = f"w{index}-{self._incarnations}"
            handle = WorkerHandle(index, identity)
            self.workers[index] = self._by_identity[identity] = handle
            self._launcher.spawn(index, identity, self.endpoint, str(self._logs / f"worker-{index}.out"))

    def send(self, index: int, message: dict[str, Any]) -> None:
        """Send to a worker; what is sent to a dead one is lost."""
        handle = self.workers.get(index)
        if handle is not None and handle.is_connected:
            self._router.send_multipart([handle.identity.encode(), control.encode(message)])

    def broadcast(self, message: dict[str, Any], to: Iterable[int] | None = None) -> None:
        """Send to all workers, or to some."""
        for index in self.workers if to is None else to:
            self.send(index, message)

    def receive(self) -> list[tuple[WorkerHandle, dict[str, Any]]]:
        """Messages that have arrived, with their senders. Never blocks."""
        found: list[tuple[WorkerHandle, dict[str, Any]]] = []
        while True:
            try:
                identity, data = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return found
            handle = self._by_identity.get(identity.decode())
            if handle is None:
                continue
            message = control.decode(data)
            if message["type"] == "hello":
                handle.is_connected = True
                handle.pid = message["pid"]
            elif message["type"] == "crash":
                handle.last_words, handle.detail = message["reason"], message["detail"]
                handle.label = message["label"]
                handle.has_taken_leave = True
            elif message["type"] == "stopped":
                handle.has_taken_leave = True
            found.append((handle, message))

    def deaths(self) -> list[Death]:
        """Workers that ended since the last call."""
        found = []
        for event in self._launcher.events():
            if isinstance(event, Spawned):
                self.workers[event.worker].pid = event.pid
            elif isinstance(event, Exited):
                found += self._bury([h for h in self.workers.values() if h.pid == event.pid], event)
            elif isinstance(event, ZygoteDied):
                found += self._bury(list(self.workers.values()), None)
                self._launcher.close()
                self._launcher.start()
        return found

    def _bury(self, handles: list[WorkerHandle], exit_: Exited | None) -> list[Death]:
        for handle in handles:
            del self.workers[handle.index]
        return [Death(handle, exit_) for handle in handles]

    def wait_for_message(self, timeout_ms: int) -> None:
        """Block until a worker's message is there, or the time is over."""
        self._router.poll(timeout_ms)

    def kill(self, index: int) -> None:
        """Kill a worker with SIGKILL; its death is reported by `deaths`."""
        handle = self.workers.get(index)
        if handle is not None and handle.pid:
            self._launcher.kill(handle.pid)

    def close(self) -> None:
        """End every process and socket."""
        self._launcher.close()
        self._router.close(linger=0)
        self._context.destroy(linger=0)
