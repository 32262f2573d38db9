"""A YAML file as a tree of nodes that know their place: the one module that touches PyYAML.

Theory of operation: PyYAML composes the file to its own nodes, which carry line and column, and these become three
small immutable kinds: `ScalarNode`, `ListNode`, `MapNode`. Only YAML's plain data types are read, as with safe_load.
Everything that is wrong goes into a list of problems, and reading goes on as far as it can.

Placeholders `${name}` are hidden from YAML: `{k: ${v}}` is no YAML, as a brace opens a map. Before parsing, every
ASCII character of a placeholder is replaced by one private character of Unicode, one for one, so that lines and
columns stay right; afterwards they are put back.

What does not work and why: dates and times stay text, as in YAML 1.2, since neither JSON nor msgpack carries them;
sets, ordered maps and binary data have no place in a topology and are refused.

Source: YAML 1.1 (yaml.org/spec/1.1), 10.1 for merge keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pystorm.errors import Place, Problem
from pystorm.topology.suggest import nearest

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_TAG + kind for kind in ("null", "bool", "int", "float", "str", "timestamp", "value"))
_PLACEHOLDER = re.compile(r"\$\{[^{}\n]*\}")
#: The private area of Unicode's last plane; placeholders' characters are moved to a stretch of it.
_PRIVATE = range(0x10F000, 0x10FF80, 0x80)


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A single value."""

    place: Place
    value: Any
    #: as it stands in the file, without quotes
    text: str
    #: whether it stands there without quotes
    plain: bool = True


@dataclass(frozen=True, slots=True)
class ListNode:
    """A list."""

    place: Place
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapNode:
    """A map, in the order of the file."""

    place: Place
    entries: tuple[tuple[ScalarNode, Node], ...]

    def get(self, key: str) -> Node | None:
        """The value under a text key, or None."""
        return next((value for name, value in self.entries if name.value == key), None)


Node = ScalarNode | ListNode | MapNode


def value_of(node: Node) -> Any:
    """A node as plain Python data."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, ListNode):
        return [value_of(item) for item in node.items]
    return {key.value: value_of(value) for key, value in node.entries}


def node_of(value: Any, place: Place) -> Node:
    """Plain Python data as a node, everything at one place."""
    if isinstance(value, dict):
        entries = ((ScalarNode(place, key, str(key)), node_of(item, place)) for key, item in value.items())
        return MapNode(place, tuple(entries))
    if isinstance(value, (list, tuple)):
        return ListNode(place, tuple(node_of(item, place) for item in value))
    return ScalarNode(place, value, text_of(value))


def text_of(value: Any) -> str:
    """A scalar as YAML would write it; nothing is the empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def read_yaml(path: Path, problems: list[Problem]) -> Node | None:
    """The tree of a YAML file, or None if it cannot be read at all; what is wrong is added to `problems`."""
    text = _read_text(path, problems)
    if text is None:
        return None
    return parse_yaml(text, str(path), problems)


def parse_yaml(text: str, file: str, problems: list[Problem]) -> Node | None:
    """As `read_yaml`, from text; `file` is its name in places."""
    base = _free_private_stretch(text)
    hidden = _PLACEHOLDER.sub(lambda match: _hide(match.group(), base), text)
    try:
        root = yaml.compose(hidden, Loader=yaml.SafeLoader)
        if root is not None:
            return _Converter(file, base, problems).convert(root)
        problems.append(Problem("the file is empty", Place(file, 1, 1), "a topology needs at least a name and spouts"))
    except yaml.reader.ReaderError as exc:
        problems.append(_bad_character(text, file, exc))
    except yaml.MarkedYAMLError as exc:
        problems.append(_syntax_problem(file, exc, base))
    except RecursionError:
        problems.append(Problem("the YAML is nested too deeply to be read", Place(file), "flatten it"))
    return None


def _read_text(path: Path, problems: list[Problem]) -> str | None:
    place = Place(str(path))
    if path.suffix == ".py" and path.is_file():
        message = "this is a Python file, which a YAML file cannot include"
        beside = path.with_suffix(".yaml")
        problems.append(Problem(message, place, f"did you mean {str(beside)!r}?" if beside.is_file() else ""))
        return None
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        problems.append(Problem("there is no such file", place, _near_files(path)))
    except IsADirectoryError:
        problems.append(Problem("this is a directory, a topology file was expected", place, _files_in(path)))
    except (OSError, ValueError) as exc:
        problems.append(Problem(f"the file cannot be read: {getattr(exc, 'strerror', None) or exc}", place))
    else:
        return _decoded(data, path, problems)
    return None


def _decoded(data: bytes, path: Path, problems: list[Problem]) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        # The codec may have taken a byte order mark off what it was given, exc.object is what it decoded.
        before = exc.object[: exc.start]
        line_start = before.rfind(b"\n") + 1
        column = len(before[line_start:].decode("utf-8", errors="replace")) + 1
        place = Place(str(path), before.count(b"\n") + 1, column)
        bad = exc.object[exc.start]
        problems.append(Problem(f"the file is not UTF-8 text: byte 0x{bad:02x}", place, "save it as UTF-8"))
        return None


