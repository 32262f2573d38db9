"""The topology DSL under the name that streamparse gives it: `from pystorm.dsl import Grouping, Stream, Topology`."""

from pystorm.components.stream import Stream
from pystorm.topology.dsl import Topology, TopologyType
from pystorm.topology.specs import (
    ComponentSpec,
    DslError,
    Grouping,
    JavaBolt,
    JavaSpout,
    ShellBolt,
    ShellSpout,
    StreamId,
)

__all__ = [
    "ComponentSpec",
    "DslError",
    "Grouping",
    "JavaBolt",
    "JavaSpout",
    "ShellBolt",
    "ShellSpout",
    "Stream",
    "StreamId",
    "Topology",
    "TopologyType",
]
