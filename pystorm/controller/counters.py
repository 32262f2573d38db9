"""Adds up what workers report, across their deaths and rollbacks."""

from __future__ import annotations

from typing import Any

from pystorm.controller.status import ComponentStatus
from pystorm.topology.plan import Plan
from pystorm.worker.metrics import merged


class Counters:
    """Latest report of every incarnation of every task; sums are taken when somebody looks.

    Metrics of a component are added up as its tasks add up theirs: numbers are summed, of other values the last counts.
    A bolt's counters start anew in each generation, a spout's when its worker does. What a killed worker counted since
    its last report, a quarter of a second at the most, is not in the sums.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        #: (task, pid, generation or 0 for spouts) -> emitted, acked, failed, processed
        self._counts: dict[tuple[int, int, int], list[int]] = {}
        #: task -> what it has pending now
        self._pending: dict[int, int] = {}
        #: keys as above -> metrics by name; the last to report is the last in it
        self._metrics: dict[tuple[int, int, int], dict[str, Any]] = {}
        #: (component, type, line, pid) -> count
        self._errors: dict[tuple[str, str, str, int], int] = {}

    def on_stats(self, message: dict[str, Any]) -> None:
        """A worker's report."""
        pid = message["pid"]
        for task_id, (emitted, acked, failed, processed, pending) in message["tasks"].items():
            self._counts[self._key(task_id, message)] = [emitted, acked, failed, processed]
            self._pending[task_id] = pending
        for task_id, values in message["metrics"].items():
            key = self._key(task_id, message)
            self._metrics.pop(key, None)
            self._metrics[key] = values
        for component, kind, line, count in message["errors"]:
            self._errors[component, kind, line, pid] = count

    def _key(self, task_id: int, message: dict[str, Any]) -> tuple[int, int, int]:
        is_spout = self._plan.topology.components[self._plan.tasks[task_id].component].kind == "spout"
        return task_id, message["pid"], 0 if is_spout else message["generation"]

    def components(self) -> list[ComponentStatus]:
        """Sums per component, in the order of the topology file."""
        found = {c.id: ComponentStatus(c.id, c.kind, c.parallelism) for c in self._plan.topology.components.values()}
        for (task_id, _, _), (emitted, acked, failed, processed) in self._counts.items():
            status = found[self._plan.tasks[task_id].component]
            status.emitted += emitted
            status.acked += acked
            status.failed += failed
            status.processed += processed
        for (task_id, _, _), values in self._metrics.items():
            metrics = found[self._plan.tasks[task_id].component].metrics
            for name, value in values.items():
                metrics[name] = merged(metrics.get(name), value)
        for task_id, pending in self._pending.items():
            found[self._plan.tasks[task_id].component].pending += pending
        return list(found.values())

    def errors(self) -> list[tuple[str, str, str, int]]:
        """(component, exception type, line, count), most frequent first."""
        sums: dict[tuple[str, str, str], int] = {}
        for (component, kind, line, _), count in self._errors.items():
            sums[component, kind, line] = sums.get((component, kind, line), 0) + count
        return sorted(((*cause, count) for cause, count in sums.items()), key=lambda row: -row[3])
