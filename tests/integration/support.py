"""Runs of pystorm as a user starts them: real processes through the command line, watched from outside.

Every process of a run inherits a marker in its environment and works in the test's own folder, so that whatever a test
does and however it ends, all of them can be found: `Lab.close` kills what is left and says so if something should have
been gone by itself.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pystorm.errors import StateUnavailable
from pystorm.state.embedded import EmbeddedRedis
from pystorm.state.reader import CommittedState, Entry
from pystorm.state.record import CheckpointRecord
from pystorm.state.redis_store import RedisStore

ROOT = Path(__file__).resolve().parents[2]
TEXT = ROOT / "topologies" / "data" / "opticks.txt"
TOPOLOGIES = ROOT / "tests" / "chaos" / "topologies"
GUARANTEES = ("at-most-once", "at-least-once", "exactly-once")

#: How long a condition may take that is usually true within a second or two, in seconds.
DEADLINE_S = 60.0
#: How long processes may outlive what they belong to, in seconds.
GONE_S = 5.0
_MARKER = "PYSTORM_TEST_RUN"


def wait_until(what: str, condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of `condition`; fails the test with `what` if there is none in time."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline_s:g} s still not: {what}")
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; returns False if the process was gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


class Run:
    """One `pystorm run` process and what it started."""

    def __init__(self, process: subprocess.Popen[bytes], data_dir: Path, topology: str, out: Path, err: Path) -> None:
        self.process = process
        self.folder = data_dir / topology
        self.topology = topology
        self._out, self._err = out, err

    @property
    def pid(self) -> int:
        """Of the controller."""
        return self.process.pid

    @property
    def errors(self) -> str:
        """What the run said to people so far."""
        return self._err.read_text(errors="replace")

    def wait(self, code: int | None = 0, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """Wait for the end; returns the summary. Fails on another exit code."""
        try:
            found = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {deadline_s:g} s; it said:\n{self._tail()}") from None
        if code is not None:
            assert found == code, f"exit code {found} instead of {code}; it said:\n{self._tail()}"
        lines = self._out.read_text().splitlines()
        summary: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return summary

    def _tail(self) -> str:
        lines = [line for line in self.errors.splitlines() if not line.startswith("RunStatus(")]
        return "\n".join(lines[-40:])

    # -- looking inside ----------------------------------------------------------------------------------------

    def workers_file(self) -> dict[str, Any]:
        """`workers.json`; empty before there is one, or if another controller wrote it."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "workers.json").read_text())
        except FileNotFoundError:
            return {}
        return found if found["controller"] == self.pid else {}

    def workers(self) -> dict[int, int]:
        """Pid by index of the workers that run."""
        return {w["index"]: w["pid"] for w in self.workers_file().get("workers", []) if is_alive(w["pid"])}

    def worker_of(self, task: str) -> int:
        """Pid of the worker that runs a task; waits for it."""

        def find() -> int:
            self.check_running()
            found = [w["pid"] for w in self.workers_file().get("workers", []) if task in w["tasks"]]
            return found[0] if found and is_alive(found[0]) else 0

        return int(wait_until(f"a worker runs {task}", find))

    def wait_for_workers(self, count: int, generation: int = 0) -> dict[int, int]:
        """Wait until `count` workers run, in `generation` or a later one."""

        def ready() -> dict[int, int]:
            self.check_running()
            workers = self.workers()
            is_there = len(workers) == count and self.workers_file().get("generation", 0) >= generation
            return workers if is_there else {}

        found: dict[int, int] = wait_until(f"{count} workers run", ready)
        return found

    def wait_for_generation(self, generation: int) -> list[int]:
        """Wait until `generation` shows, however little of it runs; returns the pids of its workers."""

        def shows() -> list[int]:
            self.check_running()
            content = self.workers_file()
            is_there = content.get("generation", 0) >= generation
            return [w["pid"] for w in content["workers"] if is_alive(w["pid"])] if is_there else []

        found: list[int] = wait_until(f"generation {generation} shows", shows)
        return found

    def check_running(self) -> None:
        """Fail now, with the run's last words, if it has ended."""
        code = self.process.poll()
        assert code is None, f"the run ended early with exit code {code}; it said:\n{self._tail()}"

    def zygote(self) -> int:
        """Pid of the process that workers are forked from."""
        worker = next(iter(self.workers().values()))
        return int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])

    def redis_pid(self) -> int:
        """Of the embedded server."""
        return int(self.workers_file()["redis"])

    def wait_for_other_redis(self, old: int) -> int:
        """Wait until an embedded server runs in the place of `old`."""

        def other() -> int:
            self.check_running()
            found = self.redis_pid()
            return found if found != old else 0

        return int(wait_until("another redis-server runs", other))

    def redis_socket(self) -> str:
        """Of the embedded server."""
        return str(Path(json.loads((self.folder / "lock").read_text())["runtime"]) / "redis.sock")

    def last_commit(self) -> CheckpointRecord | None:
        """The last committed checkpoint; None before the first, or while the server does not answer."""
        try:
            store = RedisStore(self.topology, {"unix_socket_path": self.redis_socket()}, socket_timeout_s=1.0)
        except (FileNotFoundError, KeyError, ValueError):
            return None
        try:
            return store.last_commit()
        except StateUnavailable:
            return None
        finally:
            store.close()

    def wait_for_commit(self, after: int = 0, position: int = -1) -> CheckpointRecord:
        """Wait for a checkpoint with an epoch above `after` whose spouts are past `position` in total."""

        def committed() -> CheckpointRecord | None:
            self.check_running()
            record = self.last_commit()
            is_later = record is not None and record.epoch > after and total_position(record) > position
            return record if is_later else None

        found: CheckpointRecord = wait_until(f"a checkpoint after {after}, position {position}", committed)
        return found

    def log(self, task: str) -> str:
        """The log of a task; empty before its first line."""
        path = self.folder / "logs" / f"{task}.log"
        return path.read_text() if path.exists() else ""


