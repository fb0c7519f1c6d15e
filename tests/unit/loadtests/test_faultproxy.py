"""Each fault does what it says to real connections, and nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from loadtests.faultproxy import FaultProxy, Faults

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[int], Awaitable[Streams]]


class Echo:
    """Sends lines back, and whatever a test wants."""

    def __init__(self) -> None:
        self.ended = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while line := await reader.readline():
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            self.ended += 1
            writer.transport.abort()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    served = Echo()
    server = await asyncio.start_server(served, "127.0.0.1", 0)
    yield served, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def proxy(echo: tuple[Echo, int]) -> AsyncIterator[FaultProxy]:
    made = FaultProxy(echo[1], chance=random.Random(1))
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes connections that are closed with the test."""
    made: list[asyncio.StreamWriter] = []

    async def one(port: int) -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        made.append(writer)
        return reader, writer

    yield one
    for writer in made:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for writer in made), return_exceptions=True)


async def round_trip(streams: Streams, line: bytes = b"hello\n") -> bytes:
    streams[1].write(line)
    return await streams[0].readline()


async def test_without_faults_bytes_go_through_in_order(
    proxy: FaultProxy, connect: Connect
) -> None:
    streams = await connect(proxy.port)
    sent = [b"%d\n" % number for number in range(1_000)]
    streams[1].write(b"".join(sent))
    assert [await streams[0].readline() for _ in sent] == sent


async def test_megabytes_go_through_whole(proxy: FaultProxy, connect: Connect) -> None:
    streams = await connect(proxy.port)
    line = random.Random(2).randbytes(50_000).replace(b"\n", b".") + b"\n"
    writing = asyncio.ensure_future(_write_all(streams[1], line * 40))
    assert await streams[0].readexactly(len(line) * 40) == line * 40
    await writing


async def _write_all(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_latency_holds_every_piece_back_at_least_as_long(
    proxy: FaultProxy, connect: Connect
) -> None:
    proxy.change(latency_ms=15)
    streams = await connect(proxy.port)
    begun = asyncio.get_running_loop().time()
    assert await round_trip(streams) == b"hello\n"
    # There and back. A lower bound: a slow machine makes it more, never less.
    assert asyncio.get_running_loop().time() - begun >= 0.030


async def test_jitter_never_lets_one_piece_overtake_another(
    proxy: FaultProxy, connect: Connect
) -> None:
    proxy.change(jitter_ms=5)
    streams = await connect(proxy.port)
    sent = [b"%d\n" % number for number in range(40)]
    for line in sent:
        streams[1].write(line)
        await streams[1].drain()
    assert [await streams[0].readline() for _ in sent] == sent


async def test_a_black_hole_swallows_nothing_and_lets_nothing_through(
    echo: tuple[Echo, int], proxy: FaultProxy, connect: Connect
) -> None:
    streams, direct = await connect(proxy.port), await connect(echo[1])
    assert await round_trip(streams) == b"hello\n"
    proxy.change(black_hole=True)
    answer = asyncio.ensure_future(round_trip(streams, b"lost?\n"))
    for _ in range(50):  # others are answered meanwhile
        assert await round_trip(direct) == b"hello\n"
    assert not answer.done()
    proxy.change(black_hole=False)
    assert await answer == b"lost?\n"


async def test_bandwidth_is_a_least_time_for_so_many_bytes(
    proxy: FaultProxy, connect: Connect
) -> None:
    proxy.change(bandwidth=200_000)
    streams = await connect(proxy.port)
    begun = asyncio.get_running_loop().time()
    for number in range(4):
        line = b"%d" % number + b"x" * 1_998 + b"\n"
        assert await round_trip(streams, line) == line
    # 2,000 bytes take 10 ms before anything more is read; after the last nobody waits.
    assert asyncio.get_running_loop().time() - begun >= 0.029


async def test_a_slow_reader_lets_the_senders_bytes_pile_up(
    echo: tuple[Echo, int], proxy: FaultProxy, connect: Connect
) -> None:
    proxy.change(slow_reader=1_000)
    streams = await connect(proxy.port)
    assert await round_trip(streams, b"a\n") == b"a\n"
    sender = echo[0].writers[-1]
    sender.write(b"y" * 20_000_000)
    full = asyncio.ensure_future(sender.drain())
    other = await connect(echo[1])
    for _ in range(50):
        assert await round_trip(other) == b"hello\n"
    assert not full.done()
    proxy.reset()
    await asyncio.gather(full, return_exceptions=True)


async def test_a_reset_cuts_both_ends_and_new_connections_work(
    echo: tuple[Echo, int], proxy: FaultProxy, connect: Connect
) -> None:
    streams = [await connect(proxy.port) for _ in range(3)]
    for each in streams:
        await round_trip(each)
    assert proxy.reset() == 3
    for reader, _ in streams:
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
    while echo[0].ended < 3:  # noqa: ASYNC110 - until the server's side has noticed
        await asyncio.sleep(0)
    assert await round_trip(await connect(proxy.port)) == b"hello\n"
    assert proxy.connections_total == 4


async def test_nobody_behind_it_is_a_connection_that_ends(connect: Connect) -> None:
    server = await asyncio.start_server(Echo(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    proxy = FaultProxy(port)
    await proxy.start()
    reader, _ = await connect(proxy.port)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    await proxy.close()


async def test_an_end_goes_through(proxy: FaultProxy, connect: Connect) -> None:
    streams = await connect(proxy.port)
    streams[1].write(b"last\n")
    assert await streams[0].readline() == b"last\n"
    streams[1].write_eof()
    assert await streams[0].read() == b""


@pytest.mark.parametrize("name", ["latency_ms", "jitter_ms", "bandwidth", "slow_reader"])
def test_a_negative_fault_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        Faults(**{name: -1})
