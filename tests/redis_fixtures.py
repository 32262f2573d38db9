"""A real Redis for tests: one server for the whole run, or one per test to be killed.

Neither is a fake: both are the embedded server that users get. Topologies have names of their own, so tests that share
the server never meet.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystorm.state.embedded import EmbeddedRedis

_numbers = itertools.count(1)


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    """A private directory with a path short enough for sockets, which pytest's tmp_path is not."""
    path = Path(tempfile.mkdtemp(prefix="ps-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A running server for the whole test run; do not stop it."""
    runtime = Path(tempfile.mkdtemp(prefix="ps-"))
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"), runtime)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(runtime)


@pytest.fixture
def redis_config(redis_server: EmbeddedRedis) -> dict[str, str]:
    """What reaches the shared server."""
    return redis_server.config


@pytest.fixture
def own_redis(tmp_path: Path, runtime_dir: Path) -> Iterator[EmbeddedRedis]:
    """A running server for this test alone, to stop, kill and restart."""
    server = EmbeddedRedis(tmp_path / "data", runtime_dir)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def topology_name() -> str:
    """A topology name that no other test uses."""
    return f"topology-{next(_numbers)}"
