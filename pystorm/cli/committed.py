"""Where the committed state of a topology is, and reading it there: for `state` and `checkpoints`.

Theory of operation. With `--url` it is in that Redis. Without, it is in the data directory: if a run is alive its
embedded Redis is asked, on the socket that the run's lock file leads to, and what runs is not disturbed; if none is, a
server is started on the data for as long as the reading takes. The server's own file lock keeps two servers off the
same data. A run may end or start in between: then the reading begins anew.

What is read is kept until the server is released and printed then: a pager that is left open must not keep a run from
starting, and what is read twice must not be printed twice.

Invariants: nothing is written; a server that was started here is gone before the first line is printed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pystorm.cli.output import print_line
from pystorm.controller.datadir import DataDirectory, make_runtime_directory
from pystorm.errors import ConfigError, StateUnavailable
from pystorm.state.embedded import EmbeddedRedis
from pystorm.state.redis_store import RedisStore
from pystorm.topology.suggest import hint

#: How long a live server may take to accept a connection, in seconds.
CONNECT_TIMEOUT_S = 2.0
#: How often reading is begun: the run may end, and another one start, while it goes on.
ATTEMPTS = 3
#: Output up to this many characters stays in memory.
SPOOL_BYTES = 16 << 20


def print_from(topology: str, data_dir: Path, url: str | None, lines: Callable[[RedisStore], Iterable[str]]) -> None:
    """Print lines made from the store of a topology.

    Args:
        lines: makes the lines; called again when the run whose server it read from ended meanwhile.
    Raises:
        ConfigError: there is no such data directory or topology; the names that exist are told.
        StateUnavailable: the server does not answer or does not start.
    """
    if url is not None:
        with contextlib.closing(RedisStore(topology, {"url": url})) as store:
            for line in lines(store):
                print_line(line)
        return
    directory = _find_directory(topology, data_dir)
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES, "w+", encoding="utf-8", newline="\n") as spool:
        try:
            _read_embedded(topology, directory, lines, spool)
        except PermissionError as error:
            raise ConfigError(f"cannot read the data of {topology!r} in {directory}: {error.strerror}") from error
        spool.seek(0)
        for line in spool:
            print_line(line.removesuffix("\n"))


def _find_directory(topology: str, data_dir: Path) -> Path:
    if topology.endswith((".yaml", ".yml", ".py")) and Path(topology).is_file():
        raise ConfigError(f"{topology!r} is a file", hint="give the name of the topology, as in its `name:`")
    directory = DataDirectory(data_dir.absolute(), topology).path
    if (directory / "redis").is_dir():
        return directory
    if not data_dir.is_dir():
        raise ConfigError(
            f"there is no data directory {data_dir.absolute()}",
            hint="name the one of the run with --data-dir, or its Redis with --url",
        )
    if (directory / "lock").is_file():
        raise ConfigError(
            f"topology {topology!r} keeps nothing in {data_dir}",
            hint="if its state is in a Redis of your own, name that with --url; without state and checkpoints there is"
            " nothing to see",
        )
    names = [path.name for path in sorted(data_dir.iterdir()) if (path / "lock").is_file()]
    advice = hint(topology, names) if names else "no topology has run there yet"
    raise ConfigError(f"there is no topology {topology!r} in {data_dir}", hint=advice)


def _read_embedded(
    topology: str,
    directory: Path,
    lines: Callable[[RedisStore], Iterable[str]],
    spool: tempfile.SpooledTemporaryFile[str],
) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        spool.seek(0)
        spool.truncate()
        try:
            with contextlib.ExitStack() as stack:
                server = _live_server(directory) or stack.enter_context(_own_server(directory))
                store = stack.enter_context(contextlib.closing(RedisStore(topology, server.config)))
                spool.writelines(f"{line}\n" for line in lines(store))
            return
        except StateUnavailable:
            if attempt == ATTEMPTS:
                raise


def _live_server(directory: Path) -> EmbeddedRedis | None:
    """The server of a run that is alive. A lock file may be stale: what counts is who answers on the socket."""
    try:
        content = json.loads((directory / "lock").read_text(encoding="utf-8") or "{}")
    except (FileNotFoundError, ValueError):
        return None
    runtime = content.get("runtime") if isinstance(content, dict) else None
    if not isinstance(runtime, str):
        return None
    server = EmbeddedRedis(directory, Path(runtime))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_TIMEOUT_S)
        try:
            probe.connect(server.unix_socket_path)
        except OSError:
            return None
    return server


@contextlib.contextmanager
def _own_server(directory: Path) -> Iterator[EmbeddedRedis]:
    runtime = make_runtime_directory()
    server = EmbeddedRedis(directory, runtime)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(runtime, ignore_errors=True)
