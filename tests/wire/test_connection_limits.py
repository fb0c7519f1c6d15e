"""What the server says to connections that are old, idle or ping too much, as a caller hears it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loadtests.light import frames
from server.transport import connection_limits
from tests.wire.conftest import Wire

pytestmark = pytest.mark.wire

GOAWAY_HEAD_BYTES = 8  # last stream and error code; the rest is text
PING = frames.frame(frames.PING, 0, 0, bytes(8))
PATIENCE_S = 30
STRIKES = connection_limits._PING_STRIKES_MAX


class Caller:
    """A connection that has said hello."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._frames = frames.Reader()
        self._heard: list[tuple[int, int, int, bytes]] = []
        self.writer = writer

    async def hear(self, kind: int, flags: int = 0) -> bytes:
        """The payload of the next frame of this kind. Raises EOFError when the server hangs up."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while self._heard:
                    found, told, _, payload = self._heard.pop(0)
                    assert found != frames.GOAWAY or kind == frames.GOAWAY, payload
                    if (found, told & flags) == (kind, flags):
                        return payload
                data = await self._reader.read(65_536)
                if not data:
                    raise EOFError
                self._heard += self._frames.feed(data)

    async def goaway(self) -> str:
        """Why the server says that it is over."""
        payload = await self.hear(frames.GOAWAY)
        return payload[GOAWAY_HEAD_BYTES:].decode()

    async def ping(self) -> None:
        """Send one and wait for its answer."""
        self.writer.write(PING)
        await self.hear(frames.PING, frames.ACK)


@asynccontextmanager
async def calling(tmp_path: Path, **settings: Any) -> AsyncIterator[Caller]:
    """A connection to a server with these settings."""
    wire = Wire(tmp_path / "data", **settings)
    await wire.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.server.port)
    try:
        writer.write(frames.PREFACE + frames.settings({}))
        writer.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        yield Caller(reader, writer)
    finally:
        writer.close()
        await wire.stop()


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("connection_age_ms_max", "max_age"), ("connection_idle_ms_max", "idle")],
)
async def test_an_old_or_idle_connection_is_told_to_go(tmp_path: Path, limit: str, reason: str):
    async with calling(tmp_path, **{limit: 1_000}) as caller:
        assert reason in await caller.goaway()


async def test_a_connection_without_limits_is_not_told_to_go(tmp_path: Path):
    """The same listener hears nothing but answers where neither limit is set."""
    async with calling(tmp_path, connection_age_ms_max=0, connection_idle_ms_max=0) as caller:
        await caller.ping()


async def test_who_pings_too_often_is_hung_up_on(tmp_path: Path):
    async with calling(tmp_path) as caller:
        # The first may come at any time; each of the others within the interval is a strike.
        for _ in range(1 + STRIKES):
            await caller.ping()
        caller.writer.write(PING)
        assert "too_many_pings" in await caller.goaway()


async def test_who_pings_rarely_is_answered_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection_limits, "_PING_MS_MIN", 1)
    async with calling(tmp_path) as caller:
        for _ in range(3 * (1 + STRIKES)):
            await caller.ping()
            await asyncio.sleep(0.005)  # five times the interval, of the core's own clock
