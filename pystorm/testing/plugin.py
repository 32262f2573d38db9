"""The pytest plugin: the test kit as fixtures. Installing pystorm installs it.

pytest imports this module in every run, so it imports nothing itself; the test kit is loaded by the first test that
asks for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pystorm.testing.tester import TopologyTester


@pytest.fixture
def topology_tester(request: pytest.FixtureRequest) -> Iterator[Callable[..., TopologyTester]]:
    """`topology_tester(topology, ...)` is an entered `TopologyTester`, which is closed at the end of the test.

    A relative path is taken from the folder of the test's file, or else from the current one.
    """
    from pystorm.testing import TopologyTester

    with contextlib.ExitStack() as stack:

        def open_tester(topology: Any, **options: Any) -> TopologyTester:
            if isinstance(topology, (str, Path)) and (request.path.parent / topology).exists():
                topology = request.path.parent / topology
            return stack.enter_context(TopologyTester(topology, **options))

        yield open_tester


@pytest.fixture
def run_bolt() -> Callable[..., Any]:
    """`pystorm.testing.run_bolt`."""
    from pystorm.testing import run_bolt

    return run_bolt


@pytest.fixture
def run_spout() -> Callable[..., Any]:
    """`pystorm.testing.run_spout`."""
    from pystorm.testing import run_spout

    return run_spout


@pytest.fixture
def check_bolt() -> Callable[..., None]:
    """`pystorm.testing.check_bolt`."""
    from pystorm.testing import check_bolt

    return check_bolt


@pytest.fixture
def check_spout() -> Callable[..., None]:
    """`pystorm.testing.check_spout`."""
    from pystorm.testing import check_spout

    return check_spout