def total_position(record: CheckpointRecord | None) -> int:
    """The sum of all positions of a checkpoint, where positions are numbers."""
    if record is None:
        return 0
    return sum(int(position or 0) for by_name in record.positions.values() for position in by_name.values())


class Lab:
    """A folder for runs, and a net under them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self._mark = uuid.uuid4().hex
        self._runs: list[Run] = []
        self._short = Path(tempfile.mkdtemp(prefix="ps-"))

    # -- runs --------------------------------------------------------------------------------------------------

    def start(
        self, file: Path, *arguments: str, settings: Mapping[str, Any] | None = None, data_dir: Path | None = None
    ) -> Run:
        """Start `pystorm run FILE`."""
        topology = _name_of(file)
        number = len(self._runs)
        out, err = self.folder / f"run-{number}.out", self.folder / f"run-{number}.err"
        sets = [f"--set={key}={json.dumps(value)}" for key, value in (settings or {}).items()]
        used = data_dir or self.data_dir
        command = [sys.executable, "-m", "pystorm.cli.main", "run", str(file), "--json", f"--data-dir={used}"]
        path = os.pathsep.join(map(str, (ROOT, ROOT / "topologies", TOPOLOGIES)))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, *sets, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, _MARKER: self._mark, "PYTHONPATH": path},
                start_new_session=True,
            )
        run = Run(process, used, topology, out, err)
        self._runs.append(run)
        return run

    def run(self, file: Path, *arguments: str, code: int = 0, deadline_s: float = DEADLINE_S, **more: Any) -> Any:
        """Run a topology to its end; returns the summary."""
        return self.start(file, *arguments, **more).wait(code, deadline_s)

    def write(self, name: str, text: str) -> Path:
        """A file in the test's folder."""
        path = self.folder / name
        path.write_text(text)
        return path

    def topology(
        self,
        name: str,
        *stages: Sequence[Any],
        config: Mapping[str, Any] | None = None,
        streams: list[tuple[str, str, dict[str, Any]]] | None = None,
    ) -> Path:
        """A topology file.

        Args:
            stages: (id, class, arguments, parallelism); the first one is the spout, the last two may be left out.
            config: of the topology.
            streams: (from, to, grouping); by default each stage reads from the one before it, SHUFFLE.
        """
        components = []
        for component_id, class_name, *rest in stages:
            arguments, parallelism = [*rest, *[{}, 1][len(rest) :]]
            spec = {"className": class_name, "constructorArgs": arguments} if arguments else {"className": class_name}
            components.append({"id": component_id, **spec, "parallelism": parallelism})
        if streams is None:
            streams = [(a["id"], b["id"], {"type": "SHUFFLE"}) for a, b in itertools.pairwise(components)]
        content = {
            "name": name,
            "config": dict(config or {}),
            "spouts": components[:1],
            "bolts": components[1:],
            "streams": [{"from": a, "to": b, "grouping": grouping} for a, b, grouping in streams],
        }
        return self.write(f"{name}.yaml", json.dumps(content, indent=1))

    # -- results -----------------------------------------------------------------------------------------------

    def state(self, topology: str, component: str, state: str, data_dir: Path | None = None) -> list[Entry]:
        """Committed entries of a topology that does not run."""
        server = EmbeddedRedis((data_dir or self.data_dir) / topology, self._short)
        server.start()
        store = RedisStore(topology, server.config)
        try:
            return list(CommittedState(store).dump(component, state))
        finally:
            store.close()
            server.stop()

    def counts(self, topology: str, component: str = "count", state: str = "counts", **more: Any) -> dict[Any, Any]:
        """A state as a dict; each key must be there once."""
        return _as_dict(self.state(topology, component, state, **more))

    # -- processes ---------------------------------------------------------------------------------------------

    def processes(self) -> dict[int, str]:
        """Every live process that belongs to this lab, with its command line."""
        found = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid() and self._is_ours(entry) and is_alive(int(entry)):
                with contextlib.suppress(OSError):
                    found[int(entry)] = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def _is_ours(self, pid: str) -> bool:
        try:
            if self._mark.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                return True
            # redis-server overwrites its environment with its title, but works in the data directory
            return os.readlink(f"/proc/{pid}/cwd").startswith(str(self.folder))
        except OSError:
            return False

    def kill_everything(self) -> int:
        """`kill -9` of all processes at once; returns how many there were."""
        found = list(self.processes())
        for pid in found:
            kill(pid)
        for run in self._runs:
            run.process.wait(GONE_S)
        return len(found)

    def assert_nothing_runs(self) -> None:
        """Every process has to be gone, within GONE_S."""
        end = time.monotonic() + GONE_S
        while True:
            left = self.processes()
            if not left:
                return
            assert time.monotonic() < end, f"processes are left behind: {left}"
            time.sleep(0.02)

    def close(self) -> None:
        """End every run the hard way; nothing may be left then."""
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
        try:
            self.assert_nothing_runs()
        finally:
            for pid in self.processes():
                kill(pid)
            shutil.rmtree(self._short, ignore_errors=True)


