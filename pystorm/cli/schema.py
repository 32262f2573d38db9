"""`pystorm schema`: the JSON Schema of topology files, for editors."""

from __future__ import annotations

import json

import click

from pystorm.cli.output import print_line


@click.command()
def schema() -> None:
    """Print the JSON Schema of topology files, with which editors complete and check them.

    \b
    For editors with the YAML language server, write it to a file:
      pystorm schema > topology.schema.json
    and begin the topology file with:
      # yaml-language-server: $schema=topology.schema.json
    """
    from pystorm.topology.schema import topology_schema

    print_line(json.dumps(topology_schema(), indent=2))
