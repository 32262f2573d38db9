"""The `lab` fixture: runs through the command line, and no process left behind by any test, however it ends."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import Lab, UserRedis


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A folder for runs; afterwards every process of theirs is gone."""
    made = Lab(tmp_path)
    yield made
    made.close()


@pytest.fixture
def user_redis(tmp_path: Path, runtime_dir: Path) -> Iterator[UserRedis]:
    """A Redis that the user runs, reached by URL."""
    made = UserRedis(tmp_path / "user-redis", runtime_dir)
    yield made
    made.server.stop()


@pytest.fixture
def seed() -> int:
    """Of the choice of moments and victims; printed, so that a failure can be repeated as far as processes allow."""
    found = random.SystemRandom().randrange(1 << 32)
    print(f"seed {found}")
    return found
