"""Groupings: which task a tuple goes to. The golden key groups may never change: state in Redis lies by them."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.components import Bolt, Spout
from pystorm.components.stream import Stream
from pystorm.errors import ComponentError
from pystorm.topology.keygroups import groups_of_task, key_group, task_index_of
from pystorm.worker.channels import EdgeIds
from pystorm.worker.outbox import Outbox
from tests.harness import Feeder, Harness, Parts

GOLDEN: list[tuple[list[Any], int]] = [
    (["whale"], 34),
    ([""], 83),
    (["Ωmega"], 111),
    ([0], 56),
    ([1], 52),
    ([1.0], 13),
    ([True], 31),
    ([None], 10),
    ([-1], 83),
    ([2**63], 106),
    ([2**70], 65),
    ([b"whale"], 102),
    ([datetime.datetime(2020, 1, 2, 3, 4, 5)], 64),
    ([["a", 1]], 59),
    (["a", "b"], 123),
    (["b", "a"], 23),
    (["ab"], 44),
]


@pytest.mark.parametrize(("key", "group"), GOLDEN, ids=[repr(key) for key, _ in GOLDEN])
def test_the_key_group_of_a_value_never_changes(key: list[Any], group: int) -> None:
    assert key_group(key, 128) == group


@given(group=st.integers(0, 127), tasks=st.integers(1, 128))
def test_every_key_group_has_one_owner_and_ranges_and_owners_agree(group: int, tasks: int) -> None:
    owner = task_index_of(group, tasks, 128)
    assert [index for index in range(tasks) if group in groups_of_task(index, tasks, 128)] == [owner]


class Source(Spout):
    outputs = ["key", "num"]

    def next_tuple(self) -> None:
        pass


class Quiet(Bolt):
    pass


class Delivered:
    """A transport that notes how many tuples each task got. Everything is in one worker."""

    generation = 1

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.rows: dict[int, list[Any]] = {}

    def send_frame(self, worker: int, frame: bytes) -> None:
        raise AssertionError("nothing leaves the worker")

    def deliver(self, task: int, item: Any) -> None:
        self.counts[task] += item.count
        self.rows.setdefault(task, []).extend(item.rows)


def outbox_to(tasks: int, grouping: str, fields: list[str] | None = None, custom: Any = None) -> tuple[Outbox, Any]:
    parts = Parts()
    parts.spout("s", Source)
    parts.bolt("b", Quiet, tasks)
    parts.edge("s", "b", grouping, fields or (), custom=type(custom) if custom else None)
    plan = parts.plan(workers=1)
    delivered = Delivered()

    def refuse(*_: Any) -> None:
        raise AssertionError("unpackable")

    outbox = Outbox(
        plan,
        plan.tasks[1],
        delivered,
        EdgeIds(),
        is_tracked=False,
        batch_size=100,
        window=10**9,
        add_edges=refuse,
        on_unpackable=refuse,
        build_custom=lambda _edge: custom,
    )
    return outbox, delivered


def spread(outbox: Outbox, delivered: Any, rows: list[list[Any]]) -> Counter[int]:
    for row in rows:
        outbox.place(row, None, None, None)
    outbox.flush()
    found: Counter[int] = delivered.counts
    return found


@pytest.mark.parametrize("grouping", ["SHUFFLE", "NONE", "LOCAL_OR_SHUFFLE"])
@pytest.mark.parametrize("tasks", [1, 3, 7])
def test_shuffle_is_even_within_one_percent(grouping: str, tasks: int) -> None:
    counts = spread(*outbox_to(tasks, grouping), [["k", n] for n in range(10_000)])
    assert len(counts) == tasks
    assert all(abs(count - 10_000 / tasks) <= 100 / tasks + 1 for count in counts.values())


def test_equal_fields_go_to_the_same_task_and_that_is_the_owner_of_their_group() -> None:
    outbox, delivered = outbox_to(5, "FIELDS", ["key"])
    keys: list[Any] = [*(f"word{n}" for n in range(500)), b"bytes", 7, 7.5, None, True, [1, 2]]
    spread(outbox, delivered, [[key, n] for n in range(3) for key in keys])
    for task, rows in delivered.rows.items():
        for key, _ in rows:
            assert task_index_of(key_group([key], 128), 5, 128) == task - 2


def test_one_true_and_one_point_zero_are_three_keys_whichever_comes_first() -> None:
    outbox, delivered = outbox_to(128, "FIELDS", ["key"])
    spread(outbox, delivered, [[key, 0] for key in (1, True, 1.0, "1", 1.0, True, 1)])
    by_group = {task - 2: [row[0] for row in rows] for task, rows in delivered.rows.items()}
    assert {group: [type(key) for key in keys] for group, keys in by_group.items()} == {
        52: [int, int],
        31: [bool, bool],
        13: [float, float],
        key_group(["1"], 128): [str],
    }


def test_fields_may_be_several_and_in_any_order() -> None:
    outbox, delivered = outbox_to(128, "FIELDS", ["num", "key"])
    spread(outbox, delivered, [["a", 1]])
    assert list(delivered.counts) == [2 + key_group([1, "a"], 128)]


def test_the_memory_of_keys_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pystorm.worker.groupings.FIELDS_CACHE_ENTRIES", 10)
    outbox, delivered = outbox_to(4, "FIELDS", ["key"])
    spread(outbox, delivered, [[f"k{n % 37}", n] for n in range(500)])
    [pick] = outbox.streams["default"].picks
    assert len(pick.cache) <= 10  # type: ignore[attr-defined]
    tasks_by_key: dict[str, set[int]] = {}
    for task, rows in delivered.rows.items():
        for key, _ in rows:
            tasks_by_key.setdefault(key, set()).add(task)
    assert all(len(tasks) == 1 for tasks in tasks_by_key.values())


def test_partial_key_uses_at_most_two_tasks_per_key_and_balances_a_skewed_stream() -> None:
    outbox, delivered = outbox_to(4, "PARTIAL_KEY", ["key"])
    keys = ["hot"] * 5000 + [f"k{n % 200}" for n in range(15_000)]
    counts = spread(outbox, delivered, [[key, n] for n, key in enumerate(keys)])
    tasks_by_key: dict[str, set[int]] = {}
    for task, rows in delivered.rows.items():
        for key, _ in rows:
            tasks_by_key.setdefault(key, set()).add(task)
    assert len(tasks_by_key["hot"]) == 2
    assert all(len(tasks) <= 2 for tasks in tasks_by_key.values())
    assert max(counts.values()) < 1.2 * 20_000 / 4


def test_all_reaches_everybody_and_global_the_lowest_task() -> None:
    assert spread(*outbox_to(3, "ALL"), [["k", 1]] * 10) == {2: 10, 3: 10, 4: 10}
    assert spread(*outbox_to(3, "GLOBAL"), [["k", 1]] * 10) == {2: 10}


def test_local_or_shuffle_stays_in_the_worker_if_it_can(tmp_path: Path) -> None:
    parts = Parts()
    parts.spout("s", Feeder)
    parts.bolt("b", Quiet, 4, reads=[("s", "LOCAL_OR_SHUFFLE")])
    with Harness(parts.plan(workers=2), tmp_path) as h:
        h.settle()
        outbox = h.executors("s")[0].outbox
        for number in range(10):
            outbox.place([number], None, None, None)
        counts = {b.channel.destination: len(b.rows) for b in outbox.buffers}
        assert counts == {2: 0, 3: 5, 4: 0, 5: 5}


class Modulo:
    """A grouping of the user's."""

    def prepare(self, context: dict[str, Any], stream: str, tasks: list[int]) -> None:
        self.context, self.stream, self.tasks = context, stream, tasks

    def choose_tasks(self, task: int, values: Any) -> Any:
        if values[1] == "bad":
            return values[0]
        return [self.tasks[values[1] % len(self.tasks)]]


