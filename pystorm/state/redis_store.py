"""RedisStore: checkpoints in Redis, each write one fenced script.

Theory of operation: see `store`. Which keys hold what: see `keys`. What is atomic: see `scripts`. Many scopes' calls
travel in one pipeline; a script handles about 2000 entries or a megabyte, so none blocks Redis for more than a few
milliseconds (benchmarks/state.py measures it). Works with Redis 6.2 and later.

What does not work
    One single value of tens of megabytes is one Redis string and takes as long as it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pystorm.errors import ConfigError, InternalError
from pystorm.state import redis_fenced as fenced
from pystorm.state.chunk import Chunk
from pystorm.state.keys import ALL_TOPOLOGIES, Keys, parse_state_member, topology_of
from pystorm.state.record import CheckpointRecord, unpack_record
from pystorm.state.redis_client import DEFAULT_TIMEOUT_S, RedisClient
from pystorm.state.redis_fenced import TOPOLOGY, EpochRefusedError, FencedWriter
from pystorm.state.redis_lists import PreparedLists
from pystorm.state.redis_read import RedisReads
from pystorm.state.store import HISTORY_LENGTH, Catalog, PrepareResult, epoch_refused, mixed_generations

#: bytes of one piece of a snapshot
SNAPSHOT_PIECE_BYTES = 1 << 20


class RedisStore:
    """A CheckpointStore in Redis; its methods are documented there.

    Args:
        topology: its name; every key carries it.
        config: {"url": "redis://..."} or {"unix_socket_path": "..."}.
        wait_replicas: how many replicas must have a commit, and a new generation, before it counts; 0: none.
        socket_timeout_s: how long a call waits for Redis.
    Raises:
        ConfigError: the configuration is wrong; from any method: Redis refuses the login.
    """

    def __init__(
        self,
        topology: str,
        config: Mapping[str, Any],
        *,
        wait_replicas: int = 0,
        socket_timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._topology = topology
        self._keys = Keys(topology)
        self._client = RedisClient(config, fenced.ALL, socket_timeout_s=socket_timeout_s)
        # WAIT must answer before the socket gives up on it.
        wait_ms = max(1, int(socket_timeout_s * 1000 * 0.8))
        self._writer = FencedWriter(topology, self._client, wait_replicas=wait_replicas, wait_ms=wait_ms)
        self._reads = RedisReads(self._client, self._keys)
        self._lists = PreparedLists(self._writer, self._keys, self._reads.committed_id)

    @property
    def address(self) -> str:
        """Where Redis is, without the password."""
        return self._client.address

    def ping(self) -> None:
        """Return if Redis answers and lets us in."""
        self._client.call("PING")

    def acquire(self, scopes: Collection[str]) -> int:
        generation = self._raise_generation()
        self._lists.forget_registered()
        if scopes:
            command = fenced.register(self._keys.generation, self._keys.scopes, generation, *sorted(scopes))
            self._writer.run(generation, [(command, TOPOLOGY)])
        known = sorted(scope.decode() for scope in self._client.call("SMEMBERS", self._keys.scopes))
        marks = [(fenced.fence(self._keys.fence(scope), generation), f"scope {scope}") for scope in known]
        self._writer.run(generation, marks)
        return generation

    def settle(self, generation: int, components: Mapping[str, Collection[str]]) -> None:
        catalog = self.catalog()
        known = {component for component, _ in catalog.states} | set(components)
        scopes = {*catalog.scopes, *(scope for scopes in components.values() for scope in scopes)}
        lists = [(component, scope) for component in sorted(known) for scope in sorted(scopes)]
        self._lists.move(generation, self._reads.committed_id(), lists, discard_others=True)
        record = self.last_commit()
        self._drop_snapshots(generation, lambda epoch: record is None or epoch != record.epoch)

    def commit(self, generation: int, record: CheckpointRecord) -> None:
        if record.generation != generation:
            raise mixed_generations(self._topology, generation, record)
        keys = (self._keys.generation, self._keys.commit, self._keys.history)
        try:
            command = fenced.commit(*keys, generation, record.epoch, record.pack(), HISTORY_LENGTH)
            self._writer.durably(generation, command)
        except EpochRefusedError as refused:
            raise epoch_refused(self._topology, record, str(refused)) from refused

    def last_commit(self) -> CheckpointRecord | None:
        data = self._client.call("HGET", self._keys.commit, "record")
        return unpack_record(data) if data else None

    def history(self, limit: int = HISTORY_LENGTH) -> list[CheckpointRecord]:
        if limit <= 0:
            return []
        return [unpack_record(data) for data in self._client.call("LRANGE", self._keys.history, 0, limit - 1)]

    def forget(self) -> None:
        # The number goes up first: from here on running processes of this topology can write nothing more.
        self._raise_generation()
        self._lists.forget_registered()
        keep = self._keys.generation.encode()
        for found in self._reads.scan(self._keys.everything):
            doomed = [key for key in found if key != keep]
            if doomed:
                self._client.call("UNLINK", *doomed)

    def drop_snapshots(self, generation: int, before_epoch: int) -> None:
        self._drop_snapshots(generation, lambda epoch: epoch < before_epoch)

    def prepare(self, generation: int, epoch: int, component: str, chunks: Iterable[Chunk]) -> PrepareResult:
        return self._lists.prepare(generation, epoch, component, chunks)

    def move(self, generation: int, epoch: int, component: str, scopes: Collection[str]) -> None:
        self._lists.move(generation, f"{generation}.{epoch}.", [(component, scope) for scope in scopes])

    def write_snapshot(self, generation: int, epoch: int, task: str, data: bytes) -> None:
        keys = (self._keys.generation, self._keys.snapshot(epoch), self._keys.snapshots)
        pieces = [data[at : at + SNAPSHOT_PIECE_BYTES] for at in range(0, len(data), SNAPSHOT_PIECE_BYTES)]
        fields: list[tuple[str, Any]] = [(f"{task}:{index}", piece) for index, piece in enumerate(pieces)]
        # The count comes last: without it there is no snapshot.
        for field, value in [*fields, (str(task), len(pieces))]:
            self._writer.run(generation, [(fenced.snapshot(*keys, generation, epoch, field, value), TOPOLOGY)])

    def read_snapshot(self, epoch: int, task: str) -> bytes | None:
        key = self._keys.snapshot(epoch)
        count = self._client.call("HGET", key, str(task))
        if count is None:
            return None
        return b"".join([self._client.call("HGET", key, f"{task}:{index}") for index in range(int(count))])

    def load(
        self, component: str, states: Sequence[str], scopes: Collection[str]
    ) -> Iterator[tuple[str, str, bytes, bytes]]:
        return self._reads.load(component, states, scopes)

    def topologies(self) -> list[str]:
        return sorted({topology_of(key.decode()) for found in self._reads.scan(ALL_TOPOLOGIES) for key in found})

    def catalog(self) -> Catalog:
        states, scopes = self._client.pipeline([("SMEMBERS", self._keys.states), ("SMEMBERS", self._keys.scopes)])
        return Catalog(sorted(map(parse_state_member, states)), sorted(scope.decode() for scope in scopes))

    def committed_count(self, component: str, state: str, scope: str) -> int:
        return self._reads.committed_count(component, state, scope)

    def committed_scope(self, component: str, state: str, scope: str) -> dict[bytes, bytes]:
        return self._reads.committed_scope(component, state, scope)

    def committed_field(self, component: str, state: str, field: bytes, scopes: Sequence[str]) -> dict[str, bytes]:
        return self._reads.committed_field(component, state, field, scopes)

    def check_persistence(self) -> str | None:
        """A warning if this Redis keeps nothing on disk; None if it does, or does not say."""
        self.ping()  # a refused login is an error here as anywhere
        try:
            info, save = self._client.pipeline([("INFO", "persistence"), ("CONFIG", "GET", "save")])
        except (ConfigError, InternalError):
            return None  # a managed Redis may forbid or lack both commands; its operator knows about persistence
        if b"aof_enabled:1" in info or (len(save) == 2 and save[1]):
            return None
        return (
            f"Redis at {self.address} has neither AOF nor RDB on: a restart of it loses all checkpoints;"
            " set `appendonly yes` in its configuration"
        )

    def close(self) -> None:
        self._client.close()

    def generation(self) -> int:
        """The newest generation; 0 if there is none."""
        return int(self._client.call("GET", self._keys.generation) or 0)

    def _raise_generation(self) -> int:
        while True:
            last = self.generation()
            # Compare and set instead of INCR: a delayed copy of an earlier call then raises nothing.
            if self._writer.durably(last, fenced.acquire(self._keys.generation, last, last + 1)):
                return last + 1

    def _drop_snapshots(self, generation: int, is_old: Callable[[int], bool]) -> None:
        epochs = [int(epoch) for epoch in self._client.call("SMEMBERS", self._keys.snapshots)]
        keys = self._keys
        calls = [
            fenced.drop_snapshot(keys.generation, keys.snapshot(epoch), keys.snapshots, generation, epoch)
            for epoch in sorted(epochs)
            if is_old(epoch)
        ]
        self._writer.run(generation, [(call, TOPOLOGY) for call in calls])
