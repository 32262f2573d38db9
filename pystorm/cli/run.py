"""`pystorm run`: run a topology in the foreground.

Start-up is what people wait for, so the zygote, which needs some 0.2 s for its imports, starts before this process does
its own; nothing above the function imports more than that takes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pystorm.cli.options import data_dir_option, file_argument, json_option, parse_overrides, set_option

if TYPE_CHECKING:
    from pystorm.controller.status import RunResult

#: Exit code by outcome.
EXIT_CODES = {"finished": 0, "drained": 0, "failed": 1, "aborted": 130}


def result_to_json(result: RunResult) -> dict[str, Any]:
    """The last line of `run --json`."""
    from pystorm.state.codec import to_jsonable

    found: dict[str, Any] = {
        "topology": result.topology,
        "outcome": result.outcome,
        "seconds": round(result.seconds, 3),
        "components": {
            c.id: {
                "emitted": c.emitted,
                "acked": c.acked,
                "failed": c.failed,
                "processed": c.processed,
                **({"metrics": to_jsonable(c.metrics)} if c.metrics else {}),
            }
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
@file_argument
@set_option
@data_dir_option("Where state and logs are kept.")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Drain after S seconds.")
@click.option("--fresh", is_flag=True, help="Forget the state and positions of earlier runs.")
@json_option("Events as plain lines on stderr, the summary as one JSON object on stdout.")
def run(
    file: Path, overrides: tuple[str, ...], data_dir: Path, duration: float | None, fresh: bool, as_json: bool
) -> None:
    """Run the topology in FILE until its input ends, it fails, or Ctrl-C drains it.

    Started again, it resumes from the last committed checkpoint. Ctrl-C stops the spouts, lets everything in flight
    finish and commits a last checkpoint; a second Ctrl-C quits at once.
    """
    values = parse_overrides(overrides)
    result = _run(file, values, data_dir, duration, fresh, as_json)
    code = EXIT_CODES[result.outcome]
    if as_json:
        _print_result(result)
    sys.exit(code)


def _run(
    file: Path, values: dict[str, Any], data_dir: Path, duration: float | None, fresh: bool, as_json: bool
) -> RunResult:
    from pystorm.controller.launcher import Launcher

    launcher = Launcher()
    launcher.start()
    try:
        from pystorm.controller.launch import RunOptions, run_topology
        from pystorm.ui.console import open_console

        options = RunOptions(file=file, overrides=values, data_dir=data_dir, duration_s=duration, fresh=fresh)
        with open_console(as_json=as_json) as console:
            result = run_topology(options, console, launcher)
            console.summary(result, data_dir / result.topology / "logs")
        return result
    finally:
        launcher.close()


def _print_result(result: RunResult) -> None:
    from pystorm.cli.output import OutputClosed, flush_output, print_json

    try:
        print_json(result_to_json(result))
        flush_output()
    except OutputClosed:
        return  # the run is what it was, whoever reads of it
