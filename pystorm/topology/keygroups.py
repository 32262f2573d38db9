"""Key groups: the unit in which keys, and the state that belongs to them, are given to tasks.

A FIELDS grouping hashes the values of its fields to one of `topology.max.parallelism` key groups, and key groups go to
tasks in contiguous ranges. The hash is xxh64 (seed 0) of the msgpack bytes of the list of values, so it is the same in
every process, on every machine and in every Python version; the built-in hash() is none of these for strings. A change
of parallelism moves whole groups.

Values that msgpack encodes differently are different keys although Python calls them equal: 1, 1.0 and True go to three
groups.

Source: Flink's key groups (docs/content/docs/ops/state/large_state_tuning.md, KeyGroupRangeAssignment.java).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
import xxhash

from pystorm.values import pack_default

_packb = msgpack.packb
_xxh64_intdigest = xxhash.xxh64_intdigest


def key_group(values: Sequence[Any], max_parallelism: int) -> int:
    """The key group, 0..max_parallelism-1, of the values of the grouping fields.

    >>> key_group(["whale"], 128)
    34
    """
    return _xxh64_intdigest(_packb(list(values), default=pack_default)) % max_parallelism


def task_index_of(group: int, tasks: int, max_parallelism: int) -> int:
    """The index, 0..tasks-1, of the task that owns a key group."""
    return group * tasks // max_parallelism


def groups_of_task(index: int, tasks: int, max_parallelism: int) -> range:
    """The key groups that task `index` of `tasks` owns.

    >>> groups_of_task(0, 3, 128), groups_of_task(2, 3, 128)
    (range(0, 43), range(86, 128))
    """
    start = -(-index * max_parallelism // tasks)
    end = -(-(index + 1) * max_parallelism // tasks)
    return range(start, end)
