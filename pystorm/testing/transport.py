"""ZeroMQ's twin in memory: as much of its PUSH, PULL and DEALER sockets as a worker uses, without any socket.

A frame is handed over at once and in order. A PULL socket is a queue under its endpoint's name; a PUSH socket keeps the
queue it is connected to. Sending to a peer that is gone raises `zmq.Again`, and what a closed PULL socket still held is
lost. ZeroMQ closes in a thread of its own, so there the first frames after a close are lost without a word; here none
are.

`tests/unit/test_testing_transport.py` runs the same tests over both.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import zmq


class MemorySocket:
    """One end. Which kind of end it is shows in what is called on it: `bind` receives, `connect` sends."""

    def __init__(self, context: MemoryContext) -> None:
        self._context = context
        self._endpoint = ""
        self._inbound: deque[bytes] | None = None
        self._outbound: deque[bytes] | None = None

    def bind(self, endpoint: str) -> None:
        """Receive under this name; raises `zmq.ZMQError` when somebody does already."""
        if endpoint in self._context.queues:
            raise zmq.ZMQError(zmq.EADDRINUSE)
        self._endpoint = endpoint
        self._inbound = self._context.queues[endpoint] = deque()

    def connect(self, endpoint: str) -> None:
        """Send to whoever has bound this name before."""
        self._endpoint = endpoint
        self._outbound = self._context.queues.get(endpoint)

    def send(self, data: bytes, _flags: int = 0, _copy: bool = True) -> None:
        """Hand a frame over; raises `zmq.Again` when there is no receiver (any more)."""
        if self._outbound is None or self._context.queues.get(self._endpoint) is not self._outbound:
            raise zmq.Again
        self._outbound.append(bytes(data))

    def recv(self, _flags: int = 0) -> bytes:
        """The oldest frame; raises `zmq.Again` when there is none. Never blocks."""
        if not self._inbound:
            raise zmq.Again
        return self._inbound.popleft()

    def setsockopt(self, _option: int, _value: Any) -> None:
        """No option means anything here."""

    def getsockopt(self, option: int) -> int:
        """Only `zmq.EVENTS`: whether a frame waits."""
        if option != zmq.EVENTS:
            raise zmq.ZMQError(zmq.EINVAL)
        return int(zmq.POLLIN) if self._inbound else 0

    def close(self, linger: int | None = None) -> None:
        """Give up the name; what waits is dropped."""
        if self._inbound is not None and self._context.queues.get(self._endpoint) is self._inbound:
            del self._context.queues[self._endpoint]
        self._inbound = self._outbound = None


class MemoryContext:
    """Where sockets meet."""

    def __init__(self) -> None:
        self.queues: dict[str, deque[bytes]] = {}

    def socket(self, _kind: int) -> MemorySocket:
        """A new socket."""
        return MemorySocket(self)

    def term(self) -> None:
        """Nothing to give up."""

    def destroy(self, linger: int | None = None) -> None:
        """Drop all queues."""
        self.queues.clear()


class MemoryZmq:
    """Stands for the `zmq` module where it is asked for a context; all else is the real module's."""

    Context = MemoryContext

    def __getattr__(self, name: str) -> Any:
        return getattr(zmq, name)
