"""Runs a benchmark's topology through `bin/pystorm`, as a user would, and collects what it leaves behind.

A topology gets its input and the directory for its results through environment variables (`${ENV-...}` in its YAML
file), its guarantee and intervals through `--set`. It runs in a session of its own, so that an interrupt reaches it and
not the benchmark. Its output goes to files: a full pipe would stop it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from benchmarks.processes import Sampler

ROOT = Path(__file__).resolve().parent.parent
PYSTORM = ROOT / "bin" / "pystorm"
TOPOLOGIES = Path(__file__).resolve().parent / "topologies"
#: seconds that a run may take before it counts as hung
RUN_TIMEOUT_S = 600
#: seconds that a run may take to end after Ctrl-C
DRAIN_TIMEOUT_S = 30
_LAST_LINES = 30

T = TypeVar("T")


class BenchmarkError(RuntimeError):
    """A run failed or gave a wrong result: its figures mean nothing. The message says which run and why."""


def wait_until(condition: Callable[[], T | None], what: str, timeout_s: float = 30) -> T:
    """Poll until `condition` gives something true, and return that.

    Raises:
        BenchmarkError: it did not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    raise BenchmarkError(f"waited {timeout_s:g} s for {what}, in vain")


class PystormRun:
    """One `pystorm run`, from its start to its end; leaving the `with` block ends it, whatever happened.

    Args:
        topology: name of the YAML file in benchmarks/topologies, which is the topology's name with `_` for `-`.
        directory: an empty directory for data, results and output.
        config: what to `--set`.
        env: what the YAML file asks for beside PYSTORM_BENCH_RESULTS.
    """

    def __init__(self, topology: str, directory: Path, config: Mapping[str, str], env: Mapping[str, str]) -> None:
        self.topology = topology
        self.name = topology.replace("_", "-")
        self.data_dir, self.results = directory / "data", directory / "results"
        self.results.mkdir(parents=True)
        self._out, self._log = directory / "stdout", directory / "stderr"
        settings = [word for key, value in config.items() for word in ("--set", f"{key}={value}")]
        file = TOPOLOGIES / f"{topology}.yaml"
        self._command = [str(PYSTORM), "run", str(file), "--data-dir", str(self.data_dir), "--json", *settings]
        self._env = os.environ | env | {"PYSTORM_BENCH_RESULTS": str(self.results)}
        self.labels: dict[int, str] = {}

    def __enter__(self) -> PystormRun:
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self.started_ns = time.monotonic_ns()
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=self._env, start_new_session=True
            )
        self.sampler = Sampler(self._process.pid)
        self.sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sampler.stop()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def fail(self, why: str) -> BenchmarkError:
        """The error to raise: the reason and the end of what the run printed."""
        lines = self._log.read_text(errors="replace").splitlines() + self._out.read_text(errors="replace").splitlines()
        tail = "\n    ".join(lines[-_LAST_LINES:])
        return BenchmarkError(f"{self.name}: {why}; output in {self._log.parent}, its end:\n    {tail}")

    def is_running(self) -> bool:
        return self._process.poll() is None

    def await_running(self, condition: Callable[[], T | None], what: str, timeout_s: float = 30) -> T:
        """As `wait_until`, but stop waiting when the run ends."""

        def checked() -> T | None:
            found = condition()
            if not found and not self.is_running():
                raise self.fail(f"ended with exit code {self._process.returncode} while waiting for {what}")
            return found

        try:
            return wait_until(checked, what, timeout_s)
        except BenchmarkError as error:
            if self.is_running():
                raise self.fail(str(error)) from None
            raise

    def interrupt(self) -> None:
        """Ctrl-C: the run drains and ends."""
        self._process.send_signal(signal.SIGINT)

    def wait(self, timeout_s: float = RUN_TIMEOUT_S) -> dict[str, Any]:
        """Wait for the end; the summary object that the run printed, with `wall_s` from start to exit added.

        Raises:
            BenchmarkError: it hung, failed, or printed no summary.
        """
        deadline = time.monotonic() + timeout_s
        while self.is_running():
            if time.monotonic() > deadline:
                raise self.fail(f"did not end within {timeout_s:g} s")
            self._name_processes()
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        wall_s = (time.monotonic_ns() - self.started_ns) / 1e9
        if self._process.returncode:
            raise self.fail(f"ended with exit code {self._process.returncode}")
        lines = self._out.read_text().splitlines()
        if not lines:
            raise self.fail("printed no summary")
        summary: dict[str, Any] = json.loads(lines[-1])
        return summary | {"wall_s": wall_s}

    def workers(self) -> dict[str, Any] | None:
        """What the controller says of its workers; None before it said so for the first time."""
        try:
            found: dict[str, Any] = json.loads((self.data_dir / self.name / "workers.json").read_text())
        except FileNotFoundError:
            return None
        return found

    def redis_pid(self) -> int | None:
        """The embedded redis-server; None while there is none."""
        names = {pid: self.sampler.name(pid) for pid in self.sampler.figures()}
        return next((pid for pid, name in names.items() if name.startswith("redis-server")), None)

    def result(self, name: str) -> Any:
        """What a component wrote to `<results>/<name>.json`.

        Raises:
            BenchmarkError: it wrote nothing.
        """
        path = self.results / f"{name}.json"
        if not path.exists():
            raise self.fail(f"no component wrote {path.name}")
        return json.loads(path.read_text())

    def processes(self) -> dict[str, dict[str, float]]:
        """Peak memory and CPU time by what the process was: controller, redis-server, or a worker's tasks."""
        found: dict[str, dict[str, float]] = {}
        for pid, figures in sorted(self.sampler.figures().items()):
            label = self.labels.get(pid) or self.sampler.name(pid)
            entry = found.setdefault(label, {"peak_rss_mb": 0.0, "cpu_s": 0.0})
            entry["peak_rss_mb"] = max(entry["peak_rss_mb"], figures.peak_rss_mb)
            entry["cpu_s"] = round(entry["cpu_s"] + figures.cpu_s, 2)
        return found

    def dump_state(self, component: str, state: str) -> dict[str, Any]:
        """Committed entries of a state, by key, through `pystorm state dump`."""
        command = [
            str(PYSTORM),
            "state",
            "dump",
            self.name,
            component,
            state,
            "--data-dir",
            str(self.data_dir),
            "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
        if done.returncode:
            raise self.fail(f"`pystorm state dump` ended with exit code {done.returncode}: {done.stderr.strip()}")
        entries = [json.loads(line) for line in done.stdout.splitlines()]
        return {entry["key"]: entry["value"] for entry in entries}

    def _name_processes(self) -> None:
        workers = self.workers()
        if workers:
            self.labels[workers["controller"]] = "controller"
            for worker in workers["workers"]:
                self.labels[worker["pid"]] = " ".join(worker["tasks"])
