"""A loopback proxy that lets requests through and loses what comes back.

Bytes towards the server always arrive. When it `loses`, the bytes that come back are swallowed for
a moment, and then both ends of the connection are cut: what was asked has happened, or will, and
whoever asked is not told. It knows nothing of the protocol, so it stands in front of a server of
ours and in front of Redis alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

_SWALLOW_S = 0.03


class LossyProxy:
    """Forwards connections to `port` of loopback; `self.port` is where it listens."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.port = 0
        self.losses = 0
        self._to = port
        self._chance = chance
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._handlers: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut everything."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    def aim(self, port: int) -> None:
        """New connections go to `port`; those there are, are cut."""
        self._to = port
        for connection in tuple(self._connections):
            connection.cut()

    async def lose(self, pause_s: float) -> None:
        """Lose answers of one connection after another, for as long as it is not cancelled."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / pause_s))
            if self._connections:
                self.losses += 1
                one = self._chance.choice(sorted(self._connections, key=id))
                one.swallows = True
                await asyncio.sleep(_SWALLOW_S)
                one.cut()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.ensure_future(self._carry(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        connection = _Connection((reader, writer), onward)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


class _Connection:
    """One caller and the server."""

    def __init__(
        self,
        caller: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.swallows = False
        self._caller = caller
        self._server = server

    async def run(self) -> None:
        """Carry bytes until either end hangs up."""
        ways = [asyncio.ensure_future(self._there()), asyncio.ensure_future(self._back())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def cut(self) -> None:
        """Hang up on both, at once."""
        for _, writer in (self._caller, self._server):
            writer.transport.abort()

    async def _there(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := await self._caller[0].read(65536):
                self._server[1].write(chunk)
                await self._server[1].drain()

    async def _back(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := await self._server[0].read(65536):
                if not self.swallows:
                    self._caller[1].write(chunk)
                    await self._caller[1].drain()
