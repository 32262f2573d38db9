"""`pystorm state`: what bolts have committed, of a running or a stopped topology."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pystorm.cli.groups import SuggestingGroup
from pystorm.cli.options import json_option, store_options, topology_argument
from pystorm.cli.output import json_line
from pystorm.errors import ConfigError

if TYPE_CHECKING:
    from pystorm.state.reader import CommittedState, Entry

_component = click.argument("component", required=False)
_state = click.argument("state_name", metavar="[STATE]", required=False)
_task = click.option("--task", type=click.IntRange(min=0), metavar="N", help="Of task N only, where state is per task.")


@click.group(cls=SuggestingGroup)
def state() -> None:
    """Read committed state, of a running or a stopped topology; what runs is not disturbed."""


@state.command("list")
@topology_argument
@_component
@_state
@store_options
@json_option("One object a line: component, state, entries.")
def list_states(
    topology: str, component: str | None, state_name: str | None, data_dir: Path, url: str | None, as_json: bool
) -> None:
    """List the states of TOPOLOGY with their numbers of entries."""

    def lines(committed: CommittedState) -> Iterator[str]:
        from pystorm.ui.format import aligned, count

        committed.dump(component, state_name)  # reads nothing yet, but refuses names that do not exist
        found = [row for row in committed.list() if component in (None, row[0]) and state_name in (None, row[1])]
        if as_json:
            yield from (json_line({"component": c, "state": s, "entries": n}) for c, s, n in found)
        else:
            rows = [["component", "state", "entries"], *([c, s, count(n)] for c, s, n in found)]
            yield from aligned(rows, right={2})

    _print(topology, data_dir, url, lines)


@state.command("get")
@topology_argument
@click.argument("component")
@click.argument("state_name", metavar="STATE")
@click.argument("key")
@_task
@store_options
@json_option("One object: component, state, key, value.")
def get_value(
    topology: str,
    component: str,
    state_name: str,
    key: str,
    task: int | None,
    data_dir: Path,
    url: str | None,
    as_json: bool,
) -> None:
    """Print the value of one KEY: of that text, else of what it is as YAML (42, true, [a, b])."""

    def lines(committed: CommittedState) -> Iterator[str]:
        found, value = find_value(committed, component, state_name, key, task)
        if as_json:
            from pystorm.state.reader import Entry

            yield entry_json(Entry(component, state_name, found, value, task))
        else:
            yield as_text(value)

    _print(topology, data_dir, url, lines)


@state.command("dump")
@topology_argument
@_component
@_state
@click.argument("key", required=False)
@_task
@store_options
@json_option("One object a line: component, state, key, value, and task where state is per task.")
def dump_entries(
    topology: str,
    component: str | None,
    state_name: str | None,
    key: str | None,
    task: int | None,
    data_dir: Path,
    url: str | None,
    as_json: bool,
) -> None:
    """Print all entries of TOPOLOGY, of a component, or of one state.

    One entry a line: component, state, key and value, separated by tabs.
    """

    def lines(committed: CommittedState) -> Iterator[str]:
        wanted = None if key is None else key_candidates(key)
        for entry in committed.dump(component, state_name):
            if task in (None, entry.task) and (wanted is None or entry.key in wanted):
                yield entry_json(entry) if as_json else entry_text(entry)

    _print(topology, data_dir, url, lines)


def _print(topology: str, data_dir: Path, url: str | None, lines: Callable[[CommittedState], Iterator[str]]) -> None:
    from pystorm.cli.committed import print_from
    from pystorm.state.reader import CommittedState
    from pystorm.state.redis_store import RedisStore

    def of_store(store: RedisStore) -> Iterator[str]:
        if url is None and not store.catalog().scopes:
            raise ConfigError(
                f"topology {topology!r} has no committed state",
                hint="either none of its bolts declares any, or no checkpoint was committed yet",
            )
        return lines(CommittedState(store, topology))

    print_from(topology, data_dir, url, of_store)


def find_value(committed: CommittedState, component: str, state_name: str, key: str, task: int | None) -> Any:
    """The key as it is stored, and its value.

    Raises:
        ConfigError: as `CommittedState.get`; for a missing key that of the key as text.
    """
    missing: list[ConfigError] = []
    for candidate in key_candidates(key):
        try:
            return candidate, committed.get(component, state_name, candidate, task=task)
        except ConfigError as error:
            if "no committed entry" not in error.problem.message:
                raise
            missing.append(error)
    raise missing[0]


def key_candidates(text: str) -> list[Any]:
    """What a key on the command line can mean: the text, then what it is as YAML.

    >>> key_candidates("42"), key_candidates("[a, 1]"), key_candidates("word")
    (['42', 42], ['[a, 1]', ('a', 1)], ['word'])
    """
    import yaml

    try:
        value = _hashable(yaml.safe_load(text))
        hash(value)
    except (yaml.YAMLError, TypeError):
        return [text]
    return [text] if value == text else [text, value]


def _hashable(value: Any) -> Any:
    return tuple(_hashable(item) for item in value) if isinstance(value, list) else value


def entry_json(entry: Entry) -> str:
    """An entry as a line of JSON, with its task where it has one."""
    from pystorm.state.codec import to_jsonable

    found = {field.name: to_jsonable(getattr(entry, field.name)) for field in dataclasses.fields(entry)}
    if entry.task is None:
        del found["task"]
    return json_line(found)


def entry_text(entry: Entry) -> str:
    """An entry as columns separated by tabs."""
    columns = [entry.component, entry.state, as_text(entry.key), as_text(entry.value)]
    if entry.task is not None:
        columns.append(f"task {entry.task}")
    return "\t".join(columns)


def as_text(value: Any) -> str:
    """Text as it is, anything else as JSON; text that would break a line or a column as JSON too.

    >>> as_text("a b"), as_text("a\\tb"), as_text((1, "a"))
    ('a b', '"a\\\\tb"', '[1, "a"]')
    """
    from pystorm.state.codec import to_jsonable

    value = to_jsonable(value)
    if isinstance(value, str):
        return value if value.isprintable() else json.dumps(value)
    return json_line(value)
