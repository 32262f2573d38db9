"""Whether a topology may go on from the checkpoint that is there: state has to be where its tasks look for it.

State that belongs to key groups moves with them when parallelism changes. Three changes have no such rule and are
refused instead of losing state without a word: another number of key groups, another number of tasks in a bolt whose
state is per task, and groupings that turn one kind into the other.
"""

from __future__ import annotations

from collections.abc import Collection

from pystorm.errors import Problem, TopologyError
from pystorm.state.record import CheckpointRecord
from pystorm.topology.config import Settings
from pystorm.topology.model import Component
from pystorm.topology.plan import Plan


def check_compatible(record: CheckpointRecord, plan: Plan, settings: Settings, stateful: Collection[str]) -> None:
    """Compare a topology with the one that committed a checkpoint.

    Args:
        stateful: the components that declare state.

    Raises:
        TopologyError: with everything that would make it look for state in the wrong place.
    """
    known = [plan.topology.components[c] for c in stateful if c in record.tasks]
    problems = [p for component in known for p in _check_component(component, record, plan)]
    if known and record.max_parallelism not in (0, settings.max_parallelism):
        problems.append(
            Problem(
                f"topology.max.parallelism was {record.max_parallelism} when checkpoint {record.epoch} was committed "
                f"and is {settings.max_parallelism} now: keys would be looked for in other key groups",
                hint=f"set it back to {record.max_parallelism}, or start anew with --fresh",
            )
        )
    if problems:
        raise TopologyError(problems)


def _check_component(component: Component, record: CheckpointRecord, plan: Plan) -> list[Problem]:
    was_keyed, is_keyed = component.id in record.keyed, plan.topology.is_keyed(component.id)
    kinds = {True: "belongs to key groups (every input is FIELDS-grouped)", False: "is per task"}
    if was_keyed != is_keyed:
        return [
            Problem(
                f"{component.kind} {component.id!r}: its state {kinds[is_keyed]} now, and did not in checkpoint "
                f"{record.epoch}",
                component.place,
                "put its groupings back, or start anew with --fresh",
            )
        ]
    before = record.tasks[component.id]
    if is_keyed or before == component.parallelism:
        return []
    return [
        Problem(
            f"{component.kind} {component.id!r}: its state {kinds[False]} and was saved by {before} tasks, parallelism "
            f"is {component.parallelism} now",
            component.place,
            f"set parallelism back to {before}, use FIELDS groupings, or start anew with --fresh",
        )
    ]
