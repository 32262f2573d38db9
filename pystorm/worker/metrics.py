"""A task's own metrics: what its component gave to `report_metric`."""

from __future__ import annotations

import numbers
from typing import Any

from pystorm.errors import ComponentError
from pystorm.values import PACK_ERRORS, pack, unpack


def is_number(value: Any) -> bool:
    """Whether a metric's values are summed: numbers are, truth values are not."""
    return isinstance(value, numbers.Number) and not isinstance(value, bool)


def merged(before: Any, value: Any) -> Any:
    """A metric's value after one more report.

    >>> merged(2, 3), merged("old", "new"), merged("old", 3)
    (5, 'new', 3)
    """
    return before + value if is_number(before) and is_number(value) else value


class TaskMetrics:
    """Metrics of one task since it was built, by name."""

    def __init__(self, component: str) -> None:
        self.values: dict[str, Any] = {}
        self._component = component
        self._has_news = False

    def report(self, name: str, value: Any) -> None:
        """Sum numbers, replace other values.

        Raises:
            ComponentError: the name is no text, or the value cannot be sent to the controller.
        """
        if not isinstance(name, str):
            raise ComponentError(f"component {self._component!r}: a metric's name must be text, got {name!r:.100}")
        try:
            copied = value if type(value) in (int, float) else unpack(pack(value))
        except PACK_ERRORS as error:
            raise ComponentError(f"component {self._component!r}: metric {name!r}: {error}") from error
        try:
            self.values[name] = merged(self.values.get(name), copied)
        except TypeError as error:
            raise ComponentError(
                f"component {self._component!r}: metric {name!r}: {value!r:.100} cannot be added to "
                f"{self.values[name]!r:.100}: {error}"
            ) from error
        self._has_news = True

    def take_news(self) -> dict[str, Any] | None:
        """All metrics, if any was reported since the last call."""
        if not self._has_news:
            return None
        self._has_news = False
        return dict(self.values)
