"""A Redis of its own for these tests."""

from tests.contract.redis.conftest import server

__all__ = ["server"]
