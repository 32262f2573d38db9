"""From a topology file to a finished run: load, check, lay out, lock, start, run, clean up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pystorm.components import ReplayableSpout, streams_of
from pystorm.controller.compatibility import check_compatible
from pystorm.controller.controller import Controller
from pystorm.controller.datadir import DataDirectory
from pystorm.controller.launcher import Launcher
from pystorm.controller.signals import StopSignals
from pystorm.controller.statebackend import StateBackend
from pystorm.controller.status import Observer, RunResult
from pystorm.state.keyvalue import KeyValueState
from pystorm.topology.classes import find_class, importing_from
from pystorm.topology.config import Settings
from pystorm.topology.loading import load_checked
from pystorm.topology.model import Topology
from pystorm.topology.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What `pystorm run` was asked to do."""

    file: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    data_dir: Path = Path(".pystorm")
    duration_s: float | None = None
    #: forget what earlier runs left
    fresh: bool = False


def classes_of(topology: Topology) -> dict[str, type]:
    """The class of every component."""
    with importing_from(topology.directory):
        return {c.id: find_class(c.spec.class_name, topology.directory) for c in topology.components.values()}


def declares_state(cls: type) -> bool:
    """Whether a component class declares state."""
    return any(isinstance(value, KeyValueState) for base in cls.__mro__ for value in vars(base).values())


def run_topology(options: RunOptions, observer: Observer, launcher: Launcher) -> RunResult:
    """Run a topology to its end.

    Args:
        launcher: if it was started before, workers are ready sooner; it is closed at the end of a run that began.
    Raises:
        TopologyError, ConfigError: the file is wrong; nothing was started.
        AlreadyRunning: another process runs it in the same data directory.
        DependencyMissing, StateUnavailable: there is no usable Redis.
    """
    loaded = load_checked(options.file, options.overrides)
    topology = loaded.topology
    for note in loaded.notes:
        observer.event("INFO", str(note))
    settings = Settings.from_config(topology.config)
    classes = classes_of(topology)
    plan = Plan(topology, {c: streams_of(cls) for c, cls in classes.items()}, settings.workers)
    stateful = [c for c, cls in classes.items() if declares_state(cls)]
    has_checkpoints = bool(stateful) or any(issubclass(cls, ReplayableSpout) for cls in classes.values())
    # absolute, because sockets and processes outlive a change of directory
    directory = DataDirectory(Path(os.path.abspath(options.data_dir)), topology.name)
    directory.lock()
    try:
        with StopSignals() as signals:
            return _run_locked(
                plan, settings, stateful, has_checkpoints, directory, observer, signals, launcher, options
            )
    finally:
        directory.unlock()


def _say_where_it_begins(backend: StateBackend, observer: Observer) -> None:
    record = backend.store.last_commit()
    if record is not None:
        input_ = "; its input was worked off, so only what came since is left" if record.final else ""
        observer.event("INFO", f"resuming from checkpoint {record.epoch}{input_} (--fresh starts anew)")


def _run_locked(
    plan: Plan,
    settings: Settings,
    stateful: list[str],
    has_checkpoints: bool,
    directory: DataDirectory,
    observer: Observer,
    signals: StopSignals,
    launcher: Launcher,
    options: RunOptions,
) -> RunResult:
    is_in_memory = settings.state_provider == "memory"
    backend = None
    if has_checkpoints and not is_in_memory:
        backend = StateBackend(plan, settings, stateful, directory.path, directory.runtime)
    controller = Controller(
        plan,
        settings,
        directory,
        backend,
        observer,
        signals,
        launcher,
        duration_s=options.duration_s,
        can_recover=not (has_checkpoints and is_in_memory),
    )
    try:
        controller.start()  # the zygote imports while Redis starts
        if backend is not None:
            backend.start(observer, fresh=options.fresh)
            record = backend.store.last_commit()
            if record is not None:
                check_compatible(record, plan, settings, stateful)
            _say_where_it_begins(backend, observer)
        return controller.run()
    finally:
        controller.close()
        if backend is not None:
            backend.stop()
