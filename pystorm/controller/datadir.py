"""A topology's data directory, the lock that one controller holds on it, and the runtime directory for sockets.

The lock is an flock on `<data-dir>/<topology>/lock`: the kernel gives it up when its holder dies, however that happens,
so a stale file is no obstacle. The file tells people, and the next controller, the holder's pid and runtime directory.

Sockets live in a runtime directory of mode 0700 with a short path, because a Unix socket path ends at about 107 bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pystorm.errors import AlreadyRunning, ConfigError

_RUNTIME_PREFIX = "pystorm-"
#: Longest runtime directory path that leaves room for socket names, in bytes.
_LONGEST_RUNTIME = 80


class DataDirectory:
    """`<data-dir>/<topology>`, locked."""

    def __init__(self, root: Path, topology: str) -> None:
        if not re.fullmatch(r"[^/\0]{1,200}", topology) or topology in (".", ".."):
            raise ConfigError(f"topology name {topology!r} cannot name a folder; use letters, digits, - and _")
        self.path = root / topology
        self.logs = self.path / "logs"
        self.runtime = Path()
        self._lock_file: Any = None

    def lock(self) -> None:
        """Take the lock and make the runtime directory.

        Raises:
            AlreadyRunning: a live controller holds it.
            ConfigError: the directory cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.logs.mkdir(exist_ok=True, mode=0o700)
            self._lock_file = open(self.path / "lock", "a+", encoding="utf-8")  # noqa: SIM115 (held while running)
        except OSError as error:
            raise ConfigError(
                f"cannot use the data directory {self.path}: {error.strerror}", hint="choose another with --data-dir"
            ) from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self._read_lock().get("pid", "unknown")
            self._lock_file.close()
            raise AlreadyRunning(
                f"topology {self.path.name!r} is already running in {self.path.parent} (pid {pid}); stop it, or use "
                "another --data-dir"
            ) from None
        self._remove_stale_runtime(self._read_lock().get("runtime"))
        self.runtime = make_runtime_directory()
        self._write_lock({"pid": os.getpid(), "runtime": str(self.runtime)})

    def unlock(self) -> None:
        """Remove the runtime directory and give the lock up."""
        shutil.rmtree(self.runtime, ignore_errors=True)
        if self._lock_file is not None:
            self._write_lock({})
            self._lock_file.close()
            self._lock_file = None

    def write_workers(self, content: dict[str, Any]) -> None:
        """Rewrite `workers.json`, which says what processes run, in one step."""
        target = self.path / "workers.json"
        temporary = target.with_suffix(".tmp")
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
        temporary.replace(target)

    def _read_lock(self) -> dict[str, Any]:
        self._lock_file.seek(0)
        try:
            content = json.loads(self._lock_file.read() or "{}")
        except ValueError:  # half-written by a controller that was killed
            return {}
        return content if isinstance(content, dict) else {}

    def _write_lock(self, content: dict[str, Any]) -> None:
        self._lock_file.seek(0)
        self._lock_file.truncate()
        self._lock_file.write(json.dumps(content))
        self._lock_file.flush()

    @staticmethod
    def _remove_stale_runtime(path: Any) -> None:
        """Remove what a killed controller left; only a folder of ours with our prefix."""
        if not isinstance(path, str) or not Path(path).name.startswith(_RUNTIME_PREFIX):
            return
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(path).st_uid == os.getuid() and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)


def make_runtime_directory() -> Path:
    """A private directory of mode 0700 with a path short enough for sockets; the caller removes it.

    Raises:
        ConfigError: there is no place for one.
    """
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if parent and os.path.isdir(parent) and os.access(parent, os.W_OK) and len(parent.encode()) < _LONGEST_RUNTIME:
            return Path(tempfile.mkdtemp(prefix=_RUNTIME_PREFIX, dir=parent))
    raise ConfigError("no writable directory with a short path for sockets", hint="set XDG_RUNTIME_DIR")
