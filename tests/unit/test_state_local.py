"""LocalStateManager: what a checkpoint takes along, and where each entry goes when keys, groups and tasks change."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.errors import ComponentError, InternalError
from pystorm.state import KeyValueState
from pystorm.state.chunk import MAX_BYTES, MAX_ENTRIES
from pystorm.state.memory_store import MemoryStore
from pystorm.topology.keygroups import key_group
from pystorm.values import pack, unpack
from tests.state_tools import GROUPS, Bolt, Task, key_of_group, record

ALL = [str(group) for group in range(GROUPS)]


def changes_of(task: Task) -> dict[tuple[str, str], tuple[dict[Any, Any], set[Any]]]:
    """By scope and state: what the next checkpoint sets and deletes."""
    found: dict[tuple[str, str], tuple[dict[Any, Any], set[Any]]] = {}
    for chunk in task.manager.freeze().chunks():
        for state, sets, deletes in chunk.changes:
            into = found.setdefault((chunk.scope, state), ({}, set()))
            into[0].update({unpack(k): unpack(v) for k, v in zip(sets[::2], sets[1::2], strict=True)})
            into[1].update(map(unpack, deletes))
    return found


def test_states_are_bound_fresh_by_the_names_that_the_classes_declare() -> None:
    class Base:
        a = KeyValueState[Any, Any]()
        hidden = KeyValueState[Any, Any]()

    class Derived(Base):
        b = KeyValueState[Any, Any]()
        hidden = None  # type: ignore[assignment]

    task = Task()
    one, two = Derived(), Derived()
    task.manager.bind(one)
    one.a._dirty["x"] = 1
    task.manager.bind(two)
    assert task.manager.declared == ["a", "b"]
    assert one.a is not two.a
    assert two.a is not Base.a
    assert task.manager.freeze().dirty_keys == 0


def test_a_state_made_in_init_is_refused_by_name() -> None:
    class Wrong:
        def __init__(self) -> None:
            self.counts = KeyValueState[Any, Any]()

    with pytest.raises(ComponentError, match=r"self\.counts = KeyValueState\(\) in __init__ .* the class Wrong"):
        Task().manager.bind(Wrong())


def test_scopes_are_key_groups_or_the_task() -> None:
    assert Task(1, 2).manager.scopes() == ["4", "5", "6", "7"]
    assert Task(1, 2, keyed=False).manager.scopes() == ["t1"]


def test_a_freeze_takes_what_changed_since_the_one_before() -> None:
    task = Task(keyed=False)
    task.write("a", 1)
    task.write("b", 1)
    task.write("a", 2)
    assert task.manager.freeze().dirty_keys == 2
    task.delete("b")
    task.bolt.seen["x"] = [1]
    assert changes_of(task) == {("t0", "counts"): ({}, {"b"}), ("t0", "seen"): ({"x": [1]}, set())}
    assert list(task.manager.freeze().chunks()) == []


@pytest.mark.parametrize("mutable", [["a"], {"a": "b"}])
def test_values_are_those_at_the_barrier_whatever_happens_afterwards(mutable: Any) -> None:
    before = unpack(pack(mutable))
    task = Task(keyed=False)
    task.write("n", 1)
    task.write("gone", 1)
    task.delete("gone")
    task.write("mutable", mutable)
    task.bolt.seen["scalar"] = 1
    frozen = task.manager.freeze()
    task.write("n", 2)
    task.write("gone", 2)
    mutable.clear()
    task.bolt.seen["scalar"] = 2
    [chunk] = frozen.chunks()
    found = {
        state: ([unpack(item) for item in sets], [unpack(item) for item in deletes])
        for state, sets, deletes in chunk.changes
    }
    assert found == {"counts": (["n", 1, "mutable", before], ["gone"]), "seen": (["scalar", 1], [])}


def test_chunks_can_be_taken_again_after_a_failed_write() -> None:
    task = Task()
    home, other = key_of_group(1), key_of_group(2)
    task.write(home, 1)
    list(task.manager.freeze().chunks())
    task.write(home, 2, under=other)
    frozen = task.manager.freeze()
    first = list(frozen.chunks())
    assert [chunk.scope for chunk in first] == ["1", "2"]
    assert list(frozen.chunks()) == first


def test_chunks_are_bounded_in_entries_and_bytes() -> None:
    task = Task(keyed=False)
    for i in range(2500):
        task.write(i, i)
    for i in range(5):
        task.bolt.seen[i] = "x" * (MAX_BYTES // 2)
    chunks = list(task.manager.freeze().chunks())
    assert sum(chunk.entries for chunk in chunks) == 2505
    assert max(chunk.entries for chunk in chunks) == MAX_ENTRIES
    assert max(len(chunk.pack()) for chunk in chunks) < 2 * MAX_BYTES


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("k", object(), r"count: state 'counts': the value of key 'k' cannot be saved: it is of type builtins\.object"),
        (
            "k",
            {1: [print]},
            r"key 'k' cannot be saved: it is of type builtins\.dict: .*function_or_method cannot travel",
        ),
        ("k", "\ud800", r"the value of key 'k' cannot be saved: it is of type builtins\.str: .*surrogates"),
        (frozenset({print}), 1, r"state 'counts': key frozenset\(.*\) of type builtins\.frozenset cannot be saved"),
    ],
)
@pytest.mark.parametrize("keyed", [False, True])
def test_what_cannot_be_saved_is_named(keyed: bool, key: Any, value: Any, message: str) -> None:
    task = Task(keyed=keyed)
    task.write("fine", 1)
    task.write(key, value, under="u")
    with pytest.raises(ComponentError, match=message):
        list(task.manager.freeze().chunks())


def test_a_failed_freeze_forgets_nothing() -> None:
    task = Task(keyed=False)
    task.write("a", 1)
    task.write("bad", object())
    with pytest.raises(ComponentError):
        task.manager.freeze()
    task.write("bad", 2)
    assert changes_of(task) == {("t0", "counts"): ({"a": 1, "bad": 2}, set())}


def test_equal_keys_of_different_types_are_one_entry() -> None:
    store = MemoryStore("t")
    generation = store.acquire(["t0"])
    task = Task(keyed=False)
    task.write(True, "first")
    task.checkpoint(store, generation, 1)
    task.write(1.0, "second")
    task.checkpoint(store, generation, 2)
    heir = Task(keyed=False)
    heir.restore(store)
    assert heir.bolt.counts == {1: "second"}


# Keyed states: an entry lives in the key group of the tuple under which it was written


def test_an_entry_goes_to_the_group_of_the_tuple_not_of_its_key() -> None:
    task = Task()
    key, grouping = key_of_group(1), key_of_group(5)
    task.write(key, 1, under=grouping)
    assert changes_of(task)["5", "counts"] == ({key: 1}, set())


def test_an_entry_that_is_written_under_another_group_moves_there() -> None:
    task = Task()
    key, five, six = key_of_group(1), key_of_group(5), key_of_group(6)
    task.write(key, 1, under=five)
    changes_of(task)
    task.write(key, 2, under=six)
    assert changes_of(task) == {("6", "counts"): ({key: 2}, set()), ("5", "counts"): ({}, {key})}
    task.write(key, 3)
    assert changes_of(task) == {("1", "counts"): ({key: 3}, set()), ("6", "counts"): ({}, {key})}


def test_a_delete_goes_to_where_the_entry_is_not_to_the_tuples_group() -> None:
    task = Task()
    key, five, six = key_of_group(1), key_of_group(5), key_of_group(6)
    task.write(key, 1, under=five)
    changes_of(task)
    task.delete(key, under=six)
    assert changes_of(task) == {("5", "counts"): ({}, {key})}


def test_no_task_deletes_in_the_groups_of_another() -> None:
    task = Task(0, 2)  # groups 0..3
    key, one, two = key_of_group(7), key_of_group(1), key_of_group(2)
    task.write(key, 1, under=one)
    assert changes_of(task) == {("1", "counts"): ({key: 1}, set())}
    task.delete(key, under=two)
    assert changes_of(task) == {("1", "counts"): ({}, {key})}


def test_a_tuple_of_another_tasks_group_is_a_bug_and_says_so() -> None:
    task = Task(0, 2)
    task.write(key_of_group(7), 1)
    with pytest.raises(InternalError, match=r"key group 7 was processed by a task that owns groups 0\.\.3"):
        list(task.manager.freeze().chunks())


@pytest.mark.parametrize("key", ["a", 7, True, 2.0, 2.5])
def test_a_key_noted_as_its_own_grouping_key_goes_where_its_tuple_went(key: Any) -> None:
    task = Task()
    task.write(key, 1)
    task.bolt.counts.take_dirty()
    task.bolt.counts.note_dirty(key, None)
    set_in = [chunk.scope for chunk in task.manager.freeze().chunks() if any(sets for _, sets, _ in chunk.changes)]
    assert set_in == [str(key_group([key], GROUPS))]


@pytest.mark.parametrize("order", list(itertools.permutations(["2", "5", "7"])))
@pytest.mark.parametrize(("home", "winner"), [(5, "5"), (0, "2")])
def test_a_key_that_several_groups_hold_restores_the_same_in_any_order(
    order: tuple[str, ...], home: int, winner: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of_group(home)
    entries = {("counts", scope, pack(key), pack(scope)) for scope in order}
    task = Task()
    with caplog.at_level(logging.WARNING):
        task.manager.restore(sorted(entries, key=lambda entry: order.index(entry[1])))
    assert task.bolt.counts == {key: winner}
    assert "2 keys came back from more than one key group" in caplog.text
    six = key_of_group(6)
    task.write(key, "new", under=six)
    changes = changes_of(task)
    assert changes.pop(("6", "counts")) == ({key: "new"}, set())
    deleted_in = {scope for (scope, _), (_, deletes) in changes.items() if key in deletes}
    assert deleted_in == {"2", "5", "7"}


def test_state_moves_with_its_keys_when_parallelism_changes() -> None:
    store = MemoryStore("t")
    generation = store.acquire(ALL)
    before = [Task(index, 2) for index in range(2)]
    expected: list[dict[str, int]] = [{}, {}, {}]
    for i in range(60):
        key, grouping = f"k{i}", f"user{i % 7}"
        group = key_group([grouping], GROUPS)
        before[group * 2 // GROUPS].write(key, i, under=grouping)
        expected[group * 3 // GROUPS][key] = i
    for task in before:
        store.prepare(generation, 1, "count", task.manager.freeze().chunks())
    store.commit(generation, record(generation, 1))
    store.settle(generation, {"count": ALL})
    for index in range(3):
        task = Task(index, 3)
        task.restore(store)
        assert task.bolt.counts == expected[index]


def test_entries_of_states_that_are_no_longer_declared_are_left_alone() -> None:
    task = Task(keyed=False)
    task.manager.restore([("dropped", "t0", pack("a"), pack(1)), ("counts", "t0", pack(("a", 1)), pack(2))])
    assert task.bolt.counts == {("a", 1): 2}
    assert task.manager.freeze().dirty_keys == 0


# The whole way against a plain dict

keys = st.sampled_from(["a", "b", "c", ("t", 1), 1, True, 2.0, 2])
values = st.one_of(st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), keys, values, st.sampled_from(["u1", "u2", "u3", None])),
        st.tuples(st.just("delete"), keys, st.none(), st.sampled_from(["u1", "u2", None])),
        st.tuples(st.just("append"), keys, st.integers(), st.sampled_from(["u1", "u2"])),
        st.tuples(st.just("clear"), st.none(), st.none(), st.just("u1")),
        st.tuples(st.sampled_from(["checkpoint", "prepare only", "commit only", "crash"]), *[st.none()] * 3),
    ),
    max_size=40,
)


@given(steps, st.booleans())
def test_after_any_history_of_writes_checkpoints_and_crashes_state_equals_a_plain_dict(
    history: list[Any], keyed: bool
) -> None:
    store = MemoryStore("t")
    scopes = ALL if keyed else ["t0"]
    task, generation = Task(keyed=keyed), store.acquire(scopes)
    plain: dict[Any, Any] = {}
    committed: dict[Any, Any] = {}
    for epoch, (name, key, value, under) in enumerate([*history, ("crash", None, None, None)], start=1):
        task.current.tup = [under or "u0"]
        counts = task.bolt.counts
        if name == "set":
            counts[key] = value
            plain[key] = value
        elif name == "append" and isinstance(plain.get(key), list):
            counts[key] = [*counts[key], value]
            plain[key] = [*plain[key], value]
        elif name == "delete":
            counts.delete(key)
            plain.pop(key, None)
        elif name == "clear":
            counts.clear()
            plain.clear()
        elif name == "checkpoint":
            task.checkpoint(store, generation, epoch)
            committed = dict(plain)
        elif name == "commit only":
            store.prepare(generation, epoch, "count", task.manager.freeze().chunks())
            store.commit(generation, record(generation, epoch))
            committed = dict(plain)
        if name in ("commit only", "prepare only", "crash"):
            if name == "prepare only":
                store.prepare(generation, epoch, "count", task.manager.freeze().chunks())
            generation = store.acquire(scopes)
            store.settle(generation, {"count": scopes})
            task = Task(keyed=keyed)
            task.restore(store)
            plain = dict(committed)
        assert task.bolt.counts == plain
    assert sum(1 for _ in store.load("count", ["counts"], scopes)) == len(committed)


def test_the_bolt_class_of_these_tests_keeps_only_declarations() -> None:
    assert dict(Bolt.counts) == {}
