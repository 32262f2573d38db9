"""The controller's view of the state backend: start it, open generations, commit, tell people about outages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pystorm.controller.status import Observer
from pystorm.errors import StateUnavailable, TopologyFailed
from pystorm.state.embedded import EmbeddedRedis
from pystorm.state.record import CheckpointRecord
from pystorm.state.redis_store import RedisStore
from pystorm.topology.config import Settings
from pystorm.topology.plan import Plan


def scopes_of(plan: Plan, component: str, settings: Settings) -> list[str]:
    """All scopes that a component's state can be in: its key groups, or its tasks."""
    if plan.topology.is_keyed(component):
        return [str(group) for group in range(settings.max_parallelism)]
    return [f"t{task.index}" for task in plan.tasks_of[component]]


class StateBackend:
    """Redis, embedded or the user's."""

    def __init__(
        self, plan: Plan, settings: Settings, stateful: Collection[str], directory: Path, runtime: Path
    ) -> None:
        self._topology = plan.topology.name
        self._wait_replicas = settings.wait_replicas
        self._embedded: EmbeddedRedis | None = None
        self._is_unavailable = False
        self._components: Mapping[str, list[str]] = {c: scopes_of(plan, c, settings) for c in stateful}
        self.config: dict[str, Any] = dict(settings.state_provider_config)
        if not self.config:
            self._embedded = EmbeddedRedis(directory, runtime)
        self._store: RedisStore | None = None

    def start(self, observer: Observer, *, fresh: bool) -> None:
        """Start or reach the backend.

        Raises:
            ConfigError, DependencyMissing, StateUnavailable: it cannot be had; the message says what to do.
        """
        if self._embedded is not None:
            self._embedded.start()
            self.config = dict(self._embedded.config)
        self._store = RedisStore(self._topology, self.config, wait_replicas=self._wait_replicas)
        if fresh:
            self._store.forget()
        if self._embedded is None:
            warning = self._store.check_persistence()
            if warning:
                observer.event("WARNING", warning)

    @property
    def embedded_pid(self) -> int | None:
        """Process id of the embedded server."""
        return self._embedded.pid if self._embedded is not None else None

    @property
    def store(self) -> RedisStore:
        """The controller's own connection."""
        assert self._store is not None
        return self._store

    def open_generation(self) -> tuple[int, CheckpointRecord | None]:
        """Fence all older generations and bring the store to the last committed checkpoint.

        Raises:
            StateUnavailable: try again later.
        """
        scopes = {scope for scopes in self._components.values() for scope in scopes}
        generation = self.store.acquire(scopes)
        self.store.settle(generation, self._components)
        return generation, self.store.last_commit()

    def commit(self, generation: int, record: CheckpointRecord) -> None:
        """Write a commit record.

        Raises:
            StateUnavailable: try again later.
            StaleGeneration: a newer generation exists, or the backend lost its data.
        """
        self.store.commit(generation, record)
        self.store.drop_snapshots(generation, record.epoch)

    def is_taken_over(self, generation: int) -> bool:
        """Whether the backend knows a newer generation than ours."""
        try:
            return self.store.generation() > generation
        except StateUnavailable:
            return False  # the recovery that follows finds out

    def watch(self, observer: Observer) -> bool:
        """Restart an embedded server that died; returns whether one did.

        Raises:
            TopologyFailed: it cannot be started any more.
        """
        code = self._embedded.poll() if self._embedded is not None else None
        if self._embedded is None or code is None:
            return False
        observer.event(
            "WARNING", f"the embedded Redis ended (code {code}) and is started again; nothing committed is lost"
        )
        try:
            self._embedded.restart()
        except StateUnavailable as error:
            raise TopologyFailed(f"the embedded Redis does not start again: {error}") from error
        return True

    def say_unavailable(self, observer: Observer, reason: str, *, is_processing: bool = True) -> None:
        """Tell people once that the backend does not answer, and what that means."""
        if not self._is_unavailable:
            self._is_unavailable = True
            what = "processing goes on, checkpoints wait" if is_processing else "the recovery waits"
            observer.event("WARNING", f"{reason}; {what} until it answers again")

    def say_available(self, observer: Observer) -> None:
        """Tell people that it answers again."""
        if self._is_unavailable:
            self._is_unavailable = False
            observer.event("INFO", "the state backend answers again")

    def stop(self) -> None:
        """Close the connection and stop an embedded server."""
        if self._store is not None:
            self._store.close()
        if self._embedded is not None:
            self._embedded.stop()
