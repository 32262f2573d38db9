"""Bolts: where tuples are worked on.

Source: Storm's IBolt and IBasicBolt, pystorm 3.x (pystorm/bolt.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pystorm.components.component import Component
from pystorm.components.tuples import Tuple, is_tick
from pystorm.errors import ComponentError

if TYPE_CHECKING:
    from pystorm.topology.specs import ComponentSpec, Inputs


class Bolt(Component):
    """Receives tuples, keeps state, emits tuples. One thread calls it, one tuple at a time.

    With the three switches on, as they are by default, what is emitted inside `process` is anchored to the tuple being
    processed, the tuple is acked when `process` returns, and failed when it raises.
    """

    auto_anchor = True
    auto_ack = True
    auto_fail = True

    _ack: Callable[[Any], None]
    _fail: Callable[[Any, str], None]

    @classmethod
    def spec(
        cls,
        name: str | None = None,
        inputs: Inputs | None = None,
        par: int | Mapping[str, int] | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        args: Sequence[Any] | Mapping[str, Any] = (),
    ) -> ComponentSpec:
        """This bolt as a component of a Python topology.

        Args:
            name: the component's id; default: the name of the topology's attribute.
            inputs: specs or streams of specs (`spec["stream"]`), in a list, or mapped to their groupings; without a
                grouping an input is shuffled, a direct stream is direct.
            par: number of tasks, or one per environment; default: the class's `par`.
            config: configuration of this component alone; default: the class's `config`.
            args: constructor arguments, a list or a map by name; plain data.

        Raises:
            TopologyError: an argument is wrong; a TypeError, ValueError or KeyError too.
        """
        from pystorm.topology.specs import ComponentSpec

        return ComponentSpec(cls, name=name, inputs=inputs, par=par, config=config, args=args)

    def process(self, tup: Tuple) -> None:
        """Work on one tuple."""
        raise NotImplementedError(f"{type(self).__qualname__} must define process(tup)")

    def process_tick(self, tup: Tuple) -> None:
        """Called every `topology.tick.tuple.freq.secs`, with no current key and nothing to anchor to."""

    @staticmethod
    def is_tick(tup: Tuple) -> bool:
        """Whether a tuple is a tick."""
        return is_tick(tup)

    def emit(
        self,
        values: Sequence[Any],
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> list[int] | None:
        """Send a tuple.

        Args:
            values: as many as the stream has fields. They belong to the receiver from now on.
            stream: name of a declared stream; None is the default stream.
            anchors: tuples (or their ids) whose trees the new tuple joins. None: the tuple being processed, if
                `auto_anchor`; an empty list: none.
            direct_task: id of the receiving task, for direct streams.
            need_task_ids: return the ids of the tasks that the tuple went to.

        Raises:
            ComponentError: unknown stream, not as many values as fields, or an anchor that was acked or failed before.
        """
        result: list[int] | None = self._need_emit()(values, stream, anchors, direct_task, need_task_ids)
        return result

    def emit_many(
        self,
        rows: Iterable[Sequence[Any]],
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
    ) -> None:
        """Send many tuples with one call. Arguments and errors are those of `emit`."""
        emit = self.emit
        for values in rows:
            emit(values, stream, anchors, direct_task)

    def ack(self, tup: Any) -> None:
        """Say that a tuple (or its id) is worked off. Only with `auto_ack = False`.

        Raises:
            ComponentError: the tuple was acked or failed before, or `auto_ack` is on.
        """
        try:
            bound = self._ack
        except AttributeError:
            raise ComponentError(f"{type(self).__qualname__}.ack works only inside a running topology") from None
        bound(tup)

    def fail(self, tup: Any, reason: str = "") -> None:
        """Say that a tuple (or its id) could not be worked off; its tree fails with `reason`.

        Raises:
            ComponentError: the tuple was acked or failed before.
        """
        try:
            bound = self._fail
        except AttributeError:
            raise ComponentError(f"{type(self).__qualname__}.fail works only inside a running topology") from None
        bound(tup, reason)
