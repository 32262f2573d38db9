"""Groupings: which of the reading bolt's tasks a tuple goes to.

A pick is a function from a tuple's values to the buffers that take it. It is built once per (task, stream, edge).

Source: Storm's groupings (apache/storm storm-client/src/jvm/org/apache/storm/grouping/), Flink's key groups.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from pystorm.errors import ComponentError
from pystorm.speed import Turn
from pystorm.topology.config import Settings
from pystorm.topology.keygroups import key_group, task_index_of
from pystorm.topology.model import Edge, GroupingType
from pystorm.topology.plan import Plan, StreamInfo, Task
from pystorm.worker.channels import OutBuffer
from pystorm.worker.credits import SLOW_STEPS

Pick = Callable[[Sequence[Any]], Sequence[OutBuffer]]

#: Distinct keys whose target a fields grouping remembers; past that the memory starts afresh.
FIELDS_CACHE_ENTRIES = 200_000


def group_of(key: list[Any], max_parallelism: int, where: str) -> int:
    """The key group of the grouping fields' values.

    Raises:
        ComponentError: they cannot be packed; `where` says which fields of what.
    """
    try:
        return key_group(key, max_parallelism)
    except (TypeError, ValueError, OverflowError) as error:
        raise ComponentError(f"{where}: no tuple can be grouped by the value {key!r:.200}: {error}") from error


class FieldsPick:
    """FIELDS: equal values of the fields go to the same task.

    Remembers the buffer of keys it has seen. Only exact strings are looked up by their value, because 1, 1.0 and True
    are one dictionary key but three keys of the grouping.
    """

    __slots__ = ("_columns", "_groups", "_targets", "_where", "cache", "column")

    def __init__(self, columns: Sequence[int], targets: Sequence[OutBuffer], max_parallelism: int, where: str) -> None:
        self._columns = tuple(columns)
        self._where = where
        self._groups = max_parallelism
        self._targets = targets
        #: position of the only field, or None if there are several
        self.column = columns[0] if len(columns) == 1 else None
        self.cache: dict[Any, OutBuffer] = {}

    def find(self, values: Sequence[Any]) -> OutBuffer:
        """The buffer for a tuple that the cache does not know.

        Raises:
            ComponentError: the key cannot be packed.
        """
        key = [values[column] for column in self._columns]
        group = group_of(key, self._groups, self._where)
        buffer = self._targets[task_index_of(group, len(self._targets), self._groups)]
        if self.column is not None and type(key[0]) is str:
            if len(self.cache) >= FIELDS_CACHE_ENTRIES:
                self.cache.clear()
            self.cache[key[0]] = buffer
        return buffer

    def __call__(self, values: Sequence[Any]) -> Sequence[OutBuffer]:
        if self.column is not None:
            try:
                return (self.cache[values[self.column]],)
            except (KeyError, TypeError):  # TypeError: an unhashable value, such as a list
                pass
        return (self.find(values),)


class ShufflePick:
    """SHUFFLE: in turns from a random start; even to within one tuple, and many emitters do not march in step."""

    __slots__ = ("ring", "targets", "turn")

    def __init__(self, targets: Sequence[OutBuffer]) -> None:
        start = random.randrange(len(targets))
        self.targets = [*targets[start:], *targets[:start]]
        #: the buffers that take turns; `LoadAwarePick` changes its content
        self.ring = list(self.targets)
        #: shared with the emit function that bypasses `__call__`
        self.turn = Turn()

    def __call__(self, values: Sequence[Any]) -> Sequence[OutBuffer]:
        ring, turn = self.ring, self.turn
        at = turn.at if turn.at < len(ring) else 0
        turn.at = at + 1
        return (ring[at],)


class LoadAwarePick(ShufflePick):
    """SHUFFLE that passes over a slow task while it has no credit, so that it does not set the pace of the others.

    Tasks report with their credit what a tuple costs them. One that needs more than SLOW times as long as the fastest
    is slow: without credit it is left out, and the emitter does not wait for it. The others are as good as equal: they
    take turns, and the emitter waits when one of them has no credit, so that they get equally much however their speed
    wavers. A bolt that is no bottleneck always has credit, and then all get equally much.

    Invariants: `ring` is never empty, as the fastest task is not slow. A channel without credit is in `ring` only while
    its emitter is to take no input, so it goes no further below zero than what one call of user code emits (INV-1).

    Source: the aim is that of Storm's LoadAwareShuffleGrouping, which compares the lengths of queues.
    """

    __slots__ = ("_is_settled",)

    def __init__(self, targets: Sequence[OutBuffer]) -> None:
        super().__init__(targets)
        #: whether all have credit
        self._is_settled = True

    def on_credit(self, credit: int, blocked: set[Any]) -> None:
        """The credit of a task has changed; joins or leaves `blocked`.

        Cost: O(1) while all have credit, else one pass over the tasks; once per batch.
        """
        if self._is_settled and credit > 0:
            return
        fastest = min((t.channel.pace for t in self.targets if t.channel.pace), default=0)
        equal = [t for t in self.targets if t.channel.pace <= fastest + SLOW_STEPS]
        able = [t for t in self.targets if t.channel.credit > 0]
        self._is_settled = len(able) == len(self.targets)
        if all(t.channel.credit > 0 for t in equal):
            blocked.discard(self)
        else:
            blocked.add(self)
        ring = [t for t in self.targets if t.channel.credit > 0 or t in equal]
        if ring != self.ring:
            self.ring[:] = ring
            # whoever got less goes first: rings change often, and equal tasks must get equally much to within a tuple
            self.turn.at = ring.index(min(equal, key=lambda t: t.sent + len(t.rows)))


def _partial_key(columns: Sequence[int], targets: Sequence[OutBuffer], groups: int, where: str) -> Pick:
    """Two candidate tasks per key, the one that got less so far takes the tuple."""
    sent = [0] * len(targets)

    def pick(values: Sequence[Any]) -> Sequence[OutBuffer]:
        key = [values[column] for column in columns]
        first = group_of(key, groups, where) % len(targets)
        second = key_group([*key, "second choice"], groups) % len(targets)
        if second == first:
            second = (first + 1) % len(targets)
        chosen = first if sent[first] <= sent[second] else second
        sent[chosen] += 1
        return (targets[chosen],)

    return pick


def _custom(custom: Any, edge: Edge, info: StreamInfo, targets: Sequence[OutBuffer], task: Task) -> Pick:
    by_task = {buffer.channel.destination: buffer for buffer in targets}
    custom.prepare({"componentid": task.component, "taskid": task.id}, info.name, sorted(by_task))

    def pick(values: Sequence[Any]) -> Sequence[OutBuffer]:
        chosen = custom.choose_tasks(task.id, values)
        try:
            return [by_task[task_id] for task_id in chosen]
        except (KeyError, TypeError):
            raise ComponentError(
                f"grouping {type(custom).__qualname__} of {edge.source!r} -> {edge.target!r} chose {chosen!r}; "
                f"choose_tasks must return a list of task ids out of {sorted(by_task)}"
            ) from None

    return pick


def build_pick(
    edge: Edge,
    info: StreamInfo,
    targets: Sequence[OutBuffer],
    local: Sequence[OutBuffer],
    plan: Plan,
    task: Task,
    custom: Any,
) -> Pick:
    """The pick of an edge.

    Args:
        targets: one buffer per task of the reading bolt, by task id.
        local: those of them in this worker.
        custom: the grouping object of a CUSTOM edge.
    """
    kind = edge.grouping.type
    settings = Settings.from_config(plan.topology.config)
    groups = settings.max_parallelism
    columns = [info.fields.index(name) for name in edge.grouping.fields]
    where = (
        f"component {edge.source!r}, stream {info.name!r}, grouped by {list(edge.grouping.fields)} for {edge.target!r}"
    )
    if kind is GroupingType.FIELDS:
        return FieldsPick(columns, targets, groups, where)
    if kind is GroupingType.PARTIAL_KEY:
        return _partial_key(columns, targets, groups, where)
    if kind is GroupingType.ALL:
        everybody = tuple(targets)
        return lambda values: everybody
    if kind is GroupingType.GLOBAL:
        lowest = (targets[0],)
        return lambda values: lowest
    if kind is GroupingType.CUSTOM:
        return _custom(custom, edge, info, targets, task)
    if kind is GroupingType.DIRECT:
        return lambda values: ()
    readers = local if kind is GroupingType.LOCAL_OR_SHUFFLE and local else targets
    if len(readers) > 1 and settings.load_aware_shuffle:
        return LoadAwarePick(readers)
    return ShufflePick(readers)
