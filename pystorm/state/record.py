"""CheckpointRecord: what is written at the commit point, and what a resuming run needs to know first.

Frames: msgpack map; "v" is the format version, the other keys are the fields' names.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from pystorm import values
from pystorm.errors import ConfigError
from pystorm.state.codec import to_jsonable

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRecord:
    """One committed checkpoint."""

    epoch: int
    #: the generation that committed it
    generation: int
    #: when, in seconds since 1970; for people, never for measuring
    wall_time: float
    #: from the barrier's start to the commit
    duration_ms: float
    #: state entries written or deleted
    keys: int
    #: bytes written for it
    bytes: int
    #: by component and partition: where its spout seeks to; any msgpack value
    positions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: by component: its number of tasks
    tasks: Mapping[str, int] = field(default_factory=dict)
    #: components whose state belongs to key groups
    keyed: Sequence[str] = field(default_factory=list)
    #: number of key groups; 0: written before this was noted
    max_parallelism: int = 0
    #: the last one of a run that ended by itself: every spout had finished
    final: bool = False
    #: of the topology that wrote it, to notice a changed one
    topology_digest: str = ""

    def pack(self) -> builtins.bytes:
        """The record as bytes."""
        return values.pack({"v": FORMAT_VERSION} | self._as_dict())

    def to_json(self) -> dict[str, Any]:
        """The record as a dict that the json module takes."""
        return {name: to_jsonable(value) for name, value in self._as_dict().items()}

    def _as_dict(self) -> dict[str, Any]:
        record = {each.name: getattr(self, each.name) for each in fields(self)}
        record["positions"] = {component: dict(by_name) for component, by_name in self.positions.items()}
        record["tasks"] = dict(self.tasks)
        record["keyed"] = list(self.keyed)
        return record


def unpack_record(data: bytes) -> CheckpointRecord:
    """The inverse of `CheckpointRecord.pack`.

    Raises:
        ConfigError: another version of pystorm wrote it, in a format that this one does not know.
    """
    found = values.unpack(data)
    version = found.pop("v", None)
    if version != FORMAT_VERSION:
        raise ConfigError(
            f"the checkpoint is of format version {version}, this pystorm reads version {FORMAT_VERSION}",
            hint="use the pystorm that wrote it, or start anew with --fresh",
        )
    return CheckpointRecord(**found)
