"""What pystorm 3.x has in this module: `from pystorm.component import Component, Tuple`."""

from pystorm.components import Component, Tuple

__all__ = ["Component", "Tuple"]
