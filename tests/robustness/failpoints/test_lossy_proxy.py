"""Requests arrive, answers do not, and the caller's connection ends."""

from __future__ import annotations

import asyncio
import contextlib
import random

from tests.robustness.failpoints.lossy_proxy import LossyProxy


async def test_what_is_asked_arrives_and_its_answer_is_lost() -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionResetError):
            while line := await reader.readline():
                arrived.put_nowait(line)
                writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = LossyProxy(server.sockets[0].getsockname()[1], random.Random(1))
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"one\n")
    assert await reader.readline() == b"one\n"
    (connection,) = proxy._connections
    connection.swallows = True
    writer.write(b"two\n")
    assert [await arrived.get(), await arrived.get()] == [b"one\n", b"two\n"]
    connection.cut()
    with contextlib.suppress(ConnectionResetError):
        assert await reader.readline() == b""
    writer.close()
    await proxy.close()
    server.close()
