"""The names of all Redis keys.

Keys (names are percent-encoded, so none can contain the separators; T = topology, S = scope)
    pystorm:1:{T}:generation        string  number of the newest generation, and the topology's fence
    pystorm:1:{T}:commit            hash    generation, epoch, record of the last committed checkpoint
    pystorm:1:{T}:history           list    records, newest first
    pystorm:1:{T}:scopes            set     every scope ever used
    pystorm:1:{T}:states            set     "component:state", every one ever written
    pystorm:1:{T}:snapshots         set     epochs that have a snapshot hash
    pystorm:1:{T}:snapshot:<epoch>  hash    "<task>" -> number of pieces, "<task>:<piece>" -> bytes
    pystorm:1:{T/S}:fence           string  the generation that may write to the scope
    pystorm:1:{T/S}:p:<component>   list    prepared: "<generation>.<epoch>.<attempt>", then packed chunks
    pystorm:1:{T/S}:s:<component>:<state>  hash  committed entries: packed key -> packed value

1 is the format's version. What stands in braces is Redis Cluster's hash tag: all keys of one script share it.
"""

from __future__ import annotations

from urllib.parse import quote as _quote
from urllib.parse import unquote

#: first part of every key: the program and the format's version
PREFIX = "pystorm:1:"


def quote(name: str) -> str:
    """A name without separators, braces or glob characters."""
    return _quote(name, safe="", errors="surrogateescape")


class Keys:
    """The key names of one topology."""

    def __init__(self, topology: str) -> None:
        name = quote(topology)
        self._scope_root = f"{PREFIX}{{{name}/"
        root = f"{PREFIX}{{{name}}}:"
        self.generation = f"{root}generation"
        self.commit = f"{root}commit"
        self.history = f"{root}history"
        self.scopes = f"{root}scopes"
        self.states = f"{root}states"
        self.snapshots = f"{root}snapshots"
        #: glob of everything that belongs to the topology
        self.everything = f"{PREFIX}{{{name}[}}/]*"
        self._snapshot = f"{root}snapshot:"

    def snapshot(self, epoch: int) -> str:
        return f"{self._snapshot}{epoch}"

    def fence(self, scope: str) -> str:
        return f"{self._scope_root}{scope}}}:fence"

    def prepared(self, scope: str, component: str) -> str:
        return f"{self._scope_root}{scope}}}:p:{quote(component)}"

    def entries_of(self, scope: str, component: str) -> str:
        """What the keys of all states of a component in a scope begin with; the state's quoted name follows."""
        return f"{self._scope_root}{scope}}}:s:{quote(component)}:"

    def entries(self, scope: str, component: str, state: str) -> str:
        return self.entries_of(scope, component) + quote(state)


#: glob of the key that every topology with data has
ALL_TOPOLOGIES = f"{PREFIX}*}}:scopes"


def topology_of(scopes_key: str) -> str:
    """The topology's name in a key that `ALL_TOPOLOGIES` matched."""
    return unquote(scopes_key[len(PREFIX) + 1 : scopes_key.index("}")])


def state_member(component: str, state: str) -> str:
    """A member of the set of states."""
    return f"{quote(component)}:{quote(state)}"


def parse_state_member(member: bytes) -> tuple[str, str]:
    """The inverse of `state_member`."""
    component, state = member.decode().split(":")
    return unquote(component), unquote(state)
