"""Adds up what workers report, across their deaths and rollbacks."""

from __future__ import annotations

from typing import Any

from pystorm.controller.status import ComponentStatus
from pystorm.topology.plan import Plan


class Counters:
    """Latest report of every incarnation of every task; sums are taken when somebody looks.

    A bolt's counters start anew in each generation, a spout's when its worker does. What a killed worker counted since
    its last report, a quarter of a second at the most, is not in the sums.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        #: (task, pid, generation or 0 for spouts) -> emitted, acked, failed, processed
        self._counts: dict[tuple[int, int, int], list[int]] = {}
        #: task -> what it has pending now
        self._pending: dict[int, int] = {}
        #: (component, type, line, pid) -> count
        self._errors: dict[tuple[str, str, str, int], int] = {}

    def on_stats(self, message: dict[str, Any]) -> None:
        """A worker's report."""
        pid = message["pid"]
        for task_id, (emitted, acked, failed, processed, pending) in message["tasks"].items():
            is_spout = self._plan.topology.components[self._plan.tasks[task_id].component].kind == "spout"
            key = (task_id, pid, 0 if is_spout else message["generation"])
            self._counts[key] = [emitted, acked, failed, processed]
            self._pending[task_id] = pending
        for component, kind, line, count in message["errors"]:
            self._errors[component, kind, line, pid] = count

    def components(self) -> list[ComponentStatus]:
        """Sums per component, in the order of the topology file."""
        found = {c.id: ComponentStatus(c.id, c.kind, c.parallelism) for c in self._plan.topology.components.values()}
        for (task_id, _, _), (emitted, acked, failed, processed) in self._counts.items():
            status = found[self._plan.tasks[task_id].component]
            status.emitted += emitted
            status.acked += acked
            status.failed += failed
            status.processed += processed
        for task_id, pending in self._pending.items():
            found[self._plan.tasks[task_id].component].pending += pending
        return list(found.values())

    def errors(self) -> list[tuple[str, str, str, int]]:
        """(component, exception type, line, count), most frequent first."""
        sums: dict[tuple[str, str, str], int] = {}
        for (component, kind, line, _), count in self._errors.items():
            sums[component, kind, line] = sums.get((component, kind, line), 0) + count
        return sorted(((*cause, count) for cause, count in sums.items()), key=lambda row: -row[3])
