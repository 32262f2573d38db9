"""KeyValueState: a dict that knows which of its keys changed since the last checkpoint.

Theory of operation
    A bolt declares `counts = KeyValueState()` on its class. Before `initialize` the task's `LocalStateManager` puts a
    bound, empty one on the instance. Reads are dict's own C methods. A write stores the value and notes
    `_dirty[key] = tuple being processed`; a key that is in `_dirty` but no longer in the dict is a tombstone. A
    checkpoint takes `_dirty` away and leaves an empty one.

Invariants
    - Every way to change the dict passes through a method of this class, so none escapes the checkpoint.
    - The check whether a write is allowed comes before the change, so a refused write changes nothing.

What does not work
    A value changed in place (`self.seen[user].append(x)`) is a read as far as a dict can tell. Write it back, or fetch
    it with `setdefault`, which counts as a write because what it returns is usually changed next.

Source: the methods `put` and `delete` are Storm's (storm-client .../state/KeyValueState.java).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from pystorm.errors import ComponentError
from pystorm.speed import Current, DirtyDict

_K = TypeVar("_K")
_V = TypeVar("_V")

_MISSING: Any = object()


class _Unbound:
    """Stands where a bound state has its `Current`: whoever asks it for the tuple used a declaration as a state."""

    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "a KeyValueState"

    @property
    def tup(self) -> NoReturn:
        raise ComponentError(
            f"{self.name} is only a declaration, it is not bound to a task: declare it on the bolt's class"
            " (`counts = KeyValueState()`) and use it as `self.counts` from initialize() on"
        )


class KeyValueState(DirtyDict, dict[_K, _V]):
    """Keys and values that survive crashes: declare it on a Bolt's class, use it like a dict.

    Keys and values are whatever can travel in a tuple (`pystorm.values`): numbers, text, bytes, dates and times, lists,
    dicts, tuples, sets, registered classes; keys must be hashable. All come back from a recovery as what they were.

    >>> class CountBolt:
    ...     counts = KeyValueState()

    Raises:
        ComponentError: written to while only declared; written to outside `process` in a bolt whose state belongs to
            key groups (every input FIELDS-grouped), where no key says which group the entry belongs to.
    """

    # _column, _current, _dirty, _keyed and _name are DirtyDict's
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self._current: Any = _Unbound()
        self._dirty: dict[Any, Any] = {}
        self._keyed = False
        self._column = -1
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._current.name = f"{owner.__name__}.{name}"

    def __get__(self, instance: object, owner: type | None = None) -> KeyValueState[_K, _V]:
        """Reached through an instance only while that has no bound state of its own (this is no data descriptor)."""
        if instance is not None:
            raise ComponentError(
                f"{self._current.name} is not there yet: states are bound after __init__, so use it in"
                " initialize() or later"
            )
        return self

    def bound(self, name: str, current: Current, *, keyed: bool, column: int = -1) -> KeyValueState[_K, _V]:
        """A fresh, empty state for one task.

        Args:
            name: `component.state`, for messages.
            current: says which tuple is being processed.
            keyed: whether the state belongs to key groups.
            column: position of the field that all inputs are grouped by, if it is one field at one position; or -1.
        """
        state: KeyValueState[_K, _V] = type(self)()
        state._current = current
        state._keyed = keyed
        state._column = column
        state._name = name
        return state

    @property
    def is_bound(self) -> bool:
        """Whether this is a task's state, not a declaration."""
        return not isinstance(self._current, _Unbound)

    def take_dirty(self) -> dict[Any, Any]:
        """The keys written since the last call, each with the tuple of its last write; starts a new, empty record."""
        dirty = self._dirty
        self._dirty = {}
        return dirty

    def put_dirty(self, dirty: dict[Any, Any]) -> None:
        """Make this the record of what was written since the last checkpoint."""
        self._dirty = dirty

    @property
    def has_dirty(self) -> bool:
        """Whether anything was written since the last `take_dirty`."""
        return bool(self._dirty)

    def note_dirty(self, key: Any, tup: Any) -> None:
        """Take a key back from a checkpoint that failed; a later write of the same key stands."""
        self._dirty.setdefault(key, tup)

    def _writing(self) -> Any:
        """The tuple to note for a write; raises when this is no moment to write."""
        tup = self._current.tup
        if tup is None and self._keyed:
            self._refuse()
        return tup

    def _refuse(self) -> NoReturn:
        raise ComponentError(
            f"{self._name}: written outside process(), where no tuple says which key the entry belongs to; this bolt's"
            " inputs are all FIELDS-grouped, so its state moves with those keys. Write it while processing a tuple;"
            " reading and iterating is fine at any time"
        )

    # The one hot method, __setitem__, is DirtyDict's, compiled where possible: in Python nearly all of its cost is
    # CPython entering a Python function from a C slot. Against a plain dict: see benchmarks/state.py.

    def put(self, key: _K, value: _V) -> None:
        """Set a key (Storm's name for it)."""
        self[key] = value

    def delete(self, key: _K) -> None:
        """Remove a key; nothing happens if it is not there (Storm's meaning, unlike `del`)."""
        tup = self._writing()
        if super().pop(key, _MISSING) is not _MISSING:
            self._dirty[key] = tup

    def pop(self, key: _K, default: Any = _MISSING) -> Any:
        """dict.pop."""
        tup = self._writing()
        value = super().pop(key, _MISSING)
        if value is not _MISSING:
            self._dirty[key] = tup
        elif default is _MISSING:
            raise KeyError(key)
        else:
            value = default
        return value

    def popitem(self) -> tuple[_K, _V]:
        """dict.popitem."""
        tup = self._writing()
        item = super().popitem()
        self._dirty[item[0]] = tup
        return item

    def clear(self) -> None:
        """dict.clear: every key becomes a tombstone."""
        self._dirty.update(dict.fromkeys(self, self._writing()))
        super().clear()

    def setdefault(self, key: _K, default: Any = None) -> Any:
        """dict.setdefault; always counts as a write, because what it returns is usually changed in place next."""
        tup = self._writing()
        value = super().setdefault(key, default)
        self._dirty[key] = tup
        return value

    def update(self, *args: Any, **kwargs: Any) -> None:
        """dict.update."""
        tup = self._writing()
        changes: dict[Any, Any] = dict(*args, **kwargs)
        super().update(changes)
        self._dirty.update(dict.fromkeys(changes, tup))

    def __ior__(  # type: ignore[override,misc]
        self, other: Mapping[_K, _V] | Iterable[tuple[_K, _V]]
    ) -> KeyValueState[_K, _V]:
        self.update(other)
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise ComponentError(
            f"{self._name or self._current.name} cannot be pickled or deep-copied; copy it with dict()"
        )
