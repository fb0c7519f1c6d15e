"""The peer over PostgreSQL: ``python -m benchmarks.peers.postgres_service DSN``.

One prepared statement, one round trip an order; a pool of connections, as many as the database
does best with.
"""

from __future__ import annotations

import sys
import uuid
from typing import Any

import asyncpg

from benchmarks.peers.service import Lines, Short, serve

_CONNECTIONS = 16
_RESERVE = "SELECT reserve($1, $2, $3, $4, $5, $6, $7)"
_SHORT = "HF001"


class PostgresStore:
    """Rows in PostgreSQL, one function an order."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: Any = None

    async def open(self) -> PostgresStore:
        """Connect. asyncpg prepares the statement on each connection at its first use."""
        self._pool = await asyncpg.create_pool(
            self._dsn, min_size=_CONNECTIONS, max_size=_CONNECTIONS
        )
        return self

    async def reserve(
        self, reservation_id: uuid.UUID, request_id: str, owner: str, ttl_s: float, lines: Lines
    ) -> str:
        """One order."""
        skus, nodes, units = map(list, zip(*lines, strict=True))
        try:
            async with self._pool.acquire() as connection:
                made = await connection.fetchval(
                    _RESERVE, reservation_id, request_id, owner, ttl_s, skus, nodes, units
                )
        except asyncpg.PostgresError as error:
            if error.sqlstate == _SHORT:
                raise Short(str(error)) from None
            raise
        return str(made)


if __name__ == "__main__":
    serve(PostgresStore(sys.argv[1]).open)
