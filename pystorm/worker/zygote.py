"""The zygote: a process that has imported everything a worker needs, and forks workers on demand.

A fresh interpreter needs a few hundred milliseconds for its imports; a fork of one that has them needs about ten. That
is what makes recovery after a killed worker fast. The zygote makes no ZeroMQ context and no thread, because neither
survives a fork, and it imports no user code.

Protocol: JSON lines over a socket that the controller hands down. In: `{"spawn": worker, "identity": …, "endpoint": …,
"out": path}`, `{"kill": pid}`. Out: `{"ready": true}`, `{"spawned": pid, "worker": …}`, `{"exited": pid, "status": …}`
with the status of waitpid(2). When the socket closes the zygote ends, and its workers with it.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import os
import select
import signal
import socket
import sys
from typing import Any

from pystorm.state.redis_store import RedisStore
from pystorm.worker.parent import die_with_parent
from pystorm.worker.process import Worker


class Zygote:
    """Forks workers and reports their ends."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: set[int] = set()
        self._buffer = b""

    def serve(self) -> None:
        """Run until the controller closes the socket."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # what is shared with the workers stays shared: the collector does not touch it
        self._send({"ready": True})
        while True:
            sources: list[Any] = [self._channel, wake_read]
            readable, _, _ = select.select(sources, [], [])
            if wake_read in readable:
                os.read(wake_read, 4096)
                self._reap()
            if self._channel in readable:
                data = self._channel.recv(65536)
                if not data:
                    return
                *lines, self._buffer = (self._buffer + data).split(b"\n")
                for line in lines:
                    self._handle(json.loads(line))

    def _handle(self, request: dict[str, Any]) -> None:
        if "spawn" in request:
            self._spawn(request)
        elif request.get("kill") in self._children:  # a child that was reaped is not killed: its pid may be reused
            os.kill(request["kill"], signal.SIGKILL)

    def _spawn(self, request: dict[str, Any]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                self._channel.close()
                code = run_worker(request, parent)
            finally:
                # the interpreter's own exit would run handlers that belong to the zygote
                os._exit(code)
        self._children.add(pid)
        self._send({"spawned": pid, "worker": request["spawn"]})

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._children.discard(pid)
            self._send({"exited": pid, "status": status})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            sys.exit()  # the controller has closed its end, and `serve` would end too


def run_worker(request: dict[str, Any], parent: int) -> int:
    """The life of a forked worker; returns its exit code."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's business: it drains
    die_with_parent(parent)
    gc.set_threshold(10_000, 20, 20)  # batches make many short-lived tuples
    # what is written past Python's sys.stdout (C libraries, subprocesses, crashes) goes to the worker's own file
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    faulthandler.enable(2)
    worker = Worker(
        request["spawn"],
        request["endpoint"],
        request["identity"],
        parent,
        lambda topology, config: RedisStore(topology, config),
    )
    try:
        return worker.run()
    finally:
        logging.shutdown()


def main(argv: list[str]) -> None:
    """Entry point: `python -m pystorm.worker.zygote FD CONTROLLER_PID`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(int(argv[2]))
    Zygote(socket.socket(fileno=int(argv[1]))).serve()


if __name__ == "__main__":
    main(sys.argv)
