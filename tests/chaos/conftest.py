"""The fixtures of the integration tests, for the chaos tests."""

from tests.integration.conftest import lab, seed, user_redis

__all__ = ["lab", "seed", "user_redis"]

#: they are imported by runs, with the examples' folder on the path
collect_ignore_glob = ["topologies/*"]