def test_a_custom_grouping_is_prepared_and_asked() -> None:
    custom = Modulo()
    outbox, delivered = outbox_to(3, "CUSTOM", custom=custom)
    assert (custom.context, custom.stream, custom.tasks) == (
        {"componentid": "s", "taskid": 1},
        "default",
        [2, 3, 4],
    )
    assert spread(outbox, delivered, [["k", n] for n in range(7)]) == {2: 3, 3: 2, 4: 2}


@pytest.mark.parametrize("answer", [[99], 2, None, [[2]]])
def test_a_custom_grouping_that_answers_nonsense_is_named(answer: Any) -> None:
    outbox, _ = outbox_to(3, "CUSTOM", custom=Modulo())
    complaint = r"grouping Modulo of 's' -> 'b' chose .* list of task ids out of \[2, 3, 4\]"
    with pytest.raises(ComponentError, match=complaint):
        outbox.place([answer, "bad"], None, None, None)


@pytest.mark.parametrize("grouping", ["FIELDS", "PARTIAL_KEY"])
def test_a_key_that_cannot_be_packed_is_named_with_its_place(grouping: str) -> None:
    outbox, _ = outbox_to(3, grouping, ["key"])
    with pytest.raises(ComponentError, match=r"component 's', stream 'default', grouped by \['key'\] for 'b'.*object"):
        outbox.place([object(), 1], None, None, None)
    assert not any(buffer.rows for buffer in outbox.buffers)


def test_a_stream_with_two_readers_reaches_both() -> None:
    class Two(Spout):
        outputs = [Stream(["num"]), Stream(["num"], name="side")]

    parts = Parts()
    parts.spout("s", Two)
    parts.bolt("a", Quiet, reads=["s"])
    parts.bolt("b", Quiet, reads=["s", ("s", "SHUFFLE", [], "side")])
    plan = parts.plan(workers=1)
    delivered = Delivered()
    nothing: Any = None
    outbox = Outbox(
        plan, plan.tasks[1], delivered, EdgeIds(), is_tracked=False, batch_size=9, window=99, add_edges=nothing,
        on_unpackable=nothing, build_custom=nothing,
    )  # fmt: skip
    outbox.place([1], None, None, None)
    outbox.place([2], "side", None, None)
    outbox.flush()
    assert delivered.rows == {2: [1], 3: [1, 2]}
    assert len(outbox.channels) == 2, "one channel per pair of tasks, whatever the streams"
