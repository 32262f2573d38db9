"""What users subclass: spouts, bolts, and the tuples and streams between them."""

from pystorm.components.bolt import Bolt
from pystorm.components.component import Component
from pystorm.components.spout import ReliableSpout, ReplayableSpout, Spout
from pystorm.components.stream import Stream, StreamDef, streams_of
from pystorm.components.tuples import Tuple

__all__ = [
    "Bolt",
    "Component",
    "ReliableSpout",
    "ReplayableSpout",
    "Spout",
    "Stream",
    "StreamDef",
    "Tuple",
    "streams_of",
]
