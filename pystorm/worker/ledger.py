"""The ack ledger: which tuple trees of one spout task are open, and when each completes.

Theory of operation. Every delivered tuple of a tree has a random 64-bit edge id. The ledger keeps one number per tree,
the XOR of every edge id reported so far: once when the tuple is sent, once when it is acked. An id that was reported
twice cancels, so the number is 0 exactly when every tuple that was sent was also acked (up to a chance of 2**-64), in
whatever order the reports arrive. A tree is opened with its own root id as a guard; `seal` takes the guard out once the
ids of all tuples that the spout itself sent are in, so a fast ack of the first copy cannot complete a tree whose second
copy still waits in a buffer.

Invariants: a tree ends in exactly one of completed, failed, timed out, dropped; a root is never opened twice; reports
about ended trees change nothing. XOR is not idempotent, so links must deliver every report at most once.

Root ids are 64 bits: the spout's task id in the upper 16, a sequence number in the lower 48. Sequence numbers never
repeat within a process, and no edge id is 0.

Source: Storm's acker (nathanmarz/storm storm-core/src/clj/backtype/storm/daemon/acker.clj; apache/storm
docs/Acking-framework-implementation.md). Storm's acker is a task of its own with an init message; here the ledger is
beside the spout and opening is a local call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from pystorm.errors import InternalError
from pystorm.speed import RootCounter, apply_acks, close_trees, seal_trees, xor_open

#: Bits of a root id that hold the sequence number; the task id is above them.
SEQUENCE_BITS = 48
SEQUENCE_MASK = (1 << SEQUENCE_BITS) - 1


def spout_task_of(root: int) -> int:
    """The task id of the spout that opened a root."""
    return root >> SEQUENCE_BITS


class AckLedger:
    """Open tuple trees of one spout task. Plain data: no clock, no socket; times are arguments in seconds."""

    __slots__ = ("_marks", "_touched", "counter", "last_seen", "messages", "unsealed", "values")

    def __init__(self, task_id: int) -> None:
        #: the last root id in use
        self.counter = RootCounter(task_id << SEQUENCE_BITS)
        #: root -> XOR of the reported edge ids
        self.values: dict[int, int] = {}
        #: root -> whatever the spout wants back when the tree ends
        self.messages: dict[int, Any] = {}
        #: roots opened since the last `seal`
        self.unsealed: list[int] = []
        #: root -> task that last reported about it
        self.last_seen: dict[int, int] = {}
        #: (time, first root opened after it), oldest first: ages of all trees without a timestamp on each
        self._marks: deque[tuple[float, int]] = deque()
        #: root -> when a worker last said that the tree's tuple waits in its queue
        self._touched: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self.values)

    def open(self, message: Any) -> int:
        """Open a tree; returns its root id."""
        self.counter.root = root = self.counter.root + 1
        self.values[root] = root
        self.messages[root] = message
        self.unsealed.append(root)
        return root

    def add_edges(self, roots: list[Any], edges: bytes) -> None:
        """Note the (packed) edge ids of tuples that the spout sends. Roots that are not open are skipped."""
        xor_open(self.values, roots, edges)

    def seal(self) -> list[int]:
        """Take out the guards of the trees opened since the last call; returns those that are complete by now."""
        return seal_trees(self.values, self.unsealed)

    def apply(self, roots: list[int], xors: bytes, task_id: int) -> list[int]:
        """Merge (packed) acks that `task_id` reported; returns the roots that are complete. They stay until `close`."""
        return apply_acks(self.values, self.last_seen, roots, xors, task_id)

    def close(self, root: int) -> Any:
        """End a tree, for whatever reason; returns its message.

        Raises:
            InternalError: the tree is not open.
        """
        if root not in self.values:
            raise InternalError(f"tree {root:#x} is not open")
        del self.values[root]
        self.last_seen.pop(root, None)
        self._touched.pop(root, None)
        return self.messages.pop(root)

    def close_all(self, roots: list[int]) -> list[Any]:
        """End complete trees; returns their messages."""
        return close_trees(self.values, self.messages, self.last_seen, self._touched, roots)

    def touch(self, roots: Iterable[int], now_s: float) -> None:
        """A worker says that these trees have tuples waiting in its queues: they are slow, not stuck."""
        for root in roots:
            if root in self.values:
                self._touched[root] = now_s

    def expire(self, now_s: float, timeout_s: float) -> list[int]:
        """The trees that were opened, and last touched, at least `timeout_s` ago. Call it about ten times per timeout.

        A tree is reported between `timeout_s` and `timeout_s` plus the time between two calls after it was opened.
        """
        self._marks.append((now_s, self.counter.root + 1))
        limit = now_s - timeout_s
        cutoff = 0
        while self._marks and self._marks[0][0] <= limit:
            cutoff = self._marks.popleft()[1]
        if cutoff:
            # the mark stays, so that trees older than it are found again while they are being touched
            self._marks.appendleft((limit, cutoff))
        expired = []
        for root in self.values:  # insertion order is age
            if root >= cutoff:
                break
            if self._touched.get(root, limit) <= limit:
                expired.append(root)
        return expired

    def drop_all(self) -> list[tuple[int, Any]]:
        """End every tree (a rollback); returns (root, message) by age."""
        dropped = [(root, self.messages[root]) for root in self.values]
        for table in (self.values, self.messages, self.last_seen, self._touched, self.unsealed):
            table.clear()
        return dropped
