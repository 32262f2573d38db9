"""pystorm: Storm-style topologies in Python, with acking, keyed state on Redis and exactly-once checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pystorm.components import (
    BatchingBolt,
    Bolt,
    Component,
    ReliableSpout,
    ReplayableSpout,
    Spout,
    Stream,
    TicklessBatchingBolt,
    Tuple,
)
from pystorm.errors import ComponentError, ConfigError, PystormError, TopologyError, TopologyFailed
from pystorm.registered import register_type
from pystorm.state.keyvalue import KeyValueState

if TYPE_CHECKING:
    from pystorm.topology.dsl import Topology
    from pystorm.topology.specs import Grouping
    from pystorm.topology.specs import JavaBolt as JavaBolt
    from pystorm.topology.specs import JavaSpout as JavaSpout
    from pystorm.topology.specs import ShellBolt as ShellBolt
    from pystorm.topology.specs import ShellSpout as ShellSpout

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 (grouped by what they are for)
    # components
    "Spout",
    "ReliableSpout",
    "ReplayableSpout",
    "Bolt",
    "BatchingBolt",
    "TicklessBatchingBolt",
    "Component",
    "Stream",
    "Tuple",
    "register_type",
    # topologies in Python
    "Grouping",
    "Topology",
    # state
    "KeyValueState",
    # errors
    "PystormError",
    "ComponentError",
    "ConfigError",
    "TopologyError",
    "TopologyFailed",
    "__version__",
]

#: Name -> module, of what is imported when somebody asks for it: workers and commands do not need it.
_LAZY = {
    "Grouping": "specs",
    "JavaBolt": "specs",
    "JavaSpout": "specs",
    "ShellBolt": "specs",
    "ShellSpout": "specs",
    "Topology": "dsl",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(f"pystorm.topology.{_LAZY[name]}"), name)
    return found
