"""pystorm: Storm-style topologies in Python, with acking, keyed state on Redis and exactly-once checkpoints."""

from pystorm.components import Bolt, Component, ReliableSpout, ReplayableSpout, Spout, Stream, Tuple
from pystorm.errors import ComponentError, ConfigError, PystormError, TopologyError, TopologyFailed
from pystorm.state.keyvalue import KeyValueState

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 (grouped by what they are for)
    # components
    "Spout",
    "ReliableSpout",
    "ReplayableSpout",
    "Bolt",
    "Component",
    "Stream",
    "Tuple",
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
