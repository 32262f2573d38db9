"""What every test gets: the fixtures of tests/redis_fixtures.py, and the same hypothesis settings everywhere."""

from __future__ import annotations

import importlib.util

from hypothesis import HealthCheck, settings

# A shared, slow machine must not turn a right answer into a failure; a failing example prints how to repeat it.
settings.register_profile(
    "house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], max_examples=100
)
settings.load_profile("house")

pytest_plugins = ["tests.redis_fixtures"] if importlib.util.find_spec("tests.redis_fixtures") else []
