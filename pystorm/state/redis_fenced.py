"""FencedWriter: runs the scripts that check the fence, and turns their refusals into errors that name the place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from pystorm.errors import InternalError
from pystorm.state import scripts
from pystorm.state.redis_client import Command, RedisClient, Script
from pystorm.state.store import stale

#: commands that one pipeline carries; keeps the replies that wait in Redis few
PIPELINE_COMMANDS = 256

acquire = Script(scripts.ACQUIRE, 1)
fence = Script(scripts.FENCE, 1)
register = Script(scripts.REGISTER, 2)
commit = Script(scripts.COMMIT, 3)
prepare = Script(scripts.PREPARE, 2)
move = Script(scripts.MOVE, 2)
snapshot = Script(scripts.SNAPSHOT, 3)
drop_snapshot = Script(scripts.DROP_SNAPSHOT, 3)
ALL = (acquire, fence, register, commit, prepare, move, snapshot, drop_snapshot)

#: what the fence of topology-wide keys is called in messages
TOPOLOGY = "the topology"


class EpochRefusedError(Exception):
    """A commit came too late; the text says which checkpoint is there already."""


class FencedWriter:
    """Runs scripts for one topology.

    Args:
        wait_replicas: how many replicas must have what `durably` writes; 0: none.
        wait_ms: how long to wait for them; below the socket's timeout.
    """

    def __init__(self, topology: str, client: RedisClient, *, wait_replicas: int, wait_ms: int) -> None:
        self._topology = topology
        self._client = client
        self._wait_replicas = wait_replicas
        self._wait_ms = wait_ms

    def run(self, generation: int, calls: Sequence[tuple[Command, str]]) -> list[int]:
        """The results of scripts, each given with the place that it writes to.

        Raises:
            StaleGeneration: another generation owns a place.
        """
        results: list[int] = []
        for at in range(0, len(calls), PIPELINE_COMMANDS):
            batch = calls[at : at + PIPELINE_COMMANDS]
            outcomes = self._client.outcomes([command for command, _ in batch])
            for outcome, (_, place) in zip(outcomes, batch, strict=True):
                results.append(self._judge(outcome, generation, place))
        return results

    def durably(self, generation: int, command: Command) -> int:
        """One script, and the wait for replicas: in one pipeline, since WAIT is about its own connection's writes."""
        commands = [command]
        if self._wait_replicas:
            commands.append(("WAIT", self._wait_replicas, self._wait_ms))
        outcomes = self._client.outcomes(commands)
        result = self._judge(outcomes[0], generation, TOPOLOGY)
        if self._wait_replicas and self._judge(outcomes[1], generation, TOPOLOGY) < self._wait_replicas:
            raise self._client.unavailable(
                f"only {outcomes[1]} of {self._wait_replicas} replicas (topology.state.wait.replicas) have the commit"
                f" after {self._wait_ms} ms"
            )
        return result

    def _judge(self, outcome: Any, generation: int, place: str) -> int:
        if not isinstance(outcome, redis.ResponseError):
            return int(outcome)
        word, _, rest = str(outcome).partition(" ")
        if word == "STALE":
            raise stale(self._topology, generation, place, rest)
        if word == "EPOCH":
            raise EpochRefusedError(rest)
        if word == "SUPERSEDED":
            raise InternalError(
                f"{self._topology}: {place} is being prepared twice at a time (found {rest or 'no list'})"
            ) from outcome
        raise InternalError(f"Redis at {self._client.address} answered: {outcome}") from outcome