def _near_files(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"there is no directory {str(path.parent)!r} either"
    close = nearest(path.name, names)
    return f"did you mean {str(path.with_name(close))!r}?" if close else ""


def _files_in(path: Path) -> str:
    names = sorted(entry.name for entry in path.iterdir() if entry.suffix in {".yaml", ".yml"})
    return f"in it: {', '.join(names[:5])}" if names else ""


def _free_private_stretch(text: str) -> int:
    """Start of 128 private characters that the text does not use; icon fonts do use some."""
    used = {ord(char) & ~0x7F for char in set(text) if char >= "\U0010f000"}
    return next((base for base in _PRIVATE if base not in used), _PRIVATE.start)


def _hide(placeholder: str, base: int) -> str:
    return "".join(chr(base + ord(c)) if ord(c) < 0x80 else c for c in placeholder)


def _show(text: str, base: int) -> str:
    return "".join(chr(ord(c) - base) if base <= ord(c) < base + 0x80 else c for c in text)


def _bad_character(text: str, file: str, exc: yaml.reader.ReaderError) -> Problem:
    before = text[: exc.position]
    place = Place(file, before.count("\n") + 1, exc.position - (before.rfind("\n") + 1) + 1)
    return Problem(f"YAML does not allow the character {text[exc.position]!r}", place, "remove it")


_SYNTAX_HINTS = (
    ("\\t", "YAML is indented with spaces, not tabs"),
    ("mapping values are not allowed", "quote a text that contains ': ', and check the indentation"),
    ("expected <block end>", "check the indentation and that every entry of a list begins with '- '"),
    ("expected a single document", "a topology is one document: remove the '---' in between"),
    ("found undefined alias", "write the anchor (&name) before the alias (*name)"),
    ("expected ',' or", "close every bracket, and quote a text that contains brackets"),
    ("while scanning a quoted scalar", "close the quotes"),
    ("could not find expected ':'", "write `key: value`, with a space after the colon"),
)


def _syntax_problem(file: str, exc: yaml.MarkedYAMLError, base: int) -> Problem:
    mark = exc.problem_mark or exc.context_mark
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
    parts = [_show(part, base) for part in (exc.problem, exc.context) if part]
    message = "not valid YAML: " + " ".join(parts)
    return Problem(message, place, next((advice for sign, advice in _SYNTAX_HINTS if sign in message), ""))


class _Converter:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, file: str, base: int, problems: list[Problem]) -> None:
        self._file = file
        self._base = base
        self._problems = problems
        self._scalars = yaml.SafeLoader("")
        # Nodes by identity: an alias is the node of its anchor. None marks a node that is being converted.
        self._done: dict[int, Node | None] = {}

    def convert(self, node: yaml.Node) -> Node:
        if id(node) in self._done:
            found = self._done[id(node)]
            return found if found is not None else self._recursive(node)
        self._done[id(node)] = None
        self._done[id(node)] = made = self._make(node)
        return made

    def _make(self, node: yaml.Node) -> Node:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != _TAG + kind:
            self._bad_tag(node)
        if isinstance(node, yaml.MappingNode):
            return MapNode(self._place(node), tuple(self._entries(node)))
        return ListNode(self._place(node), tuple(self.convert(item) for item in node.value))

    def _scalar(self, node: yaml.ScalarNode) -> ScalarNode:
        place, text, plain = self._place(node), _show(node.value, self._base), node.style is None
        if node.tag not in _SCALAR_TAGS:
            self._bad_tag(node)
        elif text == node.value and node.tag not in (_TAG + "str", _TAG + "timestamp", _TAG + "value"):
            try:
                return ScalarNode(place, self._scalars.construct_object(node), text, plain)
            except (yaml.YAMLError, ValueError, LookupError):  # PyYAML indexes into an empty `!!int`
                kind = node.tag.removeprefix(_TAG)
                self._problem(f"{text[:60]!r} is not a valid value of YAML's type {kind}", place, "quote it for text")
        return ScalarNode(place, text, text, plain)

    def _entries(self, node: yaml.MappingNode) -> Iterator[tuple[ScalarNode, Node]]:
        """The map's own entries, then those that `<<` merges in; an own one wins over a merged one."""
        own: dict[Any, ScalarNode] = {}
        merged: list[tuple[ScalarNode, Node]] = []
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                merged += self._merged(value_node)
                continue
            key, value = self.convert(key_node), self.convert(value_node)
            if not isinstance(key, ScalarNode):
                self._problem("a map's key must be a single value, not a list or a map", key.place, "quote it for text")
            elif _identity(key) in own:
                first = own[_identity(key)].place
                message = f"key {key.text!r} is written twice in this map, first in line {first.line}"
                self._problem(message, key.place, "remove one of the two")
            else:
                own[_identity(key)] = key
                yield key, value
        for key, value in merged:
            if _identity(key) not in own:
                own[_identity(key)] = key
                yield key, value

    def _merged(self, node: yaml.Node) -> list[tuple[ScalarNode, Node]]:
        value = self.convert(node)
        maps = value.items if isinstance(value, ListNode) else (value,)
        entries: list[tuple[ScalarNode, Node]] = []
        for item in maps:
            if isinstance(item, MapNode):
                entries += item.entries
            else:
                self._problem("'<<' merges a map or a list of maps", item.place, "write `<<: *anchor`")
        return entries

    def _recursive(self, node: yaml.Node) -> Node:
        self._problem("this anchor contains itself", self._place(node), "remove the alias inside it")
        return ScalarNode(self._place(node), None, "")

    def _bad_tag(self, node: yaml.Node) -> None:
        tag = node.tag.replace(_TAG, "!!")
        self._problem(f"the YAML tag {tag!r} is not supported", self._place(node), "remove the tag")

    def _problem(self, message: str, place: Place, hint: str) -> None:
        self._problems.append(Problem(message, place, hint))

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._file, node.start_mark.line + 1, node.start_mark.column + 1)


def _identity(key: ScalarNode) -> tuple[type, Any]:
    """What makes two keys the same: 1 and true are two keys, though Python calls them equal."""
    return type(key.value), key.value
