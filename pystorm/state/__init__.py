"""State and checkpoints: what bolts remember, and how it survives.

Reading order: keyvalue (what users declare), local and frozen (one task's states), store (what a store of checkpoints
promises), memory_store and redis_store (the two that keep it), embedded (a Redis of our own), reader (for people).
"""

from pystorm.state.keyvalue import KeyValueState as KeyValueState

__all__ = ["KeyValueState"]
