"""The `lab` fixture: runs through the command line, and no process left behind by any test, however it ends."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import Lab, UserRedis

#: Tests of real processes that `bin/test --fast` runs too: one of each kind. All others here count as slow.
FAST = (
    "test_shipped_wordcount_equals_a_plain_count",
    "test_kill_of_any_worker_leaves_the_count_exact[count-0]",
    "test_a_running_topology_shows_what_it_has_committed_and_goes_on",
    "test_exception_text_reaches_spout_fail",
    "test_a_partition_that_is_missing_for_one_run_goes_on_where_it_was",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what starts processes, but for a few."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.name not in FAST:
            item.add_marker(pytest.mark.slow)


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
