"""A JSON Schema of topology files, so that editors complete and check them while they are written.

Theory of operation: keys come from the loader's own tables, configuration keys with their types, ranges and meanings
from `options`. What YAML calls a map is an object here. A file that others include is a topology file too, so nothing
at the top is required.

Invariants: what the loader accepts the schema accepts; a key that the loader does not know is refused by both.

What does not work and why: a schema sees one file and no Python. It cannot know ids, classes, fields, what a
placeholder stands for, or that a key without a prefix of pystorm's is nearly one of them.

Source: JSON Schema draft 2020-12 (json-schema.org/draft/2020-12).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pystorm.topology.config import RESERVED_PREFIXES
from pystorm.topology.definitions import FACTORY_KEYS, OBJECT_KEYS
from pystorm.topology.flux import COMPONENT_KEYS, EDGE_KEYS, GROUPING_KEYS, LOAD_KEYS
from pystorm.topology.includes import TOP_KEYS
from pystorm.topology.model import GroupingType
from pystorm.topology.options import OPTIONS, Guarantee, Option
from pystorm.topology.storm_keys import NO_EFFECT_KEYS

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT: Schema = {"type": "string", "minLength": 1}
_ANYTHING: Schema = {}
_LIST: Schema = {"type": ["array", "null"]}
#: What a whole value may be in place of anything: it may stand for a list or a map.
_PLACEHOLDER: Schema = {"type": "string", "pattern": r"^\$\{[^{}]+\}$"}

_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", dict: "object"}
_WITH_FIELDS = (GroupingType.FIELDS, GroupingType.PARTIAL_KEY)
_WITH_ARGUMENTS = (*_WITH_FIELDS, GroupingType.CUSTOM)


def topology_schema() -> Schema:
    """The schema of a topology file."""
    return {
        "$schema": DIALECT,
        "title": "pystorm topology",
        "description": "A topology in YAML, in the dialect of Storm's Flux, or a part of one for others to include.",
        **_map(TOP_KEYS, _TOP),
        "$defs": {
            "text": _TEXT,
            "placeholder": _PLACEHOLDER,
            "object": _map(("id", *_known(OBJECT_KEYS)), _OBJECT, required=("id", "className")),
            "component": _map(_known((*COMPONENT_KEYS, *LOAD_KEYS)), _COMPONENT, required=("id", "className")),
            "property": _property(),
            "method": _map(("name", "args"), {"name": _ref("text"), "args": _LIST}, required=("name",)),
            "stream": _map(EDGE_KEYS, _EDGE, required=("from", "to", "grouping")),
            "grouping": _grouping(),
            "groupingType": _grouping_type(GroupingType),
            "shortGrouping": _grouping_type(kind for kind in GroupingType if kind not in _WITH_ARGUMENTS),
            "include": _include(),
            "config": _config(OPTIONS, "topology"),
            "componentConfig": _config([o for o in OPTIONS if o.per_component], "component"),
        },
    }


def _known(keys: Iterable[str]) -> tuple[str, ...]:
    """Without those that the loader knows only to refuse them."""
    return tuple(key for key in keys if key not in FACTORY_KEYS)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _or_placeholder(*schemas: Schema) -> Schema:
    return {"anyOf": [*schemas, _ref("placeholder")]}


def _list_of(name: str) -> Schema:
    return _or_placeholder({"type": ["array", "null"], "items": _or_placeholder(_ref(name))})


def _described(text: str, schema: Schema) -> Schema:
    return {"description": text, **schema}


def _map(keys: Iterable[str], schemas: dict[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    """A map with these keys and no others; each of them must have a schema."""
    found: Schema = {"type": "object", "properties": {key: schemas[key] for key in keys}, "additionalProperties": False}
    return {**found, "required": list(required)} if required else found


_ARGS = _described("A list (positional) or a map (by name).", _or_placeholder({"type": ["array", "object", "null"]}))

_TOP: dict[str, Schema] = {
    "name": _described("Name of the topology; its state and its folder carry it.", _ref("text")),
    "config": _described("Configuration.", {"anyOf": [_ref("config"), {"type": "null"}]}),
    "includes": _described("Other files to read in.", _list_of("include")["anyOf"][0]),
    "components": _described("Objects to pass to spouts and bolts, built in order.", _list_of("object")),
    "spouts": _described("Where tuples come from.", _list_of("component")),
    "bolts": _described("Where tuples are worked on.", _list_of("component")),
    "streams": _described("Which bolt reads what.", _list_of("stream")),
}

_OBJECT: dict[str, Schema] = {
    "id": _described("Name in this topology.", _ref("text")),
    "className": _described("module.Class: a module beside this file, or any that can be imported.", _ref("text")),
    "constructorArgs": _ARGS,
    "properties": _described("Set on the object after it was made.", _list_of("property")),
    "configMethods": _described("Methods to call after that.", _list_of("method")),
}

_COMPONENT: dict[str, Schema] = {
    **_OBJECT,
    "parallelism": _described("Number of tasks.", _or_placeholder({"type": "integer", "minimum": 1}) | {"default": 1}),
    "numTasks": _described(
        "Number of tasks, as in Storm; wins over parallelism.", _or_placeholder({"type": "integer"})
    ),
    "config": _described(
        "Configuration of this component alone.", _or_placeholder(_ref("componentConfig"), {"type": "null"})
    ),
    **{key: _described("No effect here.", _ANYTHING) for key in LOAD_KEYS},
}

_EDGE: dict[str, Schema] = {
    "name": _described("For people.", _ANYTHING),
    "from": _described("Id of a spout or bolt.", _ref("text")),
    "to": _described("Id of a bolt.", _ref("text")),
    "grouping": _described(
        "Which task of the bolt gets a tuple; a type, or a map.", {"anyOf": [_ref("shortGrouping"), _ref("grouping")]}
    ),
}


def _property() -> Schema:
    schemas = {"name": _ref("text"), "value": _ANYTHING, "ref": _ref("text"), "reflist": _or_placeholder(_LIST)}
    one = [{"required": [key]} for key in ("value", "ref", "reflist")]
    return _map(tuple(schemas), schemas, required=("name",)) | {"oneOf": one}


def _include() -> Schema:
    schemas: dict[str, Schema] = {
        "file": _described("A file beside this one.", _ref("text")),
        "resource": {"type": ["string", "boolean"]},
        "override": _described("Whether its definitions win.", _or_placeholder({"type": "boolean"})),
    }
    return _map(tuple(schemas), schemas) | {"anyOf": [{"required": ["file"]}, {"required": ["resource"]}]}


def _grouping() -> Schema:
    class_keys = _known(OBJECT_KEYS)
    schemas = {
        "type": _ref("groupingType"),
        "streamId": _described("A stream of the component in `from`; without it the default one.", _ref("text")),
        "args": _described("The fields of FIELDS and PARTIAL_KEY.", _or_placeholder(_LIST)),
        "customClass": _map(class_keys, _OBJECT, required=("className",)),
    }
    others = [kind for kind in GroupingType if kind not in _WITH_FIELDS]
    plain = [kind for kind in GroupingType if kind is not GroupingType.CUSTOM]
    fields = {"args": _or_placeholder({"type": "array", "minItems": 1, "items": _ref("text")})}
    rules = [
        _if_type(_WITH_FIELDS, {"required": ["args"], "properties": fields}),
        _if_type(others, {"properties": {"args": {"type": ["array", "null"], "maxItems": 0}}}),
        _if_type([GroupingType.CUSTOM], {"required": ["customClass"]}),
        _if_type(plain, {"properties": {"customClass": False}}),
    ]
    return _map(GROUPING_KEYS, schemas, required=("type",)) | {"allOf": rules}


def _if_type(kinds: Iterable[GroupingType], then: Schema) -> Schema:
    names = "|".join(_in_any_case(kind.value) for kind in kinds)
    condition = {"required": ["type"], "properties": {"type": {"pattern": f"^({names})$"}}}
    return {"if": condition, "then": then}


def _grouping_type(kinds: Iterable[GroupingType]) -> Schema:
    """The names, for completion, and every way to write them."""
    names = [kind.value for kind in kinds]
    pattern = "|".join(map(_in_any_case, names))
    return _or_placeholder({"enum": names}, {"type": "string", "pattern": f"^({pattern})$"})


def _in_any_case(name: str) -> str:
    """A pattern for a name in letters of any case, with any of the separators that the loader takes.

    >>> _in_any_case("on_a")
    '[oO][nN][_ -][aA]'
    """
    return "".join(
        "[_ -]" if char == "_" else f"[{char.lower()}{char.upper()}]" if char.isalpha() else re.escape(char)
        for char in name
    )


def _config(options: Iterable[Option], what: str) -> Schema:
    """Configuration: the keys of the table, Storm's that do nothing here, and the user's own."""
    known = {option.key: _option(option) for option in options}
    own = "|".join(map(re.escape, RESERVED_PREFIXES))
    idle = "|".join(map(re.escape, sorted(NO_EFFECT_KEYS)))
    names = {"anyOf": [{"enum": list(known)}, {"pattern": f"^({idle})$"}, {"not": {"pattern": f"^({own})"}}]}
    return {
        "type": "object",
        "description": f"Configuration of a {what}; keys of your own are handed to components.",
        "properties": known,
        "propertyNames": names,
    }


def _option(option: Option) -> Schema:
    default = option.default.value if isinstance(option.default, Guarantee) else option.default
    return {"description": f"{option.doc} ({option.wanted})", "default": default, **_or_placeholder(*_values(option))}


def _values(option: Option) -> list[Schema]:
    found: list[Schema] = []
    if option.choices:
        pattern = "|".join(map(_in_any_case, option.choices)).replace("[_ -]", "_")
        found += [{"enum": list(option.choices)}, {"type": "string", "pattern": f"^({pattern})$"}]
    else:
        value: Schema = {"type": [_TYPES[kind] for kind in option.types]}
        if option.minimum is not None:
            value["minimum"] = option.minimum
        if option.maximum is not None:
            value["maximum"] = option.maximum
        found.append(value)
    return [*found, {"type": "null"}] if option.default is None else found
