"""PreparedLists: writing prepared lists and moving them to the committed entries.

Theory of operation
    A list's header is "<generation>.<epoch>.<attempt>". The attempt rises with every `prepare` of a process (it is the
    monotonic clock), so that calls of an attempt that timed out and is being repeated, but which Redis executes after
    all, cannot mix into the list of the newer one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from pystorm.errors import InternalError
from pystorm.state import redis_fenced as fenced
from pystorm.state.chunk import Chunk, StateChanges
from pystorm.state.keys import Keys, quote, state_member
from pystorm.state.redis_client import Command
from pystorm.state.redis_fenced import FencedWriter
from pystorm.state.store import PrepareResult

#: entries after which one MOVE call stops; with chunks of at most 1000 entries it applies at most 2000
MOVE_ENTRIES = 1001
#: bytes of chunks after which one MOVE call stops
MOVE_BYTES = 1 << 20
#: bytes of chunks after which a pipeline is sent
PIPELINE_BYTES = 4 << 20


class PreparedLists:
    """The prepared lists of one topology. `committed_id` reads "generation.epoch." of the last commit, or ""."""

    def __init__(self, writer: FencedWriter, keys: Keys, committed_id: Callable[[], str]) -> None:
        self._writer = writer
        self._keys = keys
        self._committed_id = committed_id
        self._registered: set[str] = set()

    def forget_registered(self) -> None:
        """The store was emptied or acquired anew: write the names of states again."""
        self._registered.clear()

    def prepare(self, generation: int, epoch: int, component: str, chunks: Iterable[Chunk]) -> PrepareResult:
        """See `CheckpointStore.prepare`."""
        attempt = _Attempt(self, generation, epoch, component, self._committed_id())
        for chunk in chunks:
            if chunk.component != component:
                raise InternalError(f"prepare of {component!r} was given a chunk of {chunk.component!r}")
            attempt.add(chunk)
        attempt.send()
        return PrepareResult(attempt.total_bytes, attempt.total_entries)

    def move(
        self, generation: int, list_id: str, lists: Sequence[tuple[str, str]], *, discard_others: bool = False
    ) -> None:
        """Apply the (component, scope) lists whose header begins with `list_id`; leave or discard all others."""
        left = list(lists)
        while left:
            results = self._writer.run(
                generation, [self._move_call(generation, list_id, *each, discard_others) for each in left]
            )
            left = [each for each, chunks in zip(left, results, strict=True) if chunks > 0]

    def _move_call(
        self, generation: int, list_id: str, component: str, scope: str, discard_others: bool
    ) -> tuple[Command, str]:
        keys = self._keys
        command = fenced.move(
            keys.fence(scope),
            keys.prepared(scope, component),
            generation,
            list_id,
            keys.entries_of(scope, component),
            MOVE_ENTRIES,
            MOVE_BYTES,
            int(discard_others),
        )
        return command, f"scope {scope}"

    def register(self, generation: int, component: str, chunk: Chunk) -> None:
        """Note the names of states, for those who read without knowing the topology."""
        new = {state_member(component, state) for state, _, _ in chunk.changes} - self._registered
        if new:
            command = fenced.register(self._keys.generation, self._keys.states, generation, *sorted(new))
            self._writer.run(generation, [(command, fenced.TOPOLOGY)])
            self._registered |= new

    def write(self, generation: int, committed_id: str, component: str, calls: Sequence[tuple[str, Command]]) -> None:
        """Run PREPARE calls, given with their scopes; move first where a committed list is in the way."""
        results = self._run_scoped(generation, calls)
        blocked = {scope for (scope, _), result in zip(calls, results, strict=True) if result == 0}
        if blocked:
            self.move(generation, committed_id, [(component, scope) for scope in sorted(blocked)])
            self._run_scoped(generation, [call for call in calls if call[0] in blocked])

    def _run_scoped(self, generation: int, calls: Sequence[tuple[str, Command]]) -> list[int]:
        return self._writer.run(generation, [(command, f"scope {scope}") for scope, command in calls])

    def prepare_call(self, component: str, scope: str, *args: object) -> Command:
        """A PREPARE command."""
        return fenced.prepare(self._keys.fence(scope), self._keys.prepared(scope, component), *args)


class _Attempt:
    """One call of `prepare`: gathers chunks into pipelines."""

    def __init__(self, lists: PreparedLists, generation: int, epoch: int, component: str, committed_id: str) -> None:
        self._lists = lists
        self._generation = generation
        self._list_id = f"{generation}.{epoch}."
        self._component = component
        self._committed_id = committed_id
        # Of fixed width, because the script compares attempts as text.
        self._number = f"{time.monotonic_ns():020d}"
        self._started: set[str] = set()
        self._calls: list[tuple[str, Command]] = []
        self._pending_bytes = 0
        self.total_bytes = 0
        self.total_entries = 0

    def add(self, chunk: Chunk) -> None:
        self._lists.register(self._generation, self._component, chunk)
        # The script makes the names of hashes from the states' names, so they are stored as they stand in keys.
        quoted: list[StateChanges] = [(quote(state), sets, deletes) for state, sets, deletes in chunk.changes]
        packed = Chunk(chunk.scope, chunk.component, quoted).pack()
        is_first = chunk.scope not in self._started
        self._started.add(chunk.scope)
        command = self._lists.prepare_call(
            self._component,
            chunk.scope,
            self._generation,
            self._list_id,
            self._number,
            self._committed_id,
            int(is_first),
            packed,
        )
        self._calls.append((chunk.scope, command))
        self.total_entries += chunk.entries
        self.total_bytes += len(packed)
        self._pending_bytes += len(packed)
        if self._pending_bytes >= PIPELINE_BYTES:
            self.send()

    def send(self) -> None:
        if self._calls:
            self._lists.write(self._generation, self._committed_id, self._component, self._calls)
        self._calls = []
        self._pending_bytes = 0
