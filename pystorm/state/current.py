"""What the task is processing: state notes it at every write, to know the key that an entry belongs to."""

from pystorm.speed import Current

__all__ = ["Current"]
