"""Specs of the topology DSL: one component of a topology and the streams it reads.

`spec` on a component class makes a `ComponentSpec`, which checks what can be checked without the rest of the topology
and remembers the line that called it. `dsl` puts specs together.

Invariants: what a check refuses raises streamparse's kind of error (ValueError, TypeError, KeyError), which is a
TopologyError too and has the place of the call.

What does not work and why: components are built in worker processes, so their arguments must be plain data; shell and
Java components are refused, as there is nothing here to run them.

Source: streamparse's ComponentSpec and Grouping (Parsely/streamparse streamparse/dsl/component.py, stream.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pystorm.components.bolt import Bolt
from pystorm.components.component import Component
from pystorm.components.spout import Spout
from pystorm.components.stream import StreamDef, streams_of
from pystorm.errors import ComponentError, Place, Problem, TopologyError
from pystorm.topology import model
from pystorm.topology.model import DEFAULT_STREAM, GroupingType
from pystorm.topology.suggest import hint

#: The only key of a map that a topology file takes for a reference.
_REFERENCES = ("$ref", "ref", "reflist")

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class DslError(TopologyError):
    """A topology class is wrong."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))  # KeyError would show its argument


class WrongValue(DslError, ValueError):
    """A value that a topology cannot have."""


class WrongType(DslError, TypeError):
    """A thing of another kind than the one asked for."""


class NoSuchStream(DslError, KeyError):
    """A stream that the component does not declare."""


