"""The hot path: the compiled module and its twin in Python give the same results."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.components.tuples import Tuple, values_class

U64 = st.integers(0, 2**64 - 1)


def modules() -> list[Any]:
    """Both twins; the compiled one is optional for users and required where CI runs."""
    found = [importlib.import_module("pystorm._pure")]
    try:
        found.append(importlib.import_module("pystorm._speed"))
    except ImportError:
        if os.environ.get("CI"):
            raise
    return [pytest.param(module, id=module.__name__.rpartition("_")[2]) for module in found]


both = pytest.mark.parametrize("speed", modules())


def test_the_twins_have_the_same_names_and_version() -> None:
    from pystorm import speed

    for param in modules():
        module = param.values[0]
        assert module.API == speed.API
        assert all(hasattr(module, name) for name in speed.__all__)


def test_the_environment_chooses_plain_python() -> None:
    code = "import pystorm.speed as s; print(s.IS_COMPILED, s.FieldEmit.__module__)"
    env = {**os.environ, "PYSTORM_PURE": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "pystorm._pure"]


@both
@given(numbers=st.lists(U64))
def test_numbers_survive_packing(speed: ModuleType, numbers: list[int]) -> None:
    packed = speed.pack_u64(numbers)
    assert packed == b"".join(n.to_bytes(8, "little") for n in numbers)
    assert speed.unpack_u64(packed) == numbers
    assert speed.unpack_u64(memoryview(packed)) == numbers


@both
@pytest.mark.parametrize("wrong", [[None], [(1, 2)], [1, None], ["1"]])
def test_packing_anything_but_numbers_is_a_type_error(speed: ModuleType, wrong: list[Any]) -> None:
    with pytest.raises(TypeError):
        speed.pack_u64(wrong)


@both
def test_bytes_that_are_no_whole_numbers_are_refused(speed: ModuleType) -> None:
    with pytest.raises(ValueError):
        speed.unpack_u64(b"1234567")


@both
@given(data=st.data())
def test_edge_ids_meet_under_their_roots(speed: ModuleType, data: st.DataObject) -> None:
    roots = data.draw(st.lists(st.sampled_from([None, 1, 2, 2**60, (1, 2)])))
    edges = data.draw(st.lists(U64, min_size=len(roots), max_size=len(roots)))
    start = data.draw(st.integers(0, len(roots)))
    end = data.draw(st.integers(start, len(roots)))
    table: dict[Any, int] = {2: 77}
    expected: dict[Any, int] = dict(table)
    for root, edge in list(zip(roots, edges))[start:end]:
        expected[root] = expected.get(root, 0) ^ edge
    speed.xor_edges(table, roots, b"".join(e.to_bytes(8, "little") for e in edges), start, end)
    assert table == expected


@both
def test_too_few_edge_ids_are_refused(speed: ModuleType) -> None:
    with pytest.raises(ValueError):
        speed.xor_edges({}, [1, 2], bytes(8), 0, 2)
    with pytest.raises(ValueError):
        speed.xor_open({1: 1}, [1, 1], bytes(8))
    with pytest.raises(ValueError):
        speed.apply_acks({1: 1}, {}, [1, 1], bytes(8), 3)


@both
def test_acks_complete_a_tree_only_at_zero_and_ignore_unknown_roots(speed: ModuleType) -> None:
    values, seen = {1: 5, 2: 9}, {}
    xors = b"".join(n.to_bytes(8, "little") for n in (5, 1, 4))
    assert speed.apply_acks(values, seen, [1, 2, 99], xors, 7) == [1]
    assert (values, seen) == ({1: 0, 2: 8}, {2: 7})
    messages = {1: "one", 2: "two"}
    assert speed.close_trees(values, messages, seen, {}, [1]) == ["one"]
    assert (values, messages) == ({2: 8}, {2: "two"})


@both
def test_sealing_takes_the_guards_out(speed: ModuleType) -> None:
    values, unsealed = {10: 10, 11: 11 ^ 3}, [10, 11, 12]
    assert speed.seal_trees(values, unsealed) == [10]
    assert (values, unsealed) == ({10: 0, 11: 3}, [])


def run_batch(speed: ModuleType, rows: list[Any], fields: tuple[str, ...], process: Any) -> Any:
    current = speed.Current()
    runner = speed.BatchRunner(lambda tup: process(tup, current), current, Tuple, set())
    roots = list(range(100, 100 + len(rows)))
    runner.begin(values_class("default", fields), len(fields), rows, roots, 1, "split", "default", 4)
    return runner, current


@both
def test_a_batch_becomes_tuples_one_after_the_other(speed: ModuleType) -> None:
    seen: list[Any] = []
    runner, current = run_batch(
        speed, ["a", "b", "c"], ("word",), lambda tup, cur: seen.append((tuple(tup), cur.root, cur.tup is tup))
    )
    runner.run(2)
    assert [entry[0][4].word for entry in seen] == ["a", "b"]
    runner.run(3)
    assert [entry[0][:4] for entry in seen] == [(n, "split", "default", 4) for n in (1, 2, 3)]
    assert [entry[1:] for entry in seen] == [(100, True), (101, True), (102, True)]
    assert (current.tup, current.root) == (None, None)


@both
def test_tuples_and_values_that_user_code_keeps_stay_what_they_were(speed: ModuleType) -> None:
    tuples: list[Any] = []
    values: list[Any] = []

    def keep(tup: Any, current: Any) -> None:
        if tup.id % 2:
            tuples.append(tup)
        else:
            values.append(tup.values)

    runner, _ = run_batch(speed, list("abcdef"), ("word",), keep)
    runner.run(6)
    assert [(tup.id, tup.values.word) for tup in tuples] == [(1, "a"), (3, "c"), (5, "e")]
    assert [kept.word for kept in values] == ["b", "d", "f"]


@both
def test_after_an_exception_the_batch_goes_on_with_the_next_row(speed: ModuleType) -> None:
    seen: list[str] = []

    def process(tup: Any, current: Any) -> None:
        if tup.values.word in "bd":
            raise RuntimeError(tup.values.word)
        seen.append(tup.values.word)

    runner, current = run_batch(speed, list("abcd"), ("word",), process)
    for word, root in (("b", 101), ("d", 103)):
        with pytest.raises(RuntimeError, match=word):
            runner.run(4)
        assert (current.tup.values.word, current.root) == (word, root)
    runner.run(4)
    assert seen == ["a", "c"]


@both
def test_rows_of_several_fields_must_have_as_many_values(speed: ModuleType) -> None:
    seen: list[Any] = []
    runner, _ = run_batch(speed, [["a", 1], ("b", 2)], ("word", "count"), lambda tup, cur: seen.append(tup.values))
    runner.run(2)
    assert [(v.word, v.count) for v in seen] == [("a", 1), ("b", 2)]

    def run_wide_row() -> None:
        wide, _ = run_batch(speed, [["a", 1, 2]], ("word", "count"), lambda tup, cur: None)
        wide.run(1)

    with pytest.raises(ValueError, match="3 values for 2 fields"):
        run_wide_row()


@both
@pytest.mark.parametrize(
    ("key", "grouped_by", "noted"), [("k", "k", False), (7, 7, False), (True, True, True), ("k", "other", True)]
)
def test_a_dirty_key_notes_its_tuple_unless_the_key_says_as_much(
    speed: ModuleType, key: Any, grouped_by: Any, noted: bool
) -> None:
    class State(speed.DirtyDict):  # type: ignore[misc, name-defined]
        def __init__(self, column: int, *, keyed: bool) -> None:
            self._current, self._dirty, self._keyed, self._column = speed.Current(), {}, keyed, column

        def _writing(self) -> Any:
            return "writing"

    fields = values_class("default", ("word",))
    tup = Tuple(1, "split", "default", 2, fields(grouped_by))
    state = State(0, keyed=True)
    state._current.tup = tup
    state[key] = 1
    assert state._dirty == {key: tup if noted else None}
    assert state == {key: 1}
    del state[key]
    assert state._dirty == {key: "writing"}
    assert not state
    per_task = State(-1, keyed=False)
    per_task._current.tup = tup
    per_task[key] = 1
    assert per_task._dirty == {key: None}


@both
def test_emits_go_to_the_buffer_of_their_key_and_flush_it_when_full(speed: ModuleType) -> None:
    first, second = speed.Buffer(), speed.Buffer()
    current, flushed, other = speed.Current(), [], []
    emit = speed.FieldEmit(
        lambda *args: other.append(args),
        lambda values: None if isinstance(values, tuple) else pytest.fail("wrong width"),
        lambda values: second,
        {"a": first},
        flushed.append,
        current,
        2,
        0,
        True,
    )
    first.limit = second.limit = 2
    current.root = 9
    emit.emit(["a", 1])
    emit.emit(("b", 2))
    emit.emit(["a", 3])
    emit.emit(["a", 4], stream="errors")
    assert (first.rows, first.roots) == ([["a", 1], ["a", 3]], [9, 9])
    assert (second.rows, second.roots) == ([("b", 2)], [9])
    assert flushed == [first]
    assert other == [(["a", 4], "errors", None, None, False)]
    assert emit.count == 3


@both
def test_a_spout_that_emits_opens_a_tree_and_takes_its_targets_in_turn(speed: ModuleType) -> None:
    targets = [speed.Buffer(), speed.Buffer()]
    for target in targets:
        target.limit = 100
    positions: dict[str, Any] = {"": None}
    values: dict[int, int] = {}
    messages: dict[int, Any] = {}
    other: list[Any] = []
    emit = speed.SourceEmit(
        lambda values, **options: other.append((values, options)),
        positions,
        values,
        messages,
        targets,
        lambda buffer: None,
        1,
        speed.RootCounter(50),
        True,
        True,
        speed.Turn(),
    )
    emit.emit(["a"], position=1)
    emit.emit(["b"], position=2)
    emit.emit(["c"], position=3, partition="unknown")
    assert ([t.rows for t in targets], [t.roots for t in targets]) == ([["a"], ["b"]], [[51], [52]])
    assert (values, positions) == ({51: 0, 52: 0}, {"": 2})
    assert messages == {51: (["a"], None, "", 1, 0), 52: (["b"], None, "", 2, 0)}
    assert other == [(["c"], {"position": 3, "partition": "unknown", "stream": None})]


@both
def test_a_spout_takes_the_targets_that_are_left_when_their_list_shrinks(speed: ModuleType) -> None:
    buffers = [speed.Buffer() for _ in range(3)]
    for buffer in buffers:
        buffer.limit = 100
    ring = list(buffers)
    emit = speed.SourceEmit(
        None, {"": None}, {}, {}, ring, lambda buffer: None, 1, speed.RootCounter(0), False, False, speed.Turn()
    )
    for number, left in enumerate([buffers, buffers, buffers[1:2], buffers[1:2], buffers]):
        ring[:] = left
        emit.emit([number], position=number)
    assert [buffer.rows for buffer in buffers] == [[0], [1, 2, 3, 4], []]


@both
def test_an_emit_without_position_is_left_to_who_can_explain(speed: ModuleType) -> None:
    asked: list[Any] = []
    emit = speed.SourceEmit(
        lambda values, **options: asked.append(options),
        {"": None},
        {},
        {},
        [speed.Buffer()],
        lambda buffer: None,
        1,
        speed.RootCounter(0),
        True,
        True,
        speed.Turn(),
    )
    emit.emit(["a"])
    assert asked == [{"partition": "", "stream": None}]
