"""Spouts: where tuples come from.

`Spout` is Storm's: message ids, `ack` and `fail`. `ReliableSpout` adds replay from memory. `ReplayableSpout` reads
sources that can be read again from a position; it is what exactly-once needs.

Source: Storm's ISpout, pystorm 3.x (pystorm/spout.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pystorm.components.component import Component
from pystorm.errors import ComponentError

if TYPE_CHECKING:
    from pystorm.topology.specs import ComponentSpec


class Spout(Component):
    """A source of tuples. `next_tuple` is called again and again by one thread; it must not block for long."""

    @classmethod
    def spec(
        cls,
        name: str | None = None,
        par: int | Mapping[str, int] | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        args: Sequence[Any] | Mapping[str, Any] = (),
    ) -> ComponentSpec:
        """This spout as a component of a Python topology.

        Args:
            name: the component's id; default: the name of the topology's attribute.
            par: number of tasks, or one per environment; default: the class's `par`.
            config: configuration of this component alone; default: the class's `config`.
            args: constructor arguments, a list or a map by name; plain data.

        Raises:
            TopologyError: an argument is wrong; a TypeError, ValueError or KeyError too.
        """
        from pystorm.topology.specs import ComponentSpec

        return ComponentSpec(cls, name=name, par=par, config=config, args=args)

    def next_tuple(self) -> None:
        """Emit none, one or many tuples."""
        raise NotImplementedError(f"{type(self).__qualname__} must define next_tuple")

    def ack(self, tup_id: Any) -> None:
        """The tree of message `tup_id` is complete, and with checkpoints on a committed checkpoint covers it."""

    def fail(self, tup_id: Any, reason: str = "") -> None:
        """The tree of message `tup_id` failed. May also be written `fail(self, tup_id)`."""

    def activate(self) -> None:
        """Called before the first `next_tuple` and when the topology is activated again."""

    def deactivate(self) -> None:
        """Called when the topology stops asking for tuples."""

    def finish(self) -> None:
        """Say that this task has no more input. `next_tuple` is not called again unless a rollback seeks back."""
        self._finish()

    def _finish(self) -> None:
        raise ComponentError(f"{type(self).__qualname__}.finish works only inside a running topology")

    def emit(
        self,
        values: Sequence[Any],
        tup_id: Any = None,
        stream: str | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> list[int] | None:
        """Send a tuple.

        Args:
            values: as many as the stream has fields. They belong to the receiver from now on.
            tup_id: message id, any value but None; with it the tuple tree is tracked, without it only sent.
            stream: name of a declared stream; None is the default stream.
            direct_task: id of the receiving task, for direct streams.
            need_task_ids: return the ids of the tasks that the tuple went to.

        Raises:
            ComponentError: unknown stream, or not as many values as fields.
        """
        result: list[int] | None = self._need_emit()(values, tup_id, stream, direct_task, need_task_ids)
        return result


class ReliableSpout(Spout):
    """A spout that keeps what it emitted in memory and emits it again when it failed.

    A subclass that defines `ack`, `fail` or `emit` calls super().
    """

    #: How often a message is emitted again before it is given up (logged, and treated as acked).
    max_fails = 3
    #: while the worker gives back what was in flight when the topology went back to a checkpoint
    _is_rolling_back = False

    @property
    def unacked_tuples(self) -> dict[Any, tuple[Any, ...]]:
        """Arguments of every emit whose tree is open, by message id."""
        found: dict[Any, tuple[Any, ...]] = self.__dict__.setdefault("_unacked_tuples", {})
        return found

    @property
    def failed_tuples(self) -> dict[Any, int]:
        """How often each open message has failed."""
        found: dict[Any, int] = self.__dict__.setdefault("_failed_tuples", Counter())
        return found

    def emit(
        self,
        values: Sequence[Any],
        tup_id: Any = None,
        stream: str | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> list[int] | None:
        """As `Spout.emit`; `tup_id` is required."""
        if tup_id is None:
            raise ComponentError(f"{type(self).__qualname__}.emit needs a tup_id: a reliable spout replays by it")
        self.unacked_tuples[tup_id] = (_copied(values), stream, direct_task, need_task_ids)
        result: list[int] | None = self._need_emit()(values, tup_id, stream, direct_task, need_task_ids)
        return result

    def ack(self, tup_id: Any) -> None:
        """Forget the message."""
        self.failed_tuples.pop(tup_id, None)
        self.unacked_tuples.pop(tup_id, None)

    def fail(self, tup_id: Any, reason: str = "") -> None:
        """Emit the message again, at most `max_fails` times. What a rollback gives back does not count as a failure."""
        fails = self.failed_tuples.get(tup_id, 0) + (not self._is_rolling_back)
        saved = self.unacked_tuples.get(tup_id)
        if saved is None:
            self.logger.error("received fail for the unknown message %r", tup_id)
            return
        if fails > self.max_fails:
            self.logger.warning("message %r failed %d times, giving up: %s", tup_id, fails, reason)
            self.ack(tup_id)
            return
        if fails:
            self.failed_tuples[tup_id] = fails
        values, stream, direct_task, need_task_ids = saved
        self.emit(values, tup_id, stream, direct_task, need_task_ids)


def _copied(values: Any) -> Any:
    """The values as they are now; the receiver may change the list."""
    return list(values) if isinstance(values, (list, tuple)) else values


class ReplayableSpout(Spout):
    """A spout over a source that can be read again from a position, such as a file, a log or a queue with offsets.

    The framework keeps the position of every partition in its checkpoints, spreads the partitions over the tasks, and
    after a rollback calls `seek` with the committed position. A position says how far the source was read once the
    tuple was emitted, so that reading on from it gives the next tuple.
    """

    def partitions(self) -> list[str]:
        """Names of the source's partitions. Called after `initialize`; every task must give the same list."""
        return [""]

    def seek(self, partition: str, position: Any) -> None:
        """Read `partition` from `position` on; None: the start. Called after `initialize` and every rollback."""
        raise NotImplementedError(f"{type(self).__qualname__} must define seek(partition, position)")

    def committed(self, partition: str, position: Any) -> None:
        """A checkpoint that covers everything up to `position` was committed; the source may forget it."""

    def emit(  # type: ignore[override]
        self, values: Sequence[Any], *, position: Any, partition: str = "", stream: str | None = None
    ) -> None:
        """Send a tuple and say how far the source is read.

        Args:
            values: as many as the stream has fields.
            position: any msgpack value.
            partition: one of `partitions()`.
            stream: name of a declared stream; None is the default stream.

        Raises:
            ComponentError: unknown stream, or not as many values as fields.
        """
        self._need_emit()(values, position=position, partition=partition, stream=stream)