class UserRedis:
    """A redis-server as a user runs it: on a Unix socket of its own, with an append-only file."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self._server = EmbeddedRedis(folder, runtime)
        self._server.start()

    @property
    def url(self) -> str:
        """For topology.state.provider.config."""
        return f"unix://{self._server.unix_socket_path}"

    @property
    def server(self) -> EmbeddedRedis:
        """To be killed and restarted."""
        return self._server

    def counts(self, topology: str, component: str, state: str) -> dict[Any, Any]:
        """A state as a dict; each key must be there once."""
        store = RedisStore(topology, self._server.config)
        try:
            return _as_dict(list(CommittedState(store).dump(component, state)))
        finally:
            store.close()

    def last_position(self, topology: str) -> int:
        """The sum of the positions of the last committed checkpoint; 0 before the first."""
        store = RedisStore(topology, self._server.config)
        try:
            return total_position(store.last_commit())
        finally:
            store.close()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server does not answer for a while."""
        pid = self._server.pid
        assert pid is not None
        kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            kill(pid, signal.SIGCONT)


def _as_dict(entries: list[Entry]) -> dict[Any, Any]:
    found = {entry.key: entry.value for entry in entries}
    assert len(found) == len(entries), "a key is held by more than one task"
    return found


def _name_of(file: Path) -> str:
    for line in file.read_text().splitlines():
        key, _, value = line.strip().partition(":")
        if key.strip('" ') == "name":
            return value.strip(' ",')
    raise AssertionError(f"{file} has no name")


def text_lines(count: int) -> str:
    """The first lines of the shipped text."""
    return "".join(TEXT.read_text().splitlines(keepends=True)[:count])


def plain_count(text: str) -> Counter[str]:
    """Word counts by plain Python, with the example's own idea of a word."""
    return Counter(_example_words()(text))


def _example_words() -> Callable[[str], list[str]]:
    sys.path.insert(0, str(ROOT / "topologies"))
    try:
        from wordcount import words
    finally:
        sys.path.pop(0)
    found: Callable[[str], list[str]] = words
    return found
