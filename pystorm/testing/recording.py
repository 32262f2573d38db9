"""What the tasks of a run emitted, kept as the state is kept: what a rollback undoes is forgotten.

Theory of operation: when a task was built, its emit functions are wrapped (`tap`), so the topology under test is the
one in the file, with no component added. A task's rows are marked at every barrier; after a recovery they are cut back
to the mark of the committed checkpoint, as its state was.

What does not work: emits inside `initialize` are not seen, because it runs while the task is built.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pystorm.components.stream import DEAD_LETTER_STREAM, DEFAULT_STREAM
from pystorm.worker.bolt_executor import BoltExecutor
from pystorm.worker.spout_executor import SpoutExecutor

#: Values that nobody can change after they were emitted.
_FIXED = (str, int, float, bool, bytes, type(None))

#: Mark of an emit function that is recorded already.
_TAPPED = "_pystorm_is_recorded"

Row = list[Any]
#: (stream, values) -> None
Note = Callable[[str | None, Any], None]


class Recording:
    """The rows of every task, by stream, in the order in which they were emitted."""

    def __init__(self) -> None:
        self._order = itertools.count()
        #: task id -> (number in the whole run, stream, values)
        self._rows: dict[int, list[tuple[int, str, Row]]] = {}
        self._marks: dict[tuple[int, int], int] = {}
        #: tasks of spouts that cannot seek back; while their worker lives, a rollback leaves them as they are
        self.plain_spouts: set[int] = set()

    def rows_of(self, tasks: Iterable[int]) -> list[tuple[str, Row]]:
        """(stream, values) of everything that some tasks emitted."""
        found = sorted(row for task in tasks for row in self._rows.get(task, []))
        return [(stream, values) for _, stream, values in found]

    def mark(self, task: int, epoch: int) -> None:
        """The barrier of a checkpoint has reached a task."""
        self._marks[task, epoch] = len(self._rows.get(task, []))

    def back_to(self, task: int, epoch: int) -> None:
        """A task goes back to a committed checkpoint; 0: to the start."""
        del self._rows.setdefault(task, [])[self._marks.get((task, epoch), 0) :]
        for marked, later in list(self._marks):
            if marked == task and later > epoch:
                del self._marks[marked, later]

    def tap(self, executor: BoltExecutor | SpoutExecutor) -> None:
        """Record what the component of an executor emits from now on."""
        component: Any = executor.bolt if isinstance(executor, BoltExecutor) else executor.spout
        # where `stream` stands when it is not given by name: Bolt.emit(values, stream), Spout.emit(values, id, stream)
        position = 0 if isinstance(executor, BoltExecutor) else 1
        note = self._noter(executor.task.id)
        if isinstance(executor, SpoutExecutor) and not executor.is_replayable:
            self.plain_spouts.add(executor.task.id)
        attached = vars(component)
        if "emit" in attached:
            attached["emit"] = _tapped(attached["emit"], note, position)
        if "emit_many" in attached:
            attached["emit_many"] = _tapped_many(attached["emit_many"], note)
        component._emit = _tapped(component._emit, note, position)
        _tap_dead_letters(executor, note)

    def _noter(self, task: int) -> Note:
        rows = self._rows.setdefault(task, [])
        order = self._order

        def note(stream: str | None, values: Any) -> None:
            kept = [value if type(value) in _FIXED else copy.deepcopy(value) for value in values]
            rows.append((next(order), stream or DEFAULT_STREAM, kept))

        return note


def _tapped(emit: Callable[..., Any], note: Note, position: int) -> Callable[..., Any]:
    if hasattr(emit, _TAPPED):  # the spout lives on from the generation before
        return emit

    def tapped(values: Any, *args: Any, **kwargs: Any) -> Any:
        found = emit(values, *args, **kwargs)
        stream = kwargs["stream"] if "stream" in kwargs else args[position] if len(args) > position else None
        if stream != DEAD_LETTER_STREAM:  # that one is seen where it is placed
            note(stream, values)
        return found

    setattr(tapped, _TAPPED, True)
    return tapped


def _tapped_many(emit_many: Callable[..., Any], note: Note) -> Callable[..., Any]:
    def tapped(rows: Iterable[Any], stream: str | None = None, *args: Any, **kwargs: Any) -> Any:
        return emit_many(noted(rows, stream), stream, *args, **kwargs)

    def noted(rows: Iterable[Any], stream: str | None) -> Iterator[Any]:
        for values in rows:
            yield values
            note(stream, values)  # whoever asks for the next one has sent this one

    return tapped


def _tap_dead_letters(executor: Any, note: Note) -> None:
    """Dead letters are emitted by the executor, not by the component."""
    place = executor.outbox.place

    def tapped(values: Any, stream: str | None, *args: Any) -> Any:
        found = place(values, stream, *args)
        if stream == DEAD_LETTER_STREAM:
            note(stream, values)
        return found

    executor.outbox.place = tapped
