"""Bolts that work on groups of tuples instead of single ones.

Theory of operation. `process` puts each tuple into the group that `group_key` names. After some ticks, or some seconds,
or when the framework asks for it (a checkpoint's barrier has come, or the input has run dry), every group goes to
`process_batch`. Until then its tuples are held unacked, so their trees stay open.

Invariants: a tuple is in one group, and in one call of `process_batch`; a checkpoint's barrier finds no group waiting.

Source: pystorm 3.x (pystorm/bolt.py: BatchingBolt, TicklessBatchingBolt). Its batches wait one tick longer than they
say; these do not, and batches by time need no thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pystorm.components.bolt import Bolt
from pystorm.components.tuples import Tuple


class BatchingBolt(Bolt):
    """Collects tuples in groups and works on a whole group at once.

    With the three switches on, as they are by default, what `process_batch` emits is anchored to every tuple of its
    group, all of them are acked when it returns, and all of them fail when it raises; other groups are not touched.

    State that `process_batch` writes in a bolt whose inputs are all FIELDS-grouped belongs to the keys of the group's
    tuples. If a group mixes several keys, as the single group of the default `group_key` does, a state's key must be
    the grouping key of one of its tuples (the field's value, or a tuple of the fields' values); otherwise the batch
    fails and says so.

    >>> class WriteBolt(BatchingBolt):
    ...     secs_between_batches = 0.5
    ...     def group_key(self, tup):
    ...         return tup.values.table
    ...     def process_batch(self, key, tups):
    ...         self.logger.info("%d rows for %s", len(tups), key)
    """

    #: Ticks from one batch to the next. Without `topology.tick.tuple.freq.secs` a tick comes every second.
    ticks_between_batches: int = 1
    #: The longest that a tuple waits for its batch, in seconds; with it, ticks start no batches.
    secs_between_batches: float | None = None

    #: group key -> its tuples, in the order in which they came
    _batches: dict[Any, list[Tuple]]
    #: the group that is being processed
    _current_tups: list[Tuple]
    _tick_count: int
    #: attached by the worker: calls `process_batch`, then settles the group
    _run_group: Callable[[Any, list[Tuple]], None] | None = None

    def __new__(cls, *_: Any, **__: Any) -> BatchingBolt:
        """As object's; here, not in `__init__`, so that a subclass need not call it."""
        bolt = super().__new__(cls)
        bolt._batches = {}
        bolt._current_tups = []
        bolt._tick_count = 0
        return bolt

    def group_key(self, tup: Tuple) -> Any:
        """The group that a tuple belongs to: any hashable value. By default all tuples are one group, None."""
        return None

    def process_batch(self, key: Any, tups: list[Tuple]) -> None:
        """Work on all the tuples of one group, in the order in which they came."""
        raise NotImplementedError(f"{type(self).__qualname__} must define process_batch(key, tups)")

    def process(self, tup: Tuple) -> None:
        """Put a tuple into its group."""
        self._batches.setdefault(self.group_key(tup), []).append(tup)

    def process_tick(self, tup: Tuple) -> None:
        """Start the batches if it is their tick. A subclass that overrides it calls super()."""
        if self.secs_between_batches is not None:
            return
        self._tick_count += 1
        if self._tick_count >= self.ticks_between_batches:
            self.process_batches()

    def process_batches(self) -> None:
        """Work on every group now, for example when `process` has seen enough tuples.

        An exception of `process_batch` fails the group's tuples and is not raised here.
        """
        self._tick_count = 0
        batches, self._batches = self._batches, {}
        run = self._run_group or self.process_batch
        for key, tups in batches.items():
            run(key, tups)


class TicklessBatchingBolt(BatchingBolt):
    """A `BatchingBolt` that goes by time alone."""

    secs_between_batches = 2
