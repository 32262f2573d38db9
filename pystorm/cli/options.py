"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pystorm.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., Any])

#: Where everything is kept when nobody says otherwise.
DEFAULT_DATA_DIR = Path(".pystorm")

file_argument = click.argument("file", type=click.Path(path_type=Path))
topology_argument = click.argument("topology")
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a config key or a ${variable}; may be repeated."
)


def data_dir_option(text: str) -> Callable[[Function], Function]:
    """`--data-dir DIR`."""
    return click.option(
        "--data-dir",
        metavar="DIR",
        type=click.Path(path_type=Path),
        default=DEFAULT_DATA_DIR,
        show_default=True,
        help=text,
    )


def json_option(text: str) -> Callable[[Function], Function]:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def store_options(command: Function) -> Function:
    """`--data-dir` or `--url`: where committed state is."""
    from_url = click.option("--url", metavar="URL", help="A Redis of your own, instead: redis://host:6379/0")
    return data_dir_option("The data directory of the run.")(from_url(command))


def parse_overrides(pairs: tuple[str, ...]) -> dict[str, Any]:
    """The values of `--set KEY=VALUE`, read as YAML.

    >>> parse_overrides(("topology.workers=3", "path=a.txt"))
    {'topology.workers': 3, 'path': 'a.txt'}

    Raises:
        ConfigError: no `=`, no key, or a value that is no YAML.
    """
    import yaml

    found = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {pair!r}: expected KEY=VALUE, such as --set topology.workers=3")
        try:
            found[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"--set {pair!r}: the value is no YAML: {reason}", hint="put it in quotes") from error
    return found
