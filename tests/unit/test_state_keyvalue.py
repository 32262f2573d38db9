"""KeyValueState: every change is noted, nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.errors import ComponentError
from pystorm.state import KeyValueState
from pystorm.state.current import Current

State = KeyValueState[Any, Any]


def bound(*, keyed: bool = False, content: dict[Any, Any] | None = None) -> tuple[State, Current]:
    current = Current()
    state: State = State().bound("count.counts", current, keyed=keyed)
    current.tup = "earlier"
    state.update(content or {})
    state.take_dirty()
    current.tup = "now"
    return state, current


MUTATORS: dict[str, tuple[Callable[[State], Any], dict[Any, Any], set[Any]]] = {
    # name: (change, content afterwards when starting with {a: 1, b: 2}, keys noted)
    "set": (lambda s: s.__setitem__("c", 3), {"a": 1, "b": 2, "c": 3}, {"c"}),
    "put": (lambda s: s.put("a", 9), {"a": 9, "b": 2}, {"a"}),
    "del": (lambda s: s.__delitem__("a"), {"b": 2}, {"a"}),
    "delete": (lambda s: s.delete("a"), {"b": 2}, {"a"}),
    "delete of nothing": (lambda s: s.delete("z"), {"a": 1, "b": 2}, set()),
    "pop": (lambda s: s.pop("a"), {"b": 2}, {"a"}),
    "pop with default": (lambda s: s.pop("z", None), {"a": 1, "b": 2}, set()),
    "popitem": (lambda s: s.popitem(), {"a": 1}, {"b"}),
    "clear": (lambda s: s.clear(), {}, {"a", "b"}),
    "update with map": (lambda s: s.update({"a": 5}, c=6), {"a": 5, "b": 2, "c": 6}, {"a", "c"}),
    "update with pairs": (lambda s: s.update([("c", 6)]), {"a": 1, "b": 2, "c": 6}, {"c"}),
    "setdefault": (lambda s: s.setdefault("c", []).append(1), {"a": 1, "b": 2, "c": [1]}, {"c"}),
    "setdefault of a key that is there": (lambda s: s.setdefault("a", 7), {"a": 1, "b": 2}, {"a"}),
    "ior": (lambda s: s.__ior__({"b": 7}), {"a": 1, "b": 7}, {"b"}),
}


@pytest.mark.parametrize("name", MUTATORS)
def test_every_way_to_change_the_dict_notes_the_keys_with_the_tuple(name: str) -> None:
    change, expected, noted = MUTATORS[name]
    state, _ = bound(keyed=True, content={"a": 1, "b": 2})
    change(state)
    assert dict(state) == expected
    assert state.take_dirty() == dict.fromkeys(noted, "now")


@pytest.mark.parametrize("name", MUTATORS)
def test_keyed_state_refuses_every_change_outside_process_and_stays_as_it_was(name: str) -> None:
    state, current = bound(keyed=True, content={"a": 1, "b": 2})
    current.tup = None
    with pytest.raises(ComponentError, match=r"count\.counts: written outside process"):
        MUTATORS[name][0](state)
    assert dict(state) == {"a": 1, "b": 2}
    assert not state.has_dirty


READING = "get items keys values copy fromkeys __getitem__ __contains__ __iter__ __reversed__ __len__ __or__ __ror__"


def test_no_method_that_changes_a_dict_was_forgotten() -> None:
    changing = set(dir(dict)) - set(dir(object)) - {*READING.split(), "__class_getitem__"}
    assert {name for name in changing if getattr(KeyValueState, name) is getattr(dict, name)} == set()


def test_reads_are_the_methods_of_dict_itself() -> None:
    for name in ("get", "__getitem__", "__contains__", "__iter__", "__len__", "items", "keys", "values", "__eq__"):
        assert getattr(KeyValueState, name) is getattr(dict, name), name


def test_keyed_state_can_be_read_and_iterated_outside_process() -> None:
    state, current = bound(keyed=True, content={"a": 1})
    current.tup = None
    assert (state.get("a"), state["a"], "a" in state, list(state.items())) == (1, 1, True, [("a", 1)])


def test_per_task_state_may_be_written_outside_process() -> None:
    state, current = bound()
    current.tup = None
    state["a"] = 1
    assert state.take_dirty() == {"a": None}


def test_missing_keys_raise_key_error_and_note_nothing() -> None:
    state, _ = bound()
    for change in (lambda: state.pop("z"), lambda: state.__delitem__("z"), lambda: state.popitem()):
        with pytest.raises(KeyError):
            change()
    with pytest.raises(TypeError, match="unhashable"):
        state[[]] = 1
    assert not state.has_dirty


@pytest.mark.parametrize("name", MUTATORS)
def test_a_declaration_used_as_a_state_says_what_to_do(name: str) -> None:
    with pytest.raises(ComponentError, match="declare it on the bolt's class"):
        MUTATORS[name][0](State())


def test_a_state_used_before_it_is_bound_is_named() -> None:
    class CountBolt:
        counts: State = KeyValueState()

    with pytest.raises(ComponentError, match=r"CountBolt\.counts is not there yet"):
        CountBolt().counts.get("a")
    with pytest.raises(ComponentError, match=r"CountBolt\.counts is only a declaration"):
        CountBolt.counts["a"] = 1


operations = st.lists(
    st.tuples(
        st.sampled_from(["set", "del", "pop", "popitem", "clear", "update", "setdefault", "ior", "delete"]),
        st.integers(0, 4),
        st.integers(),
    )
)


@given(operations)
def test_it_stays_equal_to_a_plain_dict_and_notes_at_least_what_differs(steps: list[tuple[str, int, int]]) -> None:
    state, _ = bound(content={1: 1, 2: 2})
    plain: dict[int, int] = {1: 1, 2: 2}
    before = dict(plain)
    for name, key, value in steps:
        apply(state, name, key, value)
        apply(plain, name, key, value)
        assert state == plain
    changed = {key for key in before.keys() | plain.keys() if before.get(key, _GONE) != plain.get(key, _GONE)}
    assert changed <= state.take_dirty().keys()


_GONE = object()


def apply(target: Any, name: str, key: Any, value: Any) -> None:
    """One operation, on a dict or a state."""
    if name == "set":
        target[key] = value
    elif name == "del" and key in target:
        del target[key]
    elif name in ("pop", "delete"):
        target.pop(key, None)
    elif name == "popitem" and target:
        target.popitem()
    elif name == "clear":
        target.clear()
    elif name == "update":
        target.update({key: value, "u": value})
    elif name == "setdefault":
        target.setdefault(key, value)
    elif name == "ior":
        target |= {key: value}
