"""LocalStateManager: the states of one task, and in which scope each of their entries belongs.

Theory of operation
    A task's entries live in *scopes*. In a bolt whose state belongs to key groups a scope is a key group, "0".."127";
    in any other bolt it is the task, "t0". At a barrier `freeze` fixes what changed; placing it in scopes comes
    later, on the background thread that packs it.

    In a keyed bolt an entry belongs to the key group of the tuple that was being processed when it was last written.
    Most keys are the grouping key itself, so an entry's *default home* is the key group of `[key]`; `_homes`
    remembers only the entries that live elsewhere. An entry whose group changes is deleted from its old scope in the
    same checkpoint.

Invariants
    - A delete goes only to scopes of this task: another task may hold an equal key in a scope of its own.
    - After `restore` only the placing thread touches `_homes` and `_shadowed`, and one freeze is placed before the
      next. So no lock is needed.
    - When the same key comes back from several scopes (tasks that held it each for itself were merged), its default
      home wins, else the lowest group, in whatever order they arrive. The others are deleted when the key is next
      written, so they cannot win later.

Source: key groups as the unit of state are Flink's (large_state_tuning.md).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pystorm.errors import ComponentError, InternalError
from pystorm.state.codec import PACK_ERRORS, canonical, decode_entry
from pystorm.state.current import Current
from pystorm.state.frozen import Frozen, FrozenState, Placement
from pystorm.state.keyvalue import KeyValueState
from pystorm.topology.keygroups import key_group

_logger = logging.getLogger(__name__)

_put = dict.__setitem__


class LocalStateManager:
    """The states of one task.

    Args:
        component: id of the bolt.
        task_index: 0..tasks-1 within the component.
        keyed: whether its state belongs to key groups (`Topology.is_keyed`).
        groups: the key groups that the task owns.
        current: says which tuple is being processed.
        group_of: the key group of a tuple; used in keyed bolts only.
        max_parallelism: number of key groups.
        column: position of the field that all inputs are grouped by, if it is one field at one position; or -1.
    """

    def __init__(
        self,
        component: str,
        task_index: int,
        keyed: bool,
        groups: range,
        current: Current,
        group_of: Callable[[Any], int],
        max_parallelism: int,
        column: int = -1,
    ) -> None:
        self._column = column
        self._component = component
        self._task_scope = f"t{task_index}"
        self._keyed = keyed
        self._groups = groups
        self._current = current
        self.group_of = group_of
        self._max_parallelism = max_parallelism
        self._states: dict[str, KeyValueState[Any, Any]] = {}
        self._homes: dict[str, dict[Any, int]] = defaultdict(dict)
        self._shadowed: dict[str, dict[Any, set[int]]] = defaultdict(dict)

    def bind(self, instance: object) -> None:
        """Give a component instance its states, fresh and empty, under the names that its class declares.

        Raises:
            ComponentError: a KeyValueState was made in `__init__` instead of being declared on the class.
        """
        for name, value in getattr(instance, "__dict__", {}).items():
            if isinstance(value, KeyValueState) and not value.is_bound:
                raise ComponentError(
                    f"{self._component}: self.{name} = KeyValueState() in __init__ is not saved by checkpoints;"
                    f" declare it on the class {type(instance).__name__}: `{name} = KeyValueState()`"
                )
        self._states = {}
        self._homes.clear()
        self._shadowed.clear()
        for name, declaration in _declarations(type(instance)).items():
            state = declaration.bound(
                f"{self._component}.{name}", self._current, keyed=self._keyed, column=self._column
            )
            self._states[name] = state
            setattr(instance, name, state)

    @property
    def states(self) -> Mapping[str, KeyValueState[Any, Any]]:
        """The bound states by name."""
        return self._states

    @property
    def declared(self) -> list[str]:
        """The names of the bound states."""
        return list(self._states)

    def scopes(self) -> list[str]:
        """The scopes that belong to this task: its key groups, or itself."""
        return [str(group) for group in self._groups] if self._keyed else [self._task_scope]

    def restore(self, entries: Iterable[tuple[str, str, bytes, bytes]]) -> None:
        """Fill the states from (state, scope, key, value); call it after `bind`, before anything is written.

        Entries of states that the class no longer declares are left alone.
        """
        overlaps = 0
        for name, scope, field, data in entries:
            state = self._states.get(name)
            if state is None:
                continue
            key, value = decode_entry(field, data)
            if not self._keyed:
                _put(state, key, value)
            elif key in state:
                overlaps += 1
                self._restore_overlapping(state, name, int(scope), key, value)
            else:
                _put(state, key, value)
                self._set_home(name, key, int(scope), self._default_home(key))
        if overlaps:
            _logger.warning(
                "%s: %d keys came back from more than one key group; the one of the key's own group is kept."
                " State keys that are not made from the grouping key are not shared between tasks",
                self._component,
                overlaps,
            )

    def _restore_overlapping(self, state: Any, name: str, group: int, key: Any, value: Any) -> None:
        default = self._default_home(key)
        held = self._homes[name].get(key, default)
        shadowed = self._shadowed[name].setdefault(key, set())
        if held != default and (group == default or group < held):
            _put(state, key, value)
            self._set_home(name, key, group, default)
            shadowed.add(held)
        elif group != held:
            shadowed.add(group)

    def freeze(self) -> Frozen:
        """Fix what changed since the last freeze. For the task's thread.

        Raises:
            ComponentError: a value cannot be packed (found here only if the state holds mutable values).
        Cost: O(dirty keys); see benchmarks/state.py.
        """
        frozen = [FrozenState(self._component, name, state) for name, state in self._states.items() if state.has_dirty]
        return Frozen(self._component, frozen, self._place_keyed if self._keyed else self._place_per_task)

    def forget_changes(self) -> None:
        """For a topology without checkpoints, where the record of deleted keys would only grow."""
        for state in self._states.values():
            state.take_dirty()

    def _place_per_task(self, states: list[FrozenState]) -> Placement:
        parts: list[Any] = []
        for state in states:
            state.tuples = []
            live = [i for i in range(len(state.keys)) if i not in state.gone] if state.gone else range(len(state.keys))
            parts.append((state, live, [state.keys[index] for index in state.gone]))
        return {self._task_scope: parts}

    def _place_keyed(self, states: list[FrozenState]) -> Placement:
        placement: dict[int, list[Any]] = defaultdict(list)
        for state in states:
            for group, (live, gone) in self._place_state(state).items():
                placement[group].append((state, live, gone))
            state.tuples = []
        return {str(group): parts for group, parts in sorted(placement.items())}

    def _place_state(self, state: FrozenState) -> dict[int, tuple[list[int], list[Any]]]:
        placed: dict[int, tuple[list[int], list[Any]]] = defaultdict(lambda: ([], []))
        homes, shadowed = self._homes[state.name], self._shadowed[state.name]
        last_tup: Any = object()  # no tuple is this one
        group = -1
        defaults = [self._default_home_of(state, key) for key in state.keys]
        for index, (key, tup, default) in enumerate(zip(state.keys, state.tuples, defaults, strict=True)):
            if tup is None:  # the key itself is what the tuple was grouped by
                last_tup = None
                group = self._owned(default if canonical(key) is key else key_group([key], self._max_parallelism), key)
            elif tup is not last_tup:
                last_tup, group = tup, self._owned_group_of(tup)
            if group == default and index not in state.gone and key not in homes and key not in shadowed:
                placed[group][0].append(index)  # nearly all: the entry is where it always was
                continue
            old = {homes.get(key, default)} | shadowed.pop(key, set())
            if index not in state.gone:
                placed[group][0].append(index)
                self._set_home(state.name, key, group, default)
                old.discard(group)
            else:
                homes.pop(key, None)
            for scope in old:
                if scope in self._groups:
                    placed[scope][1].append(key)
        return placed

    def _owned_group_of(self, tup: Any) -> int:
        return self._owned(self.group_of(tup), tup)

    def _owned(self, group: int, tup: Any) -> int:
        if group not in self._groups:
            raise InternalError(
                f"{self._component}: a tuple of key group {group} was processed by a task that owns"
                f" groups {self._groups.start}..{self._groups.stop - 1}: {tup!r:.200}"
            )
        return group

    def _default_home(self, key: Any) -> int:
        return key_group([canonical(key)], self._max_parallelism)

    def _default_home_of(self, state: FrozenState, key: Any) -> int:
        try:
            return self._default_home(key)
        except PACK_ERRORS as error:
            raise state.unpackable_key(key, error) from error

    def _set_home(self, name: str, key: Any, group: int, default: int) -> None:
        if group == default:
            self._homes[name].pop(key, None)
        else:
            self._homes[name][key] = group


def _declarations(component_class: type) -> dict[str, KeyValueState[Any, Any]]:
    """The states that a class declares, base classes first; a subclass may hide one by another attribute."""
    found: dict[str, KeyValueState[Any, Any]] = {}
    for base in reversed(component_class.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, KeyValueState):
                found[name] = value
            else:
                found.pop(name, None)
    return found
