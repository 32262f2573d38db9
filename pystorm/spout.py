"""Spouts under the names that pystorm 3.x and streamparse give them: `from pystorm.spout import ReliableSpout`."""

from pystorm.components import ReliableSpout, ReplayableSpout, Spout

__all__ = ["ReliableSpout", "ReplayableSpout", "Spout"]
