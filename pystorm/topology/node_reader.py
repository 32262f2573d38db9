"""Reads values of known shape out of YAML nodes and reports what has another shape.

Every method takes a node and a description of the thing for messages, and returns the value or a harmless stand-in, so
that reading goes on and all mistakes of a file are found in one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pystorm.errors import Place, Problem
from pystorm.topology.config import shown
from pystorm.topology.suggest import hint
from pystorm.topology.yaml_source import ListNode, MapNode, Node, ScalarNode, value_of

#: A map's entries by key, each with its key's place.
Entries = dict[str, tuple[Place, Node]]


class NodeReader:
    """Collects problems while values are read.

    Args:
        problems: gets what is wrong.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def report(self, message: str, place: Place | None, advice: str = "") -> None:
        """Add a problem."""
        self.problems.append(Problem(message, place, advice))

    def entries(self, node: Node, what: str, known: Iterable[str], hints: Mapping[str, str] | None = None) -> Entries:
        """A map's entries by key, each with its key's place; keys that are not `known` are reported and left out.

        Args:
            node: what should be a map.
            what: names it in messages.
            known: the keys that it may have.
            hints: what to say, in place of the nearest known key, to keys that people are likely to try.
        """
        found: Entries = {}
        if not isinstance(node, MapNode):
            self.report(f"{what} must be a map, got {shown(value_of(node))}", node.place)
            return found
        names = tuple(known)
        for key, value in node.entries:
            if key.value in names:
                found[key.value] = (key.place, value)
            else:
                text = key.text or str(key.value)
                advice = (hints or {}).get(text) or hint(text, names)
                self.report(f"{what}: unknown key {text!r}", key.place, advice)
        return found

    def items(self, node: Node | None, what: str, advice: str = "") -> tuple[Node, ...]:
        """A list's items; nothing at all counts as an empty list."""
        if node is None or (isinstance(node, ScalarNode) and node.value is None):
            return ()
        if isinstance(node, ListNode):
            return node.items
        self.report(f"{what} must be a list, got {shown(value_of(node))}", node.place, advice)
        return ()

    def text(self, node: Node, what: str, advice: str = "") -> str:
        """A text that is not empty; the empty text after a report."""
        value = node.value if isinstance(node, ScalarNode) else value_of(node)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, (bool, int, float)):
            advice = "put it in quotes"
        got = "an empty text" if value == "" else shown(value)
        # An empty text stands for a placeholder that was reported already.
        if value != "" or not self._reported_at(node.place):
            self.report(f"{what} must be text, got {got}", node.place, advice)
        return ""

    def whole_number(self, node: Node, what: str, default: int) -> int:
        """A whole number."""
        value = node.value if isinstance(node, ScalarNode) else value_of(node)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value != "" or not self._reported_at(node.place):
            advice = "write the number without quotes" if isinstance(value, str) and value.isdigit() else ""
            self.report(f"{what} must be a whole number, got {shown(value)}", node.place, advice)
        return default

    def boolean(self, node: Node, what: str, default: bool) -> bool:
        """true or false."""
        value = node.value if isinstance(node, ScalarNode) else value_of(node)
        if isinstance(value, bool):
            return value
        self.report(f"{what} must be true or false, got {shown(value)}", node.place)
        return default

    def _reported_at(self, place: Place) -> bool:
        return any(problem.place == place for problem in self.problems)
