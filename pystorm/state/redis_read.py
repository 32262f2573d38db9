"""RedisReads: entries out of Redis, in calls that never block it for long.

Theory of operation
    A hash with few and small entries comes in one HGETALL, many hashes to a pipeline; any other is walked with HSCAN.

    A committed view is the entries of a scope, overlaid with its prepared list if the last commit names it. A commit
    or a move may land while a scope is read, so it is read again when the last commit, or the list that it names,
    changed meanwhile. Each scope is consistent by itself: two scopes may show neighbouring checkpoints. A scope that
    takes longer to read than checkpoints are apart is given as it is after MAX_READS tries: every value in it is then
    a committed one, but not all need be of the same checkpoint.

Source: HSCAN's guarantees are in Redis's documentation of SCAN.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pystorm.state.chunk import overlay, unpack_changes
from pystorm.state.keys import Keys, quote
from pystorm.state.redis_client import Command, RedisClient

#: entries up to which a hash is read in one call
WHOLE_ENTRIES = 5000
#: bytes up to which a hash is read in one call; 8 MB take Redis some 10 ms
WHOLE_BYTES = 8 << 20
#: entries that one HSCAN call looks at
SCAN_COUNT = 1000
#: bytes that one HSCAN call should not exceed by much
SCAN_BYTES = 4 << 20
#: hashes that one pipeline reads
PIPELINE_HASHES = 64
#: how often a scope is read that changes meanwhile
MAX_READS = 5
#: chunks of a prepared list that one call reads; a chunk has a megabyte at most, if its values are small
LIST_CHUNKS = 16


class RedisReads:
    """The reading half of a RedisStore."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def committed_id(self) -> str:
        """ "generation.epoch." of the last commit; "" if there is none."""
        generation, epoch = self._client.call("HMGET", self._keys.commit, "generation", "epoch")
        return "" if epoch is None else f"{generation.decode()}.{epoch.decode()}."

    def load(
        self, component: str, states: Sequence[str], scopes: Collection[str]
    ) -> Iterator[tuple[str, str, bytes, bytes]]:
        """See `CheckpointStore.load`."""
        wanted = [(state, scope) for state in states for scope in scopes]
        for at in range(0, len(wanted), PIPELINE_HASHES):
            batch = wanted[at : at + PIPELINE_HASHES]
            keys = [self._keys.entries(scope, component, state) for state, scope in batch]
            for (state, scope), entries in zip(batch, self._read_hashes(keys), strict=True):
                for field, value in entries:
                    yield state, scope, field, value

    def _read_hashes(self, keys: Sequence[str]) -> Iterator[Iterator[tuple[bytes, bytes]]]:
        sizes = self._sizes(keys)
        whole = [key for key in keys if self._is_small(*sizes[key]) and sizes[key][0]]
        replies = dict(zip(whole, self._client.pipeline([("HGETALL", key) for key in whole]), strict=True))
        for key in keys:
            if key in replies:
                flat = replies.pop(key)
                yield zip(flat[::2], flat[1::2], strict=True)
            elif sizes[key][0]:
                yield self._scan_hash(key, *sizes[key])
            else:
                yield iter(())

    def _sizes(self, keys: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Entries and approximate bytes of each hash."""
        commands: list[Command] = []
        for key in keys:
            commands += [("HLEN", key), ("MEMORY", "USAGE", key, "SAMPLES", "5")]
        replies = self._client.pipeline(commands)
        return {key: (replies[2 * at], replies[2 * at + 1] or 0) for at, key in enumerate(keys)}

    @staticmethod
    def _is_small(entries: int, size_bytes: int) -> bool:
        return entries <= WHOLE_ENTRIES and size_bytes <= WHOLE_BYTES

    def _scan_hash(self, key: str, entries: int, size_bytes: int) -> Iterator[tuple[bytes, bytes]]:
        count = max(1, min(SCAN_COUNT, SCAN_BYTES * entries // max(size_bytes, 1)))
        cursor = b"0"
        while True:
            cursor, flat = self._client.call("HSCAN", key, cursor, "COUNT", count)
            yield from zip(flat[::2], flat[1::2], strict=True)
            if cursor == b"0":
                return

    def scan(self, pattern: str) -> Iterator[list[bytes]]:
        """All keys that match, in small lists; a key may come twice."""
        cursor = b"0"
        while True:
            cursor, found = self._client.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            if found:
                yield found
            if cursor == b"0":
                return

    def committed_count(self, component: str, state: str, scope: str) -> int:
        """See `CheckpointStore.committed_count`."""
        committed, (list_id, _) = self.committed_id(), self._list_state(component, scope)
        if self._is_of(list_id, committed):
            return len(self.committed_scope(component, state, scope))
        count: int = self._client.call("HLEN", self._keys.entries(scope, component, state))
        return count

    def committed_scope(self, component: str, state: str, scope: str) -> dict[bytes, bytes]:
        """See `CheckpointStore.committed_scope`; consistency: see the module."""
        key = self._keys.entries(scope, component, state)
        for _ in range(MAX_READS):
            committed = self.committed_id()
            before = self._list_state(component, scope)
            # The list first: an entry that a move carries over between the two reads is then seen twice, not never.
            chunks = self._read_list(component, scope, before[1]) if self._is_of(before[0], committed) else []
            entries = {field: value for found in self._read_hashes([key]) for field, value in found}
            for chunk in chunks:
                overlay(entries, quote(state), unpack_changes(chunk))
            after = self._list_state(component, scope)
            moved = before != after and (self._is_of(before[0], committed) or self._is_of(after[0], committed))
            if not moved and self.committed_id() == committed:
                break
        return entries

    def committed_field(self, component: str, state: str, field: bytes, scopes: Sequence[str]) -> dict[str, bytes]:
        """See `CheckpointStore.committed_field`."""
        commands: list[Command] = []
        for scope in scopes:
            commands += [
                ("LINDEX", self._keys.prepared(scope, component), 0),
                ("HGET", self._keys.entries(scope, component, state), field),
            ]
        committed = self.committed_id()
        replies = self._client.pipeline(commands)
        found: dict[str, bytes] = {}
        for at, scope in enumerate(scopes):
            header, value = replies[2 * at], replies[2 * at + 1]
            if header is not None and self._is_of(header.decode(), committed):
                value = self.committed_scope(component, state, scope).get(field)
            if value is not None:
                found[scope] = value
        return found

    def _list_state(self, component: str, scope: str) -> tuple[str, int]:
        """Header and length of a prepared list; ("", 0) if there is none."""
        key = self._keys.prepared(scope, component)
        header, length = self._client.pipeline([("LINDEX", key, 0), ("LLEN", key)])
        return (header or b"").decode(), length

    def _read_list(self, component: str, scope: str, length: int) -> list[bytes]:
        key = self._keys.prepared(scope, component)
        chunks: list[bytes] = []
        for at in range(1, length, LIST_CHUNKS):
            chunks += self._client.call("LRANGE", key, at, min(at + LIST_CHUNKS, length) - 1)
        return chunks

    @staticmethod
    def _is_of(list_id: str, committed: str) -> bool:
        return bool(committed) and list_id.startswith(committed)
