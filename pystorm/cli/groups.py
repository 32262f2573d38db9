"""A group of commands that knows what a mistyped one was meant to be."""

from __future__ import annotations

import os

import click

from pystorm.topology.suggest import hint


class SuggestingGroup(click.Group):
    """A group that answers an unknown command with the nearest known one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but a command that does not exist is answered with advice."""
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        if os.path.isfile(name):
            advice = f"did you mean '{ctx.command_path} run {name}'?"
        else:
            advice = hint(name, self.list_commands(ctx))
        raise click.UsageError(f"there is no command {name!r}; {advice}", ctx)
