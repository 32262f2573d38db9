"""What a test names as its topology (a file, a model, a class of the DSL), laid out and ready to run in process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pystorm.components import ReplayableSpout, streams_of
from pystorm.components.stream import StreamDef
from pystorm.errors import ConfigError, Problem
from pystorm.state.keyvalue import KeyValueState
from pystorm.testing.feed import Feed, Rows
from pystorm.testing.registry import publish
from pystorm.topology.classes import find_class, importing_from
from pystorm.topology.config import Settings
from pystorm.topology.loading import load_checked
from pystorm.topology.model import ObjectSpec, Topology
from pystorm.topology.plan import Plan
from pystorm.topology.suggest import hint


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A topology that can be run."""

    plan: Plan
    classes: dict[str, type]
    feeds: dict[str, Feed]

    @property
    def has_checkpoints(self) -> bool:
        """Whether a run of it makes checkpoints: as `pystorm run` decides it."""
        if Settings.from_config(self.plan.topology.config).state_provider == "memory":
            return False
        return any(_needs_checkpoints(cls) for cls in self.classes.values())


def lay_out(
    source: Any, inputs: Mapping[str, Rows], overrides: Mapping[str, Any], env: Mapping[str, str] | None
) -> Laid:
    """Read a topology, put feeds in the place of spouts, and lay it out.

    Args:
        source: path of a YAML or Python file, a `Topology` of the model, or a `Topology` class of the DSL.
        inputs: rows by the id of the spout that they replace.
        overrides: as `--set` of the command line.
        env: the environment for `${ENV-NAME}`; default: the process's.

    Raises:
        TopologyError, ConfigError: the topology is wrong, or `inputs` names no spout of it.
    """
    topology = _topology_of(source, overrides, env)
    classes = _classes_of(topology)
    streams: dict[str, dict[str, StreamDef]] = {name: streams_of(cls) for name, cls in classes.items()}
    components = dict(topology.components)
    feeds = {}
    for name, rows in inputs.items():
        if name not in components or components[name].kind != "spout":
            spouts = [component.id for component in topology.spouts]
            raise ConfigError(f"inputs: topology {topology.name!r} has no spout {name!r}", hint=hint(name, spouts))
        feeds[name], classes[name] = Feed.in_place_of(classes[name], rows)
        spec = ObjectSpec(class_name=publish(classes[name]))
        components[name] = dataclasses.replace(components[name], spec=spec)
    topology = dataclasses.replace(topology, components=components)
    plan = Plan(topology, streams, Settings.from_config(topology.config).workers)
    return Laid(plan=plan, classes=classes, feeds=feeds)


def _topology_of(source: Any, overrides: Mapping[str, Any], env: Mapping[str, str] | None) -> Topology:
    if isinstance(source, (str, Path)):
        return load_checked(source, overrides, env).topology
    if isinstance(source, Topology):
        return dataclasses.replace(source, config={**source.config, **overrides})
    if isinstance(source, type) and hasattr(source, "specs"):
        from pystorm.topology.dsl import to_model

        name = getattr(source, "name", None) or source.__name__
        return _topology_of(to_model(source, name=name), overrides, env)  # type: ignore[arg-type]
    raise TypeError(f"a topology is a path, a Topology model or a Topology class, got {source!r}")


def _classes_of(topology: Topology) -> dict[str, type]:
    found = {}
    with importing_from(topology.directory):
        for component in topology.components.values():
            cls = find_class(component.spec.class_name, topology.directory)
            if isinstance(cls, Problem):
                raise ConfigError(cls.message, place=component.place, hint=cls.hint)
            found[component.id] = cls
    return found


def _needs_checkpoints(cls: type) -> bool:
    declares_state = any(isinstance(value, KeyValueState) for base in cls.__mro__ for value in vars(base).values())
    return declares_state or (isinstance(cls, type) and issubclass(cls, ReplayableSpout))
