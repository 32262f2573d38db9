"""The topology DSL: a topology as a Python class, in streamparse's words.

::

    class WordCount(Topology):
        words = WordSpout.spec()
        count = CountBolt.spec(inputs={words: Grouping.fields("word")}, par=2)

Theory of operation: when the class statement ends, `TopologyType` takes the specs out of the class's attributes, names
them and checks how they fit together. `to_model` makes the model that a YAML file would have given, so that everything
behind it is shared.

Invariants: a topology class that exists has passed streamparse's checks. Where one fails, the error has all mistakes of
the class with their places.

What does not work and why: specs are not inherited from a base class, as in streamparse; the classes of components must
be importable by name, because workers build them.

Source: streamparse's TopologyType (Parsely/streamparse streamparse/dsl/topology.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pystorm.components.component import Component
from pystorm.errors import Place, Problem, TopologyError
from pystorm.topology import model
from pystorm.topology.specs import (
    ComponentSpec,
    DslError,
    StreamId,
    WrongType,
    WrongValue,
    dotted_name,
    place_of_caller,
    plain,
)
from pystorm.topology.suggest import hint


class TopologyType(type):
    """The class of topology classes: collects and checks the specs when a class statement ends."""

    #: the components, in the order of the class
    specs: list[ComponentSpec]
    config: dict[str, Any]
    name: Any
    #: where the class statement is
    _place: Place

    def __new__(mcs, classname: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> TopologyType:
        """Make a topology class.

        Raises:
            DslError: with every mistake found; it is a ValueError or a TypeError too, whichever the first one is.
        """
        checks = _ClassChecks(f"topology {classname}", place_of_caller())
        specs = checks.named_specs(namespace)
        if bases:
            checks.check(specs, namespace.get("config", {}))
        checks.raise_if_any()
        namespace |= {"specs": specs, "_place": checks.place}
        return super().__new__(mcs, classname, bases, namespace)


class _ClassChecks:
    """Finds what is wrong with a topology class."""

    def __init__(self, what: str, place: Place) -> None:
        self._what = what
        self.place = place
        self._found: list[tuple[type[DslError], Problem]] = []

    def raise_if_any(self) -> None:
        if self._found:
            raise self._found[0][0]([problem for _, problem in self._found])

    def _report(self, kind: type[DslError], message: str, place: Place, advice: str = "") -> None:
        self._found.append((kind, Problem(message, place, advice)))

    def named_specs(self, namespace: Mapping[str, Any]) -> list[ComponentSpec]:
        by_name: dict[str, ComponentSpec] = {}
        for attribute, value in namespace.items():
            if isinstance(value, ComponentSpec):
                value.name = value.name or attribute
                if value.name in by_name:
                    message = f"{self._what}: component name {value.name!r} is used twice"
                    first = by_name[value.name].place
                    self._report(WrongValue, f"{message}, first at {first}", value.place, "give one another name")
                by_name.setdefault(value.name, value)
            elif _is_component(value, namespace):
                cls = value if isinstance(value, type) else type(value)
                message = f"{self._what}: {attribute} is {cls.__name__} itself and not a spec of it"
                self._report(WrongType, message, self.place, f"write {attribute} = {cls.__name__}.spec()")
        return list(by_name.values())

    def check(self, specs: list[ComponentSpec], config: Any) -> None:
        """What can be said once every spec has its name."""
        if not isinstance(config, dict):
            self._report(WrongType, f"{self._what}: config must be a dictionary, got {config!r}", self.place)
        if not self._found and not any(spec.kind == "spout" for spec in specs):
            self._report(WrongValue, f"{self._what} has no spout", self.place, "add one: words = WordSpout.spec()")
        for spec in specs:
            if spec.kind == "spout" and not spec.outputs:
                advice = f"add `outputs = [...]` with the names of its fields to {spec.component_cls.__name__}"
                self._report(WrongValue, f"spout {spec}: it has no outputs", spec.place, advice)
            elif spec.kind == "bolt" and not spec.inputs:
                self._report(WrongValue, f"bolt {spec}: it has no inputs", spec.place, "write .spec(inputs=[...])")
            for stream, grouping in spec.inputs.items():
                self._check_input(spec, stream, grouping, specs)

    def _check_input(
        self, spec: ComponentSpec, stream: StreamId, grouping: model.Grouping, specs: list[ComponentSpec]
    ) -> None:
        source = stream.component
        if source not in specs:
            message = f"bolt {spec} reads from {source}, which is no attribute of the {self._what}"
            self._report(WrongValue, message, spec.place, "assign the input's spec to an attribute of this class")
        known = source.outputs[stream.stream].fields
        for field in grouping.fields:
            if field not in known:
                message = f"bolt {spec}: stream {stream.stream!r} of {source} has no field {field!r} to group by"
                self._report(WrongValue, message, spec.place, hint(field, known))


def _is_component(value: Any, namespace: Mapping[str, Any]) -> bool:
    if not isinstance(value, type):
        return isinstance(value, Component)
    # A class that is written inside the topology's is no spec that was forgotten.
    return issubclass(value, Component) and not value.__qualname__.startswith(f"{namespace['__qualname__']}.")


class Topology(metaclass=TopologyType):
    """Base of topology classes: attributes made with `spec` are the components.

    Raises (at the end of the class statement):
        DslError: what is wrong with the topology, with places; a ValueError or a TypeError too.
    """

    #: The topology's configuration, as under `config` in a topology file.
    config: dict[str, Any] = {}
    #: The topology's name; None: that of its file, without `.py`.
    name: Any = None

    @classmethod
    def to_flux_dict(cls, name: str, env: str | None = None) -> dict[str, Any]:
        """The topology as the content of a YAML file, for yaml.safe_dump.

        Args:
            name: the topology's name.
            env: which number to take where `par` gives one per environment.

        Raises:
            TopologyError: a component's class cannot be imported by name, or `par` has no number for `env`.
        """
        made = to_model(cls, name=name, env=env)
        found = {
            "name": made.name,
            "config": dict(made.config),
            "spouts": [_component_to_flux(component) for component in made.spouts],
            "bolts": [_component_to_flux(component) for component in made.bolts],
            "streams": [_edge_to_flux(edge) for edge in made.edges],
        }
        escaped: dict[str, Any] = _escaped({key: value for key, value in found.items() if value})
        return escaped


def to_model(
    topology: TopologyType, *, name: str, directory: str = ".", file: str = "", env: str | None = None
) -> model.Topology:
    """A topology class as the model that a YAML file would have given.

    Args:
        name: the topology's name.
        directory: folder of its file.
        file: as the user named it.
        env: which number to take where `par` gives one per environment.

    Raises:
        TopologyError: a component's class cannot be imported by name, or `par` has no number for `env`.
    """
    problems: list[Problem] = []
    config = plain(topology.config, "config", topology._place)
    made = model.Topology(
        name=name,
        components={str(spec.name): _component(spec, env, problems) for spec in topology.specs},
        edges=tuple(edge for spec in topology.specs for edge in _edges(spec)),
        config=config,
        directory=directory,
        file=file,
    )
    if problems:
        raise TopologyError(problems)
    return made


def _component(spec: ComponentSpec, env: str | None, problems: list[Problem]) -> model.Component:
    if "." in spec.component_cls.__qualname__:
        message = f"{spec.kind} {spec}: its class is written inside another class or a function"
        problems.append(Problem(message, spec.place, "move it to the top level of its module, so that workers find it"))
    return model.Component(
        id=str(spec.name),
        kind=spec.kind,
        spec=model.ObjectSpec(class_name=dotted_name(spec.component_cls), args=spec.args, place=spec.place),
        parallelism=_parallelism(spec, env, problems),
        config=spec.config,
        place=spec.place,
    )


def _parallelism(spec: ComponentSpec, env: str | None, problems: list[Problem]) -> int:
    if not isinstance(spec.par, dict):
        return spec.par
    if env in spec.par:
        return spec.par[env]
    if env is None and len(spec.par) == 1:
        return next(iter(spec.par.values()))
    names = ", ".join(sorted(spec.par))
    message = f"{spec.kind} {spec}: par has a number for each of the environments {names}"
    message += ", and none is chosen" if env is None else f", and none for {env!r}"
    problems.append(Problem(message, spec.place, f"choose one with --set env={min(spec.par)}"))
    return 1


def _edges(spec: ComponentSpec) -> list[model.Edge]:
    return [
        model.Edge(
            source=str(stream.component.name),
            target=str(spec.name),
            grouping=grouping,
            stream=stream.stream,
            place=spec.place,
        )
        for stream, grouping in spec.inputs.items()
    ]


def _component_to_flux(component: model.Component) -> dict[str, Any]:
    found: dict[str, Any] = {"id": component.id, "className": component.spec.class_name}
    if component.spec.args:
        found["constructorArgs"] = component.spec.args
    found["parallelism"] = component.parallelism
    if component.config:
        found["config"] = dict(component.config)
    return found


def _edge_to_flux(edge: model.Edge) -> dict[str, Any]:
    grouping: dict[str, Any] = {"type": edge.grouping.type.value, "streamId": edge.stream}
    if edge.grouping.fields:
        grouping["args"] = list(edge.grouping.fields)
    custom = edge.grouping.custom
    if custom:
        grouping["customClass"] = {"className": custom.class_name}
        if custom.args:
            grouping["customClass"]["constructorArgs"] = custom.args
    return {"from": edge.source, "to": edge.target, "grouping": grouping}


def _escaped(value: Any) -> Any:
    """A copy in which no text is a placeholder."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return value
