"""Groupings: which of the reading bolt's tasks a tuple goes to.

A pick is a function from a tuple's values to the buffers that take it. It is built once per (task, stream, edge).

Source: Storm's groupings (apache/storm storm-client/src/jvm/org/apache/storm/grouping/), Flink's key groups.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

from pystorm.errors import ComponentError
from pystorm.topology.config import Settings
from pystorm.topology.keygroups import key_group, task_index_of
from pystorm.topology.model import Edge, GroupingType
from pystorm.topology.plan import Plan, StreamInfo, Task
from pystorm.worker.channels import OutBuffer

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

    __slots__ = ("_ring", "start", "targets")

    def __init__(self, targets: Sequence[OutBuffer]) -> None:
        self.targets = targets
        self.start = start = random.randrange(len(targets))
        self._ring = itertools.cycle([(t,) for t in [*targets[start:], *targets[:start]]])

    def __call__(self, values: Sequence[Any]) -> Sequence[OutBuffer]:
        return next(self._ring)


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
    groups = Settings.from_config(plan.topology.config).max_parallelism
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
    if kind is GroupingType.LOCAL_OR_SHUFFLE and local:
        return ShufflePick(local)
    return ShufflePick(targets)
