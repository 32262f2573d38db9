"""The same lab for chaos tests."""

from tests.integration.conftest import lab

__all__ = ["lab"]
