"""`pystorm checkpoints`: the committed checkpoints of a topology."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pystorm.cli.options import json_option, store_options, topology_argument
from pystorm.cli.output import json_line
from pystorm.errors import ConfigError

if TYPE_CHECKING:
    from pystorm.state.record import CheckpointRecord
    from pystorm.state.redis_store import RedisStore

#: Characters of a position that a table shows.
SHOWN_POSITION = 40


@click.command()
@topology_argument
@store_options
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most N.")
@json_option("One object a line.")
def checkpoints(topology: str, data_dir: Path, url: str | None, limit: int, as_json: bool) -> None:
    """List the committed checkpoints of TOPOLOGY, newest first: when, how long, how large, positions.

    A running or a stopped topology; what runs is not disturbed.
    """
    from pystorm.cli.committed import print_from

    def lines(store: RedisStore) -> Iterator[str]:
        records = store.history(limit)
        if not records:
            raise _nothing(store, topology, url)
        if as_json:
            yield from (json_line(record.to_json()) for record in records)
        else:
            yield from table(records)

    print_from(topology, data_dir, url, lines)


def _nothing(store: RedisStore, topology: str, url: str | None) -> ConfigError:
    from pystorm.topology.suggest import hint

    known = store.topologies() if url is not None else [topology]
    if topology in known:
        return ConfigError(f"topology {topology!r} has not committed a checkpoint yet")
    return ConfigError(f"there is no topology {topology!r} in {store.address}", hint=hint(topology, known))


def table(records: list[CheckpointRecord]) -> list[str]:
    """Records as aligned lines."""
    from pystorm.ui.format import aligned, count, duration, size

    rows = [["epoch", "committed at", "took", "keys", "size", "positions"]]
    for record in records:
        when = datetime.datetime.fromtimestamp(record.wall_time).strftime("%Y-%m-%d %H:%M:%S")
        positions = ", ".join(_positions(record)) + (" (final)" if record.final else "")
        took = duration(record.duration_ms / 1000)
        rows.append([str(record.epoch), when, took, count(record.keys), size(record.bytes), positions.strip()])
    return aligned(rows, right={0, 2, 3, 4})


def _positions(record: CheckpointRecord) -> Iterator[str]:
    """`component=position`, and `component/partition=position` where partitions have names."""
    for component, by_partition in record.positions.items():
        for partition, position in by_partition.items():
            name = f"{component}/{partition}" if partition else component
            yield f"{name}={_shortened(position)}"


def _shortened(position: Any) -> str:
    from pystorm.cli.state import as_text

    text = as_text(position)
    return text if len(text) <= SHOWN_POSITION else f"{text[: SHOWN_POSITION - 3]}..."
