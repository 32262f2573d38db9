"""What spouts and bolts share.

A component is created by its worker from the class and arguments in the topology file. The worker then attaches a
runtime (names, logger, emit functions) and calls `initialize`. A subclass need not call `super().__init__()`: nothing
here depends on it.

Source: pystorm 3.x (pystorm/component.py), Storm's IComponent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from pystorm.components.stream import Stream
from pystorm.errors import ComponentError


class Component:
    """Base of `Spout` and `Bolt`."""

    #: Field names of the default stream, or `Stream` objects.
    outputs: ClassVar[Sequence[str] | Sequence[Stream]] = []

    #: Number of tasks in a Python topology whose `spec` does not say; or one per environment, by name.
    par: ClassVar[int | Mapping[str, int]] = 1
    #: Configuration of this component in a Python topology whose `spec` does not say.
    config: ClassVar[Mapping[str, Any] | None] = None

    #: Name of the running topology.
    topology_name: str = ""
    #: Id of this task: unique in the topology, from 1.
    task_id: int = 0
    #: The component's id in the topology file.
    component_name: str = ""
    #: The topology's configuration with the component's own on top.
    conf: Mapping[str, Any] = {}
    #: `conf` by its name in pystorm 3.x
    storm_conf: Mapping[str, Any] = {}
    #: Storm's topology context as a map: task ids, component names, streams and fields.
    context: Mapping[str, Any] = {}
    #: Logs to this task's file; warnings also to the console.
    logger: logging.Logger = logging.getLogger("pystorm.unattached")
    #: `topology.debug`
    debug: bool = False
    #: Process id of the worker.
    pid: int = 0

    _emit: Callable[..., Any]
    _report_error: Callable[[Any, BaseException], Any] | None = None
    _report_metric: Callable[[str, Any], None] | None = None

    @classmethod
    def spec(cls, *args: Any, **kwargs: Any) -> Any:
        """Only spouts and bolts can be components of a topology.

        Raises:
            TopologyError: always; a TypeError too.
        """
        from pystorm.topology.specs import ComponentSpec

        return ComponentSpec(cls)

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        """Called once before any tuple, after state was restored. Open files and connections here."""

    def cleanup(self) -> None:
        """Called when the task ends in an orderly way, and when a rollback replaces the instance. Not after a crash."""

    def raise_exception(self, exception: BaseException, tup: Any = None) -> None:
        """Report an exception as one that `process` raised, and go on: logged with its traceback, and counted.

        Args:
            tup: the tuple that it has to do with, to be shown. It is neither acked nor failed by this.
        """
        if self._report_error is None:
            raise ComponentError(f"{type(self).__qualname__}: raise_exception works only inside a running topology")
        self._report_error(tup, exception)

    @staticmethod
    def is_heartbeat(tup: Any) -> bool:
        """Whether a tuple is one of Storm's heartbeats: never here, where processes are watched otherwise."""
        return bool(tup.task == -1 and tup.stream == "__heartbeat")

    def run(self) -> None:
        """Storm starts a component's process so; here the topology is started instead."""
        raise ComponentError(
            f"{type(self).__qualname__}.run: components do not run by themselves; name the class in a topology and "
            "start that: pystorm run TOPOLOGY"
        )

    def report_metric(self, name: str, value: Any) -> None:
        """Add a value to the component's metric `name`; numbers are summed, other values replace the last one."""
        if self._report_metric is None:
            raise ComponentError(f"{type(self).__qualname__}: report_metric works only inside a running topology")
        self._report_metric(name, value)

    def log(self, message: str, level: str | None = None) -> None:
        """Log a line, as `self.logger` does. Levels: trace, debug, info, warn, warning, error, critical."""
        levels = {"trace": 10, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "critical": 50}
        self.logger.log(levels.get((level or "info").lower(), 20), message)

    def _need_emit(self) -> Callable[..., Any]:
        try:
            return self._emit
        except AttributeError:
            raise ComponentError(
                f"{type(self).__qualname__}.emit works only inside a running topology (not in __init__)"
            ) from None