def place_of_caller() -> Place:
    """Where the innermost frame outside this package is."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    positions = getattr(frame.f_code, "co_positions", None)  # Python 3.11 has it
    column = list(positions())[frame.f_lasti // 2][2] if positions else None
    return Place(frame.f_code.co_filename, frame.f_lineno, 1 if column is None else column + 1)


class Grouping:
    """How the tuples of a stream are spread over the tasks of the bolt that reads it.

    Where an input has no grouping it is SHUFFLE, and DIRECT for a direct stream.
    """

    __slots__ = ()

    #: tasks take turns
    SHUFFLE = model.Grouping(type=GroupingType.SHUFFLE)
    #: everything goes to the task with the lowest id
    GLOBAL = model.Grouping(type=GroupingType.GLOBAL)
    #: the emitter chooses the task; for streams with `direct=True` only
    DIRECT = model.Grouping(type=GroupingType.DIRECT)
    #: every task gets every tuple
    ALL = model.Grouping(type=GroupingType.ALL)
    #: as SHUFFLE
    NONE = model.Grouping(type=GroupingType.NONE)
    #: as SHUFFLE among the tasks of the emitter's own worker, if there are any
    LOCAL_OR_SHUFFLE = model.Grouping(type=GroupingType.LOCAL_OR_SHUFFLE)

    @staticmethod
    def fields(*fields: str | Sequence[str]) -> model.Grouping:
        """The same values of these fields go to the same task.

        Raises:
            WrongValue: no field, or one that is no text.
        """
        return model.Grouping(type=GroupingType.FIELDS, fields=_field_names("fields", fields))

    @staticmethod
    def partial_key(*fields: str | Sequence[str]) -> model.Grouping:
        """As `fields`, but every key has two candidate tasks, and the one that got less takes the tuple."""
        return model.Grouping(type=GroupingType.PARTIAL_KEY, fields=_field_names("partial_key", fields))

    @staticmethod
    def custom_object(custom: type | str, arg_list: Sequence[Any] | Mapping[str, Any] = ()) -> model.Grouping:
        """A class of the user's chooses: it has `prepare(context, stream, tasks)` and `choose_tasks(task_id, values)`.

        Args:
            custom: the class, or its name as in "module.Class".
            arg_list: what it is built with.

        Raises:
            WrongType: neither a class nor a name, or arguments that are not plain data.
        """
        place = place_of_caller()
        if not isinstance(custom, (type, str)):
            message = f"Grouping.custom_object takes a class or its name, got {custom!r}"
            raise WrongType([Problem(message, place, 'write Grouping.custom_object(Class) or ("module.Class")')])
        name = custom if isinstance(custom, str) else dotted_name(custom)
        args = plain_args(arg_list, f"grouping {name}", place)
        return model.Grouping(
            type=GroupingType.CUSTOM, custom=model.ObjectSpec(class_name=name, args=args, place=place)
        )

    @staticmethod
    def custom_serialized(java_serialized: Any) -> model.Grouping:
        """Not supported: there is no Java here.

        Raises:
            WrongType: always.
        """
        advice = "write the grouping as a Python class and use Grouping.custom_object"
        raise WrongType([Problem("a serialized Java grouping cannot run here", place_of_caller(), advice)])


def _field_names(what: str, fields: tuple[str | Sequence[str], ...]) -> tuple[str, ...]:
    names = fields[0] if len(fields) == 1 and isinstance(fields[0], (list, tuple)) else fields
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if names and not wrong:
        return tuple(str(name) for name in names)
    got = f"got {wrong[0]!r}" if wrong else "got none"
    message = f"Grouping.{what} needs the names of fields, {got}"
    raise WrongValue([Problem(message, place_of_caller(), f'write Grouping.{what}("word")')])


@dataclass(frozen=True, slots=True)
class StreamId:
    """A stream of a component: what `spec["stream"]` gives."""

    component: ComponentSpec
    stream: str = DEFAULT_STREAM


class ComponentSpec:
    """One spout or bolt of a topology: its class and how it is used. Made by the class's `spec` method."""

    def __init__(
        self,
        component_cls: type[Component],
        *,
        name: str | None = None,
        inputs: Any = None,
        par: int | Mapping[str, int] | None = None,
        config: Mapping[str, Any] | None = None,
        args: Sequence[Any] | Mapping[str, Any] = (),
    ) -> None:
        self.component_cls = component_cls
        self.place = place_of_caller()
        self.name = name
        if name is not None and (not isinstance(name, str) or not name):
            self._wrong_type(f"a component's name must be text, got {name!r}", "leave it out to use the attribute's")
        self.kind = self._checked_kind()
        self.par = self._checked_par(component_cls.par if par is None else par)
        self.config = self._checked_config(component_cls.config if config is None else config)
        self.args = plain_args(args, f"{self}: args", self.place)
        self.outputs = self._checked_outputs()
        self.inputs: dict[StreamId, model.Grouping] = dict(self._checked_inputs(inputs))

    def __str__(self) -> str:
        return f"{self.component_cls.__name__} {self.name!r}" if self.name else self.component_cls.__name__

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r}: {self.component_cls.__name__}, par={self.par!r}>"

    def __getitem__(self, stream: str) -> StreamId:
        """A stream of this component.

        Raises:
            NoSuchStream: the component does not declare it.
        """
        if stream in self.outputs:
            return StreamId(self, stream)
        advice = hint(str(stream), self.outputs) or f"declare it in {self.component_cls.__name__}.outputs"
        raise NoSuchStream([Problem(f"{self} has no stream {stream!r}", place_of_caller(), advice)])

    def _wrong_type(self, message: str, advice: str = "") -> NoReturn:
        raise WrongType([Problem(message, self.place, advice)])

    def _checked_kind(self) -> str:
        if issubclass(self.component_cls, (Spout, Bolt)):
            return "spout" if issubclass(self.component_cls, Spout) else "bolt"
        self._wrong_type(f"{self} is neither a spout nor a bolt", "let it subclass pystorm.Spout or pystorm.Bolt")

    def _checked_par(self, par: Any) -> int | dict[str, int]:
        numbers = par if isinstance(par, dict) else {"": par}
        for env, number in numbers.items():
            of = f" of environment {env!r}" if env else ""
            if not isinstance(env, str) or not isinstance(number, int) or isinstance(number, bool):
                message = f"{self}: par must be a whole number or map names of environments to such, got {par!r}"
                self._wrong_type(message, 'write par=2 or par={"prod": 8, "beta": 1}')
            if number < 1:
                message = f"{self}: par{of} must be at least 1, got {number}"
                raise WrongValue([Problem(message, self.place)])
        if not numbers:
            raise WrongValue([Problem(f"{self}: par is an empty map", self.place, "write par=1")])
        return dict(par) if isinstance(par, dict) else int(par)

    def _checked_config(self, config: Any) -> dict[str, Any]:
        if config is None:
            return {}
        if not isinstance(config, dict):
            self._wrong_type(f"{self}: config must be a dictionary or None, got {config!r}")
        return dict(plain(config, f"{self}: config", self.place))

    def _checked_outputs(self) -> dict[str, StreamDef]:
        try:
            return streams_of(self.component_cls)
        except ComponentError as error:
            raise WrongType([Problem(str(error), self.place)]) from None

    # inputs

    def _checked_inputs(self, inputs: Any) -> Iterator[tuple[StreamId, model.Grouping]]:
        if isinstance(inputs, (ComponentSpec, StreamId)):
            inputs = [inputs]
        if inputs is not None and not isinstance(inputs, (dict, list, tuple)):
            message = f"{self}: inputs must be a list of specs or map specs to groupings, got {inputs!r}"
            self._wrong_type(message, "write inputs=[spec] or inputs={spec: Grouping.SHUFFLE}, without quotes")
        seen = set()
        for item in inputs or ():
            stream = self._stream_of(item)
            if stream in seen:
                message = f"{self} reads stream {stream.stream!r} of {stream.component} twice"
                raise WrongValue([Problem(message, self.place, "remove one of the two inputs")])
            seen.add(stream)
            yield stream, self._grouping_of(stream, inputs[item] if isinstance(inputs, dict) else None)

    def _stream_of(self, item: Any) -> StreamId:
        if isinstance(item, ComponentSpec):
            return item[DEFAULT_STREAM]
        if not isinstance(item, StreamId):
            advice = 'write the name of the attribute without quotes, or spec["stream"]'
            if isinstance(item, (type, Component)):
                advice = "call its .spec() first"
            self._wrong_type(f"{self}: an input must be a spec or a stream of one, got {item!r}", advice)
        return item

    def _grouping_of(self, stream: StreamId, grouping: Any) -> model.Grouping:
        if grouping is None:
            is_direct = stream.component.outputs[stream.stream].direct
            return Grouping.DIRECT if is_direct else Grouping.SHUFFLE
        if not isinstance(grouping, model.Grouping):
            advice = f"write Grouping.fields({grouping!r})" if isinstance(grouping, str) else "write Grouping.SHUFFLE"
            self._wrong_type(f"{self}: an input's grouping must be a Grouping, got {grouping!r}", advice)
        return grouping


