"""The shape of a directed graph: its cycles and its order from sources to sinks.

Source: Tarjan, Depth-first search and linear graph algorithms (1972), for the colouring of the search.
"""

from __future__ import annotations

from collections.abc import Iterable


def cycles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """A cycle for every edge that closes one in a depth-first search: empty if and only if the graph has none.

    Each is the path in the edges' direction, its first node repeated at the end.

    >>> cycles([("a", "b"), ("b", "c"), ("c", "b")])
    [['b', 'c', 'b']]
    """
    targets = _targets_by_source(edges)
    found: list[list[str]] = []
    done: set[str] = set()
    for start in targets:
        # The path is a list of nodes, each with an iterator over the targets that remain to be visited. Recursion would
        # end at Python's limit in a long chain.
        path = {} if start in done else {start: iter(targets[start])}
        while path:
            node = next(reversed(path))
            target = next(path[node], None)
            if target is None:
                done.add(node)
                del path[node]
            elif target in path:
                names = list(path)
                found.append([*names[names.index(target) :], target])
            elif target not in done:
                path[target] = iter(targets.get(target, ()))
    return found


def in_order(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[str]:
    """Nodes so that every edge points forwards, otherwise in the order given; nodes on a cycle come last.

    >>> in_order(["c", "a", "b"], [("a", "b"), ("b", "c")])
    ['a', 'b', 'c']
    """
    remaining = list(nodes)
    pairs = set(edges)
    ordered: list[str] = []
    while remaining:
        waiting = {target for source, target in pairs if source in remaining and source != target}
        ready = [node for node in remaining if node not in waiting] or remaining
        ordered += ready
        remaining = [node for node in remaining if node not in ready]
    return ordered


def _targets_by_source(edges: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    targets: dict[str, list[str]] = {}
    for source, target in dict.fromkeys(edges):
        targets.setdefault(source, []).append(target)
    return targets
