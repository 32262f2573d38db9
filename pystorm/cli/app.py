"""The commands of `pystorm`, each imported only when it is used: `run` must not wait for what `state` needs."""

from __future__ import annotations

import importlib

import click

from pystorm import __version__
from pystorm.cli.groups import SuggestingGroup

#: Command -> module and name of the click command, in the order of `--help`.
_COMMANDS = {
    "new": "pystorm.cli.new:new",
    "run": "pystorm.cli.run:run",
    "validate": "pystorm.cli.validate:validate",
    "graph": "pystorm.cli.graph:graph",
    "schema": "pystorm.cli.schema:schema",
    "state": "pystorm.cli.state:state",
    "checkpoints": "pystorm.cli.checkpoints:checkpoints",
}


class LazyGroup(SuggestingGroup):
    """The group of the commands above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of `--help`."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pystorm")
def cli() -> None:
    """Run Storm-style topologies: spouts and bolts from a YAML file, with acking and exactly-once state.

    \b
    Start with:  pystorm run topologies/wordcount.yaml
    Then:        pystorm state dump wordcount count counts
    """
