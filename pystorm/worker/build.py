"""Builds a task's spout or bolt from the topology's object definitions.

Source: Flux (flux/flux-core/src/main/java/org/apache/storm/flux/FluxBuilder.java).
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Mapping
from typing import Any

from pystorm.errors import ConfigError
from pystorm.topology.classes import import_folders
from pystorm.topology.model import ObjectSpec, Topology
from pystorm.topology.plan import Plan, Task

#: Key of the map that stands for a declared object: {"$ref": id}.
REF_KEY = "$ref"


def import_class(class_name: str, directory: str) -> type:
    """Import a class by its dotted name, looking in the topology's folder first.

    Raises:
        ConfigError: the name has no module part, or the module has no such class.
        ImportError and whatever the module raises while it is imported.
    """
    sys.path[:0] = [folder for folder in import_folders(directory) if folder not in sys.path]
    module_name, _, name = class_name.rpartition(".")
    if not module_name:
        raise ConfigError(f"class {class_name!r} needs a module, such as wordcount.{class_name}")
    module = importlib.import_module(module_name)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        raise ConfigError(f"module {module_name!r} has no class {name!r}")
    return found


def import_components(topology: Topology) -> None:
    """Import the modules of all of a topology's classes, so that they register the types of their values.

    What cannot be imported is left out: whoever builds the class says so.
    """
    for spec in [*(c.spec for c in topology.components.values()), *topology.objects.values()]:
        with contextlib.suppress(Exception):
            import_class(spec.class_name, topology.directory)


class Builder:
    """Builds objects of one topology; objects of the `components:` section are built once and shared by reference."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._objects: dict[str, Any] = {}

    def build(self, spec: ObjectSpec) -> Any:
        """A new object: class, constructor arguments, properties, configuration methods, in this order.

        Raises:
            Whatever user code raises; ConfigError for a property or method that the object lacks.
        """
        cls = import_class(spec.class_name, self._topology.directory)
        args = self._resolve(spec.args)
        built = cls(**args) if isinstance(args, dict) else cls(*args)
        for name, value in spec.properties:
            self._set_property(built, spec, name, self._resolve(value))
        for method, method_args in spec.config_methods:
            bound = getattr(built, method, None)
            if not callable(bound):
                raise ConfigError(f"class {spec.class_name!r} has no method {method!r}", place=spec.place)
            bound(*self._resolve(list(method_args)))
        return built

    def _set_property(self, built: Any, spec: ObjectSpec, name: str, value: Any) -> None:
        setter = getattr(built, f"set{name[:1].upper()}{name[1:]}", None) or getattr(built, f"set_{name}", None)
        if callable(setter):
            setter(value)
        elif hasattr(built, name):
            setattr(built, name, value)
        else:
            raise ConfigError(f"class {spec.class_name!r} has no property {name!r}", place=spec.place)

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if set(value) == {REF_KEY}:
                return self._object(value[REF_KEY])
            return {key: self._resolve(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._resolve(inner) for inner in value]
        return value

    def _object(self, name: str) -> Any:
        if name not in self._objects:
            self._objects[name] = self.build(self._topology.objects[name])
        return self._objects[name]


def build_context(plan: Plan, task: Task) -> dict[str, Any]:
    """Storm's topology context for a task.

    Source: apache/storm docs/Multilang-protocol.md (the handshake's context), WorkerTopologyContext.java.
    """
    topology = plan.topology
    outputs = {s.name: list(s.fields) for s in plan.streams if s.component == task.component}
    targets: dict[str, dict[str, Any]] = {name: {} for name in outputs}
    for edge in topology.outputs_of(task.component):
        targets[edge.stream][edge.target] = {"type": edge.grouping.type.value, "fields": list(edge.grouping.fields)}
    sources: dict[str, dict[str, Any]] = {}
    groupings: dict[str, dict[str, Any]] = {}
    for edge in topology.inputs_of(task.component):
        sources.setdefault(edge.source, {})[edge.stream] = list(plan.stream_of[edge.source, edge.stream].fields)
        kind = {"type": edge.grouping.type.value, "fields": list(edge.grouping.fields)}
        groupings.setdefault(edge.source, {})[edge.stream] = kind
    return {
        "taskid": task.id,
        "componentid": task.component,
        "task_index": task.index,
        "task->component": {str(t.id): t.component for t in plan.tasks.values()},
        "stream->target->grouping": targets,
        "stream->outputfields": outputs,
        "streams": list(outputs),
        "source->stream->fields": sources,
        "source->stream->grouping": groupings,
        "topology.name": topology.name,
        "topology.dir": topology.directory,
    }
