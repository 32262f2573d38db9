"""Puts the tasks of a worker together: component instance, state, executor, outbox, log.

A bolt is created anew in every generation, with its state as of the last committed checkpoint. A spout whose worker
lives on is kept: a plain spout remembers what it has in flight, and a replayable one is told to seek back.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from pystorm.components.batching import BatchingBolt
from pystorm.components.bolt import Bolt
from pystorm.components.component import Component
from pystorm.components.spout import ReplayableSpout, Spout
from pystorm.components.stream import DEFAULT_STREAM
from pystorm.errors import ComponentError, ConfigError
from pystorm.registered import set_type_importer
from pystorm.speed import Current
from pystorm.state.batches import BatchWrites
from pystorm.state.local import LocalStateManager
from pystorm.state.record import CheckpointRecord
from pystorm.state.store import CheckpointStore
from pystorm.topology.config import Guarantee, Settings
from pystorm.topology.keygroups import groups_of_task, key_group
from pystorm.topology.plan import Plan, Task
from pystorm.values import PACK_ERRORS, allow_pickle, pack, unpack
from pystorm.worker.aligner import BarrierAligner
from pystorm.worker.batch_executor import DEFAULT_TICK_S, BatchExecutor
from pystorm.worker.bolt_executor import BoltExecutor, Services
from pystorm.worker.build import Builder, build_context, import_components
from pystorm.worker.channels import EdgeIds, InStream, OutBuffer
from pystorm.worker.emitters import build_bolt_emit
from pystorm.worker.ledger import AckLedger
from pystorm.worker.outbox import AddEdges, MessageTooLarge, Outbox
from pystorm.worker.runtime import Runtime
from pystorm.worker.spout_executor import SpoutExecutor, SpoutServices

LoggerOf = Callable[[str, Settings], logging.Logger]


class AllServices(Services, SpoutServices, Protocol):
    """Everything that executors may ask of the worker process."""

    def spout_unpackable(self, executor: SpoutExecutor, root: Any, reason: str) -> None:
        """A spout emitted values that cannot travel."""


class TaskFactory:
    """Builds the tasks of one worker; lives as long as the worker process."""

    def __init__(self, plan: Plan, settings: Settings, services: AllServices, logger_of: LoggerOf) -> None:
        self.plan = plan
        self.settings = settings
        self._services = services
        self._logger_of = logger_of
        self._builder = Builder(plan.topology)
        allow_pickle(settings.falls_back_on_pickle)
        set_type_importer(partial(import_components, plan.topology))
        self._edge_ids = EdgeIds()
        self._in_streams = [InStream(info) for info in plan.streams]
        self._spouts: dict[int, SpoutExecutor] = {}
        self.managers: dict[int, LocalStateManager] = {}

    # -- spouts ------------------------------------------------------------------------------------------------

    def spout(self, task: Task, runtime: Runtime, *, has_checkpoints: bool) -> tuple[SpoutExecutor, bool]:
        """The executor of a spout task, with an outbox for this generation; returns (executor, whether it is new)."""
        executor = self._spouts.get(task.id)
        is_new = executor is None
        settings = self._settings_of(task)
        if executor is None:
            spout = self._build(task, Spout)
            executor = SpoutExecutor(
                task,
                spout,
                self.plan,
                settings,
                self._services,
                has_checkpoints=has_checkpoints,
                ledger=AckLedger(task.id),
                logger=self._logger_of(task.label, settings),
            )
            self._spouts[task.id] = executor
        executor.outbox = self._outbox(
            task, runtime, settings, executor.ledger.add_edges, self._on_spout_unpackable(executor)
        )
        executor.spout._emit = executor.build_emit()
        if type(executor.spout).emit in (Spout.emit, ReplayableSpout.emit):
            executor.spout.emit = executor.spout._emit  # type: ignore[method-assign]
        if is_new:
            self._attach(executor.spout, executor, settings)
            executor.spout._finish = lambda: setattr(executor, "is_finished", True)  # type: ignore[method-assign]
            executor.spout.initialize(executor.spout.conf, executor.spout.context)
        return executor, is_new

    def restore_spout(self, executor: SpoutExecutor, record: CheckpointRecord | None, store: Any, reason: str) -> None:
        """Bring a spout to the committed checkpoint."""
        task = executor.task
        pending: list[Any] = []
        positions: dict[str, Any] = {}
        if record is not None and executor.is_replayable:
            positions = dict(record.positions.get(task.component, {}))
            for index, snapshot in self._snapshots(task, record, store):
                if index % len(self.plan.tasks_of[task.component]) == task.index:
                    pending += snapshot.get("pending", [])
        executor.restore(positions, pending, reason)

    # -- bolts -------------------------------------------------------------------------------------------------

    def bolt(
        self, task: Task, runtime: Runtime, record: CheckpointRecord | None, store: CheckpointStore | None
    ) -> BoltExecutor:
        """A new bolt with its committed state, and its executor."""
        settings = self._settings_of(task)
        logger = self._logger_of(task.label, settings)
        current = Current()
        bolt = self._build(task, Bolt)
        manager = self._manager(task, current)
        manager.bind(bolt)
        if manager.declared and record is not None and store is not None:
            manager.restore(store.load(task.component, manager.declared, manager.scopes()))
        self.managers[task.id] = manager
        sources = self.plan.input_tasks_of(task.component)
        options: dict[str, Any] = {
            "streams": self._in_streams,
            "sources": sources,
            "aligner": BarrierAligner(sources, hold=settings.guarantee is Guarantee.EXACTLY_ONCE),
            "current": current,
            "services": self._services,
            "on_error": settings.bolt_on_error,
            "tick_freq_s": settings.tick_freq_s,
            "window": settings.channel_credits,
            "logger": logger,
        }
        executor = self._bolt_executor(task, bolt, manager, options)
        executor.attach(self._outbox(task, runtime, settings, executor.add_edges, self._on_bolt_unpackable(executor)))
        self._attach(bolt, executor, settings)
        _bind_calls(bolt, executor)
        switches = bolt.auto_ack, bolt.auto_anchor
        bolt.initialize(bolt.conf, bolt.context)
        if switches != (bolt.auto_ack, bolt.auto_anchor):
            executor.take_switches()
            _bind_calls(bolt, executor)
        return executor

    def _bolt_executor(
        self, task: Task, bolt: Bolt, manager: LocalStateManager, options: dict[str, Any]
    ) -> BoltExecutor:
        if not isinstance(bolt, BatchingBolt):
            return BoltExecutor(task, bolt, **options)
        if options["tick_freq_s"] is None and bolt.secs_between_batches is None:
            options["tick_freq_s"] = DEFAULT_TICK_S
        keys_of = self._keys_of(task.component) if self.plan.topology.is_keyed(task.component) else None
        return BatchExecutor(task, bolt, writes=BatchWrites(manager, options["current"], keys_of), **options)

    def redeliver_held(self, executor: BoltExecutor, record: CheckpointRecord | None, store: Any) -> None:
        """Give the tuples that the checkpoint kept for a bolt back to it."""
        if record is None:
            return
        task = executor.task
        tasks = len(self.plan.tasks_of[task.component])
        is_keyed = self.plan.topology.is_keyed(task.component)
        group_of = self._group_of(task.component)
        mine = groups_of_task(task.index, tasks, self.settings.max_parallelism)
        for index, snapshot in self._snapshots(task, record, store):
            for component, stream, source, row in snapshot.get("held", []):
                info = self.plan.stream_of.get((component, stream))
                if info is None:
                    continue
                is_mine = group_of(component, stream, row) in mine if is_keyed else index % tasks == task.index
                if is_mine:
                    executor.redeliver(component, self._in_streams[info.index], source, row)

    def snapshot_of(self, executor: BoltExecutor) -> bytes | None:
        """The tuples that a bolt still holds, for the checkpoint; None if there are none.

        Only exactly-once needs them: in at-least-once the spout keeps every message whose tree is open.
        """
        if self.settings.guarantee is not Guarantee.EXACTLY_ONCE or not executor.inflight:
            return None
        held = [[h.tup.component, h.tup.stream, h.tup.task, list(h.tup.values)] for h in executor.inflight.values()]
        tuples = [(h.tup.component, h.tup.stream, h.tup.values) for h in executor.inflight.values()]
        return self._pack_snapshot({"held": held}, tuples)

    def pack_pending(self, executor: SpoutExecutor, pending: list[list[Any]]) -> bytes | None:
        """The messages that a spout has open, for the checkpoint; None if there are none.

        Raises:
            ComponentError: values that were only ever handed over in memory cannot be packed.
        """
        if not pending:
            return None
        tuples = [(executor.task.component, entry[1] or DEFAULT_STREAM, entry[0]) for entry in pending]
        return self._pack_snapshot({"pending": pending}, tuples)

    def _pack_snapshot(self, snapshot: dict[str, Any], tuples: list[tuple[Any, Any, Any]]) -> bytes:
        try:
            return pack(snapshot)
        except PACK_ERRORS as error:
            for component, stream, values in tuples:
                for name, value in zip(self.plan.stream_of[component, stream].fields, values):
                    if not _is_packable(value):
                        raise ComponentError(
                            f"component {component!r}, stream {stream!r}: the value of field {name!r} cannot be saved "
                            f"by a checkpoint that finds its tuple in flight: {error}"
                        ) from error
            raise

    # -- parts -------------------------------------------------------------------------------------------------

    def _settings_of(self, task: Task) -> Settings:
        return self.settings.for_component(self.plan.topology.components[task.component].config)

    def _build(self, task: Task, kind: type[Any]) -> Any:
        spec = self.plan.topology.components[task.component].spec
        built = self._builder.build(spec)
        if not isinstance(built, kind):
            raise ConfigError(f"component {task.component!r}: class {spec.class_name!r} is no {kind.__name__}")
        return built

    def _attach(self, component: Component, executor: BoltExecutor | SpoutExecutor, settings: Settings) -> None:
        task = executor.task
        declared = self.plan.topology.components[task.component]
        component.topology_name = self.plan.topology.name
        component.task_id = task.id
        component.component_name = task.component
        component.conf = {
            **self.plan.topology.config,
            **declared.config,
            "topology.name": self.plan.topology.name,
        }
        component.context = build_context(self.plan, task)
        component.storm_conf = component.conf
        component.logger = executor.logger
        component._report_metric = executor.metrics.report
        reporter: Any = executor  # a spout's has what this needs of a bolt's: task and logger
        component._report_error = partial(self._services.user_error, reporter)
        component.debug = settings.debug
        component.pid = os.getpid()

    def _manager(self, task: Task, current: Current) -> LocalStateManager:
        tasks = len(self.plan.tasks_of[task.component])
        by_row = self._group_of(task.component)
        return LocalStateManager(
            task.component,
            task.index,
            self.plan.topology.is_keyed(task.component),
            groups_of_task(task.index, tasks, self.settings.max_parallelism),
            current,
            lambda tup: by_row(tup.component, tup.stream, tup.values),
            self.settings.max_parallelism,
            self._grouping_column(task.component),
        )

    def _grouping_column(self, component: str) -> int:
        """The position of the one field that all inputs of a bolt are grouped by; -1 if there is no such thing."""
        found = {
            tuple(self.plan.stream_of[edge.source, edge.stream].fields.index(name) for name in edge.grouping.fields)
            for edge in self.plan.topology.inputs_of(component)
        }
        columns = found.pop() if len(found) == 1 else ()
        return columns[0] if len(columns) == 1 else -1

    def _keys_of(self, component: str) -> Callable[[str, str, Any], list[Any]]:
        """The values of the grouping fields of a tuple that came to a keyed bolt."""
        columns: dict[tuple[str, str], list[int]] = {}
        for edge in self.plan.topology.inputs_of(component):
            info = self.plan.stream_of[edge.source, edge.stream]
            columns[edge.source, edge.stream] = [info.fields.index(name) for name in edge.grouping.fields]
        return lambda source, stream, row: [row[column] for column in columns[source, stream]]

    def _group_of(self, component: str) -> Callable[[str, str, Any], int]:
        """The key group of a tuple that came to a keyed bolt, from its component, stream and values."""
        keys_of = self._keys_of(component)
        groups = self.settings.max_parallelism
        return lambda source, stream, row: key_group(keys_of(source, stream, row), groups)

    def _snapshots(self, task: Task, record: CheckpointRecord, store: CheckpointStore) -> list[tuple[int, Any]]:
        found = []
        for index in range(record.tasks.get(task.component, 0)):
            data = store.read_snapshot(record.epoch, f"{task.component}-{index}")
            if data is not None:
                found.append((index, unpack(data)))
        return found

    def _outbox(
        self,
        task: Task,
        runtime: Runtime,
        settings: Settings,
        add_edges: AddEdges,
        on_unpackable: Callable[[OutBuffer, Any, Any, Exception], None],
    ) -> Outbox:
        return Outbox(
            self.plan,
            task,
            runtime,
            self._edge_ids,
            is_tracked=settings.guarantee is not Guarantee.AT_MOST_ONCE,
            batch_size=settings.batch_size,
            window=settings.channel_credits,
            add_edges=add_edges,
            on_unpackable=on_unpackable,
            max_bytes=settings.message_max_bytes,
            build_custom=lambda edge: self._builder.build(edge.grouping.custom) if edge.grouping.custom else None,
        )

    def _on_bolt_unpackable(self, executor: BoltExecutor) -> Callable[[OutBuffer, Any, Any, Exception], None]:
        def on_unpackable(buffer: OutBuffer, row: Any, root: Any, error: Exception) -> None:
            problem = ComponentError(unpackable_text(executor.task, buffer, row, error))
            reason = self._services.user_error(executor, None, problem)
            executor.failed += 1
            executor.fail_roots(root, reason)

        return on_unpackable

    def _on_spout_unpackable(self, executor: SpoutExecutor) -> Callable[[OutBuffer, Any, Any, Exception], None]:
        def on_unpackable(buffer: OutBuffer, row: Any, root: Any, error: Exception) -> None:
            executor.drop_unsendable(root)
            self._services.spout_unpackable(executor, root, unpackable_text(executor.task, buffer, row, error))

        return on_unpackable


def _bind_calls(bolt: Bolt, executor: BoltExecutor) -> None:
    """Put the executor's functions where the bolt's calls find them without a detour, unless the class has its own."""
    bolt._emit = build_bolt_emit(executor)
    bolt._ack, bolt._fail = executor.ack_by_user, executor.fail
    fast = executor.outbox.fast_emit
    for name in ("emit", "ack", "fail"):
        if getattr(type(bolt), name) is getattr(Bolt, name):
            setattr(bolt, name, getattr(bolt, f"_{name}"))
    vars(bolt).pop("emit_many", None)
    if fast is not None and type(bolt).emit_many is Bolt.emit_many and type(bolt).emit is Bolt.emit:
        bolt.emit_many = fast.emit_many  # type: ignore[method-assign]


def _is_packable(value: Any) -> bool:
    try:
        pack(value)
    except PACK_ERRORS:
        return False
    return True


def unpackable_text(task: Task, buffer: OutBuffer, row: Any, error: Exception) -> str:
    """Which field of an emitted tuple cannot be packed, and why."""
    values = [row] if len(buffer.fields) == 1 else row
    if isinstance(error, MessageTooLarge):
        sizes = {name: len(pack(value)) for name, value in zip(buffer.fields, values)}
        largest = max(sizes, key=sizes.__getitem__)
        return (
            f"component {task.component!r}, stream {buffer.stream_name!r}: a tuple is too large to be sent to another "
            f"worker: {error}; the value of field {largest!r} takes {sizes[largest]} of them"
        )
    for name, value in zip(buffer.fields, values):
        try:
            pack(value)
        except PACK_ERRORS as field_error:
            return (
                f"component {task.component!r}, stream {buffer.stream_name!r}: the value of field {name!r} cannot be "
                f"sent to another worker: {field_error}"
            )
    return f"component {task.component!r}, stream {buffer.stream_name!r}: {error}"
