"""`pystorm run`: run a topology in the foreground."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from pystorm.controller.launch import RunOptions, run_topology
from pystorm.controller.status import RunResult
from pystorm.errors import ConfigError
from pystorm.ui.console import open_console

#: Exit code by outcome.
EXIT_CODES = {"finished": 0, "drained": 0, "failed": 1, "aborted": 130}


def parse_overrides(pairs: tuple[str, ...]) -> dict[str, Any]:
    """The values of `--set KEY=VALUE`, read as YAML.

    >>> parse_overrides(("topology.workers=3", "path=a.txt"))
    {'topology.workers': 3, 'path': 'a.txt'}

    Raises:
        ConfigError: no `=`, no key, or a value that is no YAML.
    """
    found = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {pair!r}: expected KEY=VALUE, such as --set topology.workers=3")
        try:
            found[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {pair!r}: the value is no YAML: {error}") from error
    return found


def result_to_json(result: RunResult) -> dict[str, Any]:
    """The last line of `run --json`."""
    found: dict[str, Any] = {
        "topology": result.topology,
        "outcome": result.outcome,
        "seconds": round(result.seconds, 3),
        "components": {
            c.id: {"emitted": c.emitted, "acked": c.acked, "failed": c.failed, "processed": c.processed}
            for c in result.components
        },
        "checkpoints": {"committed": result.checkpoints},
        "recoveries": result.recoveries,
    }
    if result.cause:
        found["cause"] = result.cause
    if result.errors:
        found["errors"] = [
            {"component": component, "type": kind, "line": line, "count": count}
            for component, kind, line, count in result.errors
        ]
    return found


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a config key or a ${variable}.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), default=Path(".pystorm"), show_default=True, help="State and logs."
)
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Drain after S seconds.")
@click.option("--fresh", is_flag=True, help="Forget the state and positions of earlier runs.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: progress as lines, the summary as one object.")
def run(
    file: Path, overrides: tuple[str, ...], data_dir: Path, duration: float | None, fresh: bool, as_json: bool
) -> None:
    """Run the topology in FILE until its input ends, it fails, or Ctrl-C drains it.

    Started again, it resumes from the last committed checkpoint.
    """
    options = RunOptions(
        file=file,
        overrides=parse_overrides(overrides),
        data_dir=data_dir,
        duration_s=duration,
        fresh=fresh,
    )
    with open_console(as_json=as_json) as console:
        result = run_topology(options, console)
        console.summary(result)
    if as_json:
        click.echo(json.dumps(result_to_json(result)))
    sys.exit(EXIT_CODES[result.outcome])