#: What a bolt reads: specs and streams of specs, or these mapped to their groupings.
Inputs = ComponentSpec | StreamId | Sequence[ComponentSpec | StreamId] | Mapping[Any, model.Grouping]


def dotted_name(cls: type) -> str:
    """The name by which another process imports a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def plain_args(args: Any, what: str, place: Place) -> list[Any] | dict[str, Any]:
    """Constructor arguments, checked: a list, or a map by name.

    Raises:
        WrongType: something else, or something that cannot be sent to a worker.
    """
    if not isinstance(args, (list, tuple, dict)):
        advice = "write args=[...] or args={...}"
        raise WrongType([Problem(f"{what} must be a list or a dictionary, got {args!r}", place, advice)])
    found: list[Any] | dict[str, Any] = plain(args, what, place) or []
    return found


def plain(value: Any, what: str, place: Place) -> Any:
    """A copy of data that a YAML file could hold too.

    Raises:
        WrongType: there is something else in it.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item, what, place) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        if len(value) == 1 and next(iter(value)) in _REFERENCES:
            message = f"{what}: {value!r} would stand for an object of a YAML file's components"
            raise WrongType([Problem(message, place, "build the object in the component's __init__")])
        return {key: plain(item, what, place) for key, item in value.items()}
    message = f"{what} must be plain data, got {value!r:.100}"
    advice = "lists, dictionaries with text keys, text, numbers, true, false and None can go to another process"
    raise WrongType([Problem(message, place, advice)])


class _Foreign:
    """A component that another program would run."""

    @classmethod
    def spec(cls, name: str | None = None, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported.

        Raises:
            WrongType: always; says what to do instead.
        """
        base = cls.__mro__[cls.__mro__.index(_Foreign) - 1].__name__
        kind = "Spout" if base.endswith("Spout") else "Bolt"
        if base.startswith("Java"):
            advice = f"there is no JVM here: write it in Python, as a subclass of pystorm.{kind}"
        else:
            advice = f"write a subclass of pystorm.{kind} that starts the program in initialize, with subprocess"
        raise WrongType([Problem(f"a {base} cannot run here", place_of_caller(), advice)])


class JavaSpout(_Foreign):
    """streamparse's, to say what to do instead."""


class JavaBolt(_Foreign):
    """streamparse's, to say what to do instead."""


class ShellSpout(_Foreign):
    """streamparse's, to say what to do instead."""


class ShellBolt(_Foreign):
    """streamparse's, to say what to do instead."""
