"""Placeholders: `${name}`, `${ENV-NAME}`, `${topology.dir}` in a tree of YAML nodes.

Theory of operation: substitution works on parsed values, not on the file's text, so a value can never change the
structure around it and every place stays right. A value that is one unquoted placeholder and nothing else becomes what
the placeholder stands for, with its type, be it a number, a list or a map. In quotes, and with other text around it,
the placeholder is replaced by text. `$${name}` stands for the text `${name}`.

A name is looked up, in this order: what the command line set, the topology's `config`, `topology.dir`; names that begin
with `ENV-` are environment variables, whose text is read as YAML reads it, so `8` is a number. What a name stands for
may hold placeholders itself. `${name[0]}` is an element of a list.

Source: Flux's property substitution (apache/storm docs/flux.md), which works line by line on text; it finds only the
last placeholder of a line and leaves unknown ones as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pystorm.errors import Place, Problem
from pystorm.topology.config import is_config_key
from pystorm.topology.suggest import hint, nearest
from pystorm.topology.yaml_source import ListNode, MapNode, Node, ScalarNode, node_of, parse_yaml

ENV_PREFIX = "ENV-"
TOPOLOGY_DIR = "topology.dir"

_TOKEN = re.compile(r"\$\$\{|\$\{([^{}\n]*)\}|\$\{")
_ELEMENT = re.compile(r"(.+)\[(\d+)\]")


class Substitution:
    """Replaces placeholders and collects what is wrong with them.

    Args:
        values: what the command line set, by name.
        config: the topology's `config`: name to node, as in the file.
        env: the environment.
        directory: value of `${topology.dir}`.
        problems: gets what is wrong.
    """

    def __init__(
        self,
        *,
        values: Mapping[str, Any],
        config: Mapping[str, Node],
        env: Mapping[str, str],
        directory: str,
        problems: list[Problem],
    ) -> None:
        self._values = values
        self._config = config
        self._env = env
        self._directory = directory
        self._problems = problems
        self._resolving: list[str] = []
        #: every name that a placeholder asked for, found or not
        self.used: set[str] = set()

    def apply(self, node: Node) -> Node:
        """A copy of a tree with all its placeholders replaced. One that stands for nothing becomes the empty text."""
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if isinstance(node, ListNode):
            return ListNode(node.place, tuple(self.apply(item) for item in node.items))
        return MapNode(node.place, tuple((self._key(key), self.apply(value)) for key, value in node.entries))

    def _key(self, node: ScalarNode) -> ScalarNode:
        made = self._scalar(node)
        if isinstance(made, ScalarNode):
            return made
        self._problems.append(Problem(f"{node.text!r} is not a single value, a map's key has to be", node.place))
        return ScalarNode(node.place, node.text, node.text)

    def _scalar(self, node: ScalarNode) -> Node:
        if not isinstance(node.value, str) or "${" not in node.value:
            return node
        whole = _TOKEN.fullmatch(node.value)
        if whole and whole.group(1) is not None and node.plain:
            found = self._resolve(whole.group(1), node.place)
            return _at(found, node.place) if found else ScalarNode(node.place, "", "")
        text = _TOKEN.sub(lambda match: self._as_text(match, node.place), node.value)
        return ScalarNode(node.place, text, text, node.plain)

    def _as_text(self, match: re.Match[str], place: Place) -> str:
        if match.group() == "$${":
            return "${"
        name = match.group(1)
        if name is None:
            self._problems.append(
                Problem("'${' without its '}'", place, "close it, or write '$${' for the text itself")
            )
            return match.group()
        found = self._resolve(name, place)
        if isinstance(found, (ListNode, MapNode)):
            kind = "list" if isinstance(found, ListNode) else "map"
            message = f"${{{name}}} is a {kind}, which cannot stand in quotes or inside other text"
            self._problems.append(Problem(message, place, "let the placeholder be the whole value, without quotes"))
            return ""
        return found.text if found else ""

    def _resolve(self, name: str, place: Place) -> Node | None:
        """What a name stands for, its own placeholders replaced; None after reporting that there is no such thing."""
        self.used.add(name)
        if name in self._resolving:
            chain = " -> ".join([*self._resolving[self._resolving.index(name) :], name])
            self._problems.append(Problem(f"${{{name}}} stands for itself: {chain}", place))
            return None
        raw = self._look_up(name, place)
        if raw is None:
            self._problems.append(self._unresolved(name, place))
            return None
        self._resolving.append(name)
        try:
            return self.apply(raw)
        finally:
            self._resolving.pop()

    def _look_up(self, name: str, place: Place) -> Node | None:
        if name in self._values:
            return node_of(self._values[name], place)
        if name in self._config:
            return self._config[name]
        if name == TOPOLOGY_DIR:
            # Escaped, because a folder's name may hold what looks like a placeholder.
            return ScalarNode(place, self._directory.replace("${", "$${"), self._directory)
        if name.startswith(ENV_PREFIX):
            return self._environment(name, place)
        element = _ELEMENT.fullmatch(name)
        whole = self._look_up(element.group(1), place) if element else None
        if element and isinstance(whole, ListNode) and int(element.group(2)) < len(whole.items):
            self.used.add(element.group(1))
            return whole.items[int(element.group(2))]
        return None

    def _environment(self, name: str, place: Place) -> Node | None:
        text = self._env.get(name.removeprefix(ENV_PREFIX))
        if text is None:
            return None
        # Only a single value is read as YAML: a password may well look like broken YAML or like a list.
        node = parse_yaml(text, place.file, []) if text.strip() and "\n" not in text else None
        is_single = isinstance(node, ScalarNode) and node.plain and node.text == text.strip()
        value = node.value if isinstance(node, ScalarNode) and is_single else text
        value = value.replace("${", "$${") if isinstance(value, str) else value
        return ScalarNode(place, value, text)

    def _unresolved(self, name: str, place: Place) -> Problem:
        if name.startswith(ENV_PREFIX):
            variable = name.removeprefix(ENV_PREFIX)
            advice = hint(variable, self._env) or f"set it, as in `{variable}=... pystorm run ...`"
            return Problem(f"${{{name}}}: the environment variable {variable!r} is not set", place, advice)
        advice = name_hint(name, [*self._values, *self._config]) or "declare it under config, or set it with --set"
        return Problem(f"nothing is known for ${{{name}}}", place, advice)


def name_hint(name: str, known: Iterable[str]) -> str:
    """What to tell somebody who wrote a name that is none; keys of configuration are offered only if they are near."""
    names = [*known, TOPOLOGY_DIR]
    if nearest(name, names):
        return hint(name, names)
    return hint(name, [other for other in names if not is_config_key(other)])


def _at(node: Node, place: Place) -> Node:
    """A substituted value counts as written where its placeholder stands; what is inside it keeps its own place."""
    if isinstance(node, ScalarNode):
        return ScalarNode(place, node.value, node.text)
    if isinstance(node, ListNode):
        return ListNode(place, node.items)
    return MapNode(place, node.entries)
