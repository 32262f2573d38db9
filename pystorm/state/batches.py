"""Whose state it is when several tuples are processed together.

Theory of operation. In a bolt whose state belongs to key groups, a write is noted with the tuple that it was made for.
If all the tuples of a batch are of one key group, any of them will do. If not, a write is noted with a marker, and when
the batch is through, each key that was written is looked up among the grouping keys of the batch's tuples.

Invariants: after a batch no marker is left, so every entry's key group is that of a tuple of this task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pystorm.components.tuples import Tuple
from pystorm.errors import ComponentError
from pystorm.speed import Current
from pystorm.state.keyvalue import KeyValueState
from pystorm.state.local import LocalStateManager


class BatchWrites:
    """Gives the writes of batches their tuples.

    Args:
        manager: the task's states.
        current: says which tuple is being processed.
        keys_of: the values of the grouping fields, from a tuple's component, stream and values; None if the state does
            not belong to key groups.
    """

    def __init__(
        self,
        manager: LocalStateManager,
        current: Current,
        keys_of: Callable[[str, str, Any], Sequence[Any]] | None,
    ) -> None:
        self._manager = manager
        self._current = current
        self._keys_of = keys_of

    @contextmanager
    def by(self, tups: list[Tuple]) -> Iterator[None]:
        """Inside, what is written is written for these tuples.

        Raises:
            ComponentError: at the end, if a key was written of which nothing says whose it is.
        Cost: O(tuples) in a bolt with keyed states, besides what the batch does.
        """
        if not self._is_mixed(tups):
            self._current.tup = tups[0]
            yield
            return
        self._current.tup = marker = Tuple(*tups[0])
        before = {name: state.take_dirty() for name, state in self._manager.states.items()}
        unknown: list[tuple[str, Any]] = []
        try:
            yield
        finally:
            for name, state in self._manager.states.items():
                unknown += [(name, key) for key in self._resolve(state, before[name], marker, tups)]
        if unknown:
            name, key = unknown[0]
            raise ComponentError(
                f"state {name!r}: key {key!r:.200} was written in a batch whose tuples belong to several key "
                "groups, and it is the grouping key of none of them; let group_key return the grouping field, so that "
                "each batch holds one key, or write under the grouping key"
            )

    def _is_mixed(self, tups: list[Tuple]) -> bool:
        if self._keys_of is None or len(tups) == 1 or not self._manager.states:
            return False
        return len(set(map(self._manager.group_of, tups))) > 1

    def _resolve(
        self, state: KeyValueState[Any, Any], before: dict[Any, Any], marker: Tuple, tups: list[Tuple]
    ) -> list[Any]:
        """Give what a batch wrote into a state its tuples; returns the keys that are no tuple's."""
        dirty = state.take_dirty()
        marked = [key for key, tup in dirty.items() if tup is marker]
        owners = self._owners(tups) if marked else {}
        for key in marked:
            dirty[key] = owners.get(key, tups[0])
        before.update(dirty)
        state.put_dirty(before)
        return [key for key in marked if key not in owners]

    def _owners(self, tups: list[Tuple]) -> dict[Any, Tuple]:
        """The tuples by grouping key: the field's value, or a tuple of several fields' values."""
        keys_of = self._keys_of
        assert keys_of is not None
        owners: dict[Any, Tuple] = {}
        for tup in tups:
            values = keys_of(str(tup.component), str(tup.stream), tup.values)
            with suppress(TypeError):  # what cannot be hashed, such as a list, is no state's key either
                owners[values[0] if len(values) == 1 else tuple(values)] = tup
        return owners
