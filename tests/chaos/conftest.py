"""The same lab for chaos tests."""

from tests.integration.conftest import lab, user_redis

__all__ = ["lab", "user_redis"]
