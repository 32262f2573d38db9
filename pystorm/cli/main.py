"""The `pystorm` command.

Exit codes: 0 fine, 1 the topology failed, 2 the command or a file is wrong, 130 stopped twice by Ctrl-C.
"""

from __future__ import annotations

import sys

import click

from pystorm import __version__
from pystorm.cli.run import run
from pystorm.errors import PystormError, UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pystorm")
def cli() -> None:
    """Run Storm-style topologies: spouts and bolts from a YAML file, with acking and exactly-once state."""


cli.add_command(run)


def main() -> None:
    """Entry point: pystorm's own errors become one clear message and an exit code."""
    try:
        cli.main(prog_name="pystorm")
    except UserError as error:
        click.echo(f"error: {error}" if "\n" not in str(error) else str(error), err=True)
        sys.exit(2)
    except PystormError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
