"""Bolts under the names that pystorm 3.x and streamparse give them: `from pystorm.bolt import BatchingBolt`."""

from pystorm.components import BatchingBolt, Bolt, TicklessBatchingBolt

__all__ = ["BatchingBolt", "Bolt", "TicklessBatchingBolt"]
