"""The background half of a worker's checkpoints: writes what was frozen, moves what was committed.

Jobs run one after the other on one thread, so a checkpoint's move always comes before the next one's prepare. The
thread owns the worker's store. It reports through `results`, which the worker's loop empties whenever `wake` is called.

When the state backend does not answer, the job is tried again until it works or the worker ends: nothing frozen is
dropped, and processing goes on meanwhile.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pystorm.errors import StaleGeneration, StateUnavailable
from pystorm.state.frozen import Frozen
from pystorm.state.store import CheckpointStore

#: Pause between attempts while the state backend does not answer, in seconds.
RETRY_S = 0.2


@dataclass(frozen=True, slots=True)
class PrepareJob:
    """Write one task's share of a checkpoint."""

    epoch: int
    label: str
    component: str
    frozen: Frozen | None
    snapshot: bytes | None
    positions: dict[str, Any]
    #: how many tuples the snapshot holds because the bolt has not worked them off
    held: int = 0


@dataclass(frozen=True, slots=True)
class MoveJob:
    """Make the prepared data of a committed checkpoint the committed state."""

    epoch: int


class Checkpointer(threading.Thread):
    """One per worker and generation."""

    def __init__(self, store: CheckpointStore, generation: int, wake: Callable[[], None]) -> None:
        super().__init__(name=f"checkpointer-{generation}", daemon=True)
        self.results: deque[dict[str, Any]] = deque()
        self._store = store
        self._generation = generation
        self._wake = wake
        self._jobs: queue.SimpleQueue[PrepareJob | MoveJob | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        #: epoch -> component -> scopes with prepared data
        self._prepared: dict[int, dict[str, set[str]]] = {}
        self._is_unavailable = False

    def submit(self, job: PrepareJob | MoveJob) -> None:
        """Queue a job. Never blocks."""
        self._jobs.put(job)

    def close(self, *, wait: bool) -> None:
        """End the thread; with `wait` after the jobs that are queued, otherwise as soon as the current call returns."""
        if not wait:
            self._closing.set()
        self._jobs.put(None)
        if wait:
            self.join()

    def run(self) -> None:
        """The thread."""
        try:
            while not self._closing.is_set():
                job = self._jobs.get()
                if job is None:
                    return
                self._run_until_done(job)
        except StaleGeneration as error:
            self._report({"type": "stale", "reason": str(error)})
        except Exception as error:  # thread boundary: without its report the checkpoint would hang for ever
            self._report({"type": "failed", "reason": f"checkpoint: {type(error).__name__}: {error}"})
            if not isinstance(error, StateUnavailable):
                raise
        finally:
            self._store.close()

    def _run_until_done(self, job: PrepareJob | MoveJob) -> None:
        while True:
            try:
                if isinstance(job, MoveJob):
                    self._move(job)
                else:
                    self._prepare(job)
            except StateUnavailable as error:
                if not self._is_unavailable:
                    self._is_unavailable = True
                    self._report({"type": "unavailable", "reason": str(error)})
                if self._closing.wait(RETRY_S):
                    return
            else:
                if self._is_unavailable:
                    self._is_unavailable = False
                    self._report({"type": "available"})
                return

    def _prepare(self, job: PrepareJob) -> None:
        keys = size = 0
        if job.frozen is not None:
            chunks = list(job.frozen.chunks())
            scopes = {chunk.scope for chunk in chunks}
            self._prepared.setdefault(job.epoch, {}).setdefault(job.component, set()).update(scopes)
            result = self._store.prepare(self._generation, job.epoch, job.component, chunks)
            keys, size = result.keys, result.bytes
        if job.snapshot is not None:
            self._store.write_snapshot(self._generation, job.epoch, job.label, job.snapshot)
            size += len(job.snapshot)
        self._report(
            {
                "type": "prepared",
                "epoch": job.epoch,
                "task": job.label,
                "component": job.component,
                "keys": keys,
                "bytes": size,
                "positions": job.positions,
                "held": job.held,
            }
        )

    def _move(self, job: MoveJob) -> None:
        for component, scopes in self._prepared.get(job.epoch, {}).items():
            self._store.move(self._generation, job.epoch, component, scopes)
        self._prepared.pop(job.epoch, None)
        self._report({"type": "moved", "epoch": job.epoch})

    def _report(self, message: dict[str, Any]) -> None:
        self.results.append(message)
        self._wake()
