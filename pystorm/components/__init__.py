"""What users subclass: spouts, bolts, and the tuples and streams between them."""

from pystorm.components.batching import BatchingBolt, TicklessBatchingBolt
from pystorm.components.bolt import Bolt
from pystorm.components.component import Component
from pystorm.components.spout import ReliableSpout, ReplayableSpout, Spout
from pystorm.components.stream import Stream, StreamDef, streams_of
from pystorm.components.tuples import Tuple

__all__ = [
    "BatchingBolt",
    "Bolt",
    "Component",
    "ReliableSpout",
    "ReplayableSpout",
    "Spout",
    "Stream",
    "StreamDef",
    "TicklessBatchingBolt",
    "Tuple",
    "streams_of",
]
