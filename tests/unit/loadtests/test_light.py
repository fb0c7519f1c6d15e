"""The light transport does for a unary call what grpcio's channel does."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from holdfast.errors import Overloaded
from holdfast.retry import RetryPolicy
from loadtests.callers import OurCaller
from loadtests.light import frames
from loadtests.light.channel import Channel
from loadtests.light.connection import Connection
from loadtests.light.ending import Ending
from loadtests.light.headers import decoded
from loadtests.light.responder import respond
from loadtests.scenario import Callers

METHOD = "/tests.Light/Call"
LONG = 200_000


class Server:
    """A server of grpcio whose one method does as the request's bytes say."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.metadata: dict[str, str] = {}
        self.times_left: list[float] = []

    async def call(self, request: bytes, context: Any) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        self.times_left.append(context.time_remaining() or 0.0)
        if request == b"refuse":
            context.set_trailing_metadata((("detail-bin", b"\x00\xff"), ("plain", "text")))
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now, äöü")
        if request == b"wait":
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return request * LONG if request == b"x" else request


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, Channel]]:
    served = Server()
    running = aio.server()
    handler = grpc.unary_unary_rpc_method_handler(served.call)
    running.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tests.Light", {"Call": handler}),)
    )
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    channel = Channel(f"127.0.0.1:{port}")
    yield served, channel
    await channel.close()
    await running.stop(None)


async def test_a_call_is_answered(server: tuple[Server, Channel]) -> None:
    served, channel = server
    call = channel.unary_unary(METHOD)
    assert await call(b"hello", timeout=30, metadata=[("who", "me")]) == b"hello"
    assert served.metadata["who"] == "me"
    assert 0 < served.times_left[0] <= 30


async def test_messages_larger_than_a_frame_go_both_ways(server: tuple[Server, Channel]) -> None:
    call = server[1].unary_unary(METHOD)
    assert await call(b"x", timeout=30) == b"x" * LONG
    sent = b"y" * 50_000
    assert await call(sent, timeout=30) == sent


async def test_many_calls_share_one_connection(server: tuple[Server, Channel]) -> None:
    channel = server[1]
    call = channel.unary_unary(METHOD)
    sent = [b"%d" % number for number in range(500)]
    assert await asyncio.gather(*(call(each, timeout=30) for each in sent)) == sent
    assert channel.connects == 1


async def test_a_refusal_brings_code_details_and_trailers(server: tuple[Server, Channel]) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await server[1].unary_unary(METHOD)(b"refuse", timeout=30)
    error = refused.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "not now, äöü"
    trailers = dict(error.trailing_metadata())
    assert trailers["detail-bin"] == b"\x00\xff"
    assert trailers["plain"] == "text"


async def test_a_deadline_ends_the_call_on_both_sides(server: tuple[Server, Channel]) -> None:
    served, channel = server
    with pytest.raises(aio.AioRpcError) as late:
        await channel.unary_unary(METHOD)(b"wait", timeout=0.05)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await served.cancelled.wait()


async def test_a_cancelled_call_is_cancelled_at_the_server(server: tuple[Server, Channel]) -> None:
    served, channel = server
    calling = asyncio.ensure_future(channel.unary_unary(METHOD)(b"wait", timeout=30))
    while not served.times_left:  # noqa: ASYNC110 - until the server has it
        await asyncio.sleep(0)
    calling.cancel()
    await served.cancelled.wait()


async def test_a_cut_fails_what_is_under_way_and_the_next_call_connects_anew(
    server: tuple[Server, Channel],
) -> None:
    served, channel = server
    call = channel.unary_unary(METHOD)
    waiting = asyncio.ensure_future(call(b"wait", timeout=30))
    while not served.times_left:  # noqa: ASYNC110 - until the server has it
        await asyncio.sleep(0)
    channel.cut()
    with pytest.raises(aio.AioRpcError) as cut:
        await waiting
    assert cut.value.code() is grpc.StatusCode.UNAVAILABLE
    assert await call(b"again", timeout=30) == b"again"
    assert channel.connects == 2


async def test_nobody_there_is_told_in_words_the_client_library_knows() -> None:
    _, port = await _closed_port()
    with pytest.raises(aio.AioRpcError) as gone:
        await Channel(f"127.0.0.1:{port}").unary_unary(METHOD)(b"hello", timeout=30)
    assert gone.value.code() is grpc.StatusCode.UNAVAILABLE
    assert gone.value.details().startswith("failed to connect to all addresses")


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = frames.Reader()
        self.kinds: list[tuple[int, int]] = []

    def write(self, data: Any) -> None:
        data = bytes(data).removeprefix(frames.PREFACE)
        self.kinds += [(kind, stream) for kind, _, stream, _ in self.reader.feed(data)]

    def is_closing(self) -> bool:
        return False

    def begun(self) -> list[int]:
        """Streams opened so far."""
        return [stream for kind, stream in self.kinds if kind == frames.HEADERS]


def begun(connection: Connection, message: bytes = b"x") -> tuple[int, asyncio.Future[Ending]]:
    """A call without headers: its number, and how it ends."""
    ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
    return connection.call(b"", message, ended, None), ended


async def test_calls_beyond_the_servers_streams_and_window_wait_their_turn() -> None:
    wire = Wire()
    connection = Connection(lambda _: None)
    connection.connection_made(wire)
    connection.data_received(frames.settings({frames.MAX_CONCURRENT_STREAMS: 2}))
    calls = [begun(connection) for _ in range(4)]
    numbers = [number for number, _ in calls]
    await asyncio.sleep(0)
    assert wire.begun() == numbers[:2]
    connection.data_received(frames.reset(numbers[0], 7))
    await asyncio.sleep(0)
    assert wire.begun() == numbers[:3]
    assert calls[0][1].result().code is grpc.StatusCode.UNAVAILABLE
    assert [ended.done() for _, ended in calls] == [True, False, False, False]
    connection.cancel(numbers[3])  # it had not begun: nothing of it is ever sent
    connection.data_received(frames.reset(numbers[1], 8) + frames.reset(numbers[2], 8))
    await asyncio.sleep(0)
    assert wire.begun() == numbers[:3]
    large, _ = begun(connection, bytes(frames.WINDOW_BYTES_DEFAULT))
    await asyncio.sleep(0)
    assert large not in wire.begun()
    connection.data_received(
        frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 20}) + frames.window_update(0, 1 << 20)
    )
    await asyncio.sleep(0)
    assert large in wire.begun()


async def test_a_server_that_goes_away_ends_only_what_it_has_not_seen() -> None:
    connection = Connection(lambda _: None)
    connection.connection_made(Wire())
    (first, seen), (second, unseen) = begun(connection), begun(connection)
    goaway = frames.frame(frames.GOAWAY, 0, 0, struct.pack(">II", first, 0))
    connection.data_received(goaway)
    assert not connection.is_open
    assert unseen.result().code is grpc.StatusCode.UNAVAILABLE
    assert not seen.done()
    connection.connection_lost(None)
    assert seen.result().code is grpc.StatusCode.UNAVAILABLE
    assert second > first


@pytest.mark.parametrize("size", [1, 5, 9, 1_000])
async def test_an_answer_is_read_however_its_bytes_are_cut(size: int) -> None:
    connection = Connection(lambda _: None)
    connection.connection_made(Wire())
    calls = [begun(connection) for _ in range(3)]
    headers = frames.literal(":status", "200")
    trailers = frames.literal("grpc-status", "0") + frames.literal("grpc-message", "")
    answers = b"".join(
        frames.frame(frames.HEADERS, frames.END_HEADERS, number, headers)
        + frames.frame(frames.DATA, 0, number, struct.pack(">BI", 0, 4) + b"%04d" % number)
        # In two pieces, as RFC 9113 allows.
        + frames.frame(frames.HEADERS, frames.END_STREAM, number, trailers[:7])
        + frames.frame(frames.CONTINUATION, frames.END_HEADERS, number, trailers[7:])
        for number, _ in calls
    )
    for at in range(0, len(answers), size):
        connection.data_received(answers[at : at + size])
    for number, ended in calls:
        ending = ended.result()
        assert (ending.code, ending.message) == (grpc.StatusCode.OK, b"%04d" % number)


async def _closed_port() -> tuple[None, int]:
    server, port = await respond(b"")
    server.close()
    await server.wait_closed()
    return None, port


async def test_the_empty_server_answers_the_client_library() -> None:
    import holdfast.calls.reservations as calls
    from holdfast.v1 import reservation_service_pb2 as wire

    reply = wire.CreateReservationResponse()
    reply.reservation.reservation_id = "made"
    server, port = await respond(reply.SerializeToString())
    caller = OurCaller(Callers(connections=2), f"127.0.0.1:{port}", None)
    held = await asyncio.gather(
        *(caller.perform(calls.reserve([("a", "b", 1)], timeout=30)) for _ in range(50))
    )
    assert {each.reservation_id for each in held} == {"made"}
    await caller.close()
    server.close()


async def test_a_server_without_room_sheds_as_grpcs_core_does() -> None:
    import holdfast.calls.reservations as calls

    server, port = await respond(b"", calls_per_second=0.0)
    caller = OurCaller(Callers(), f"127.0.0.1:{port}", None, RetryPolicy(attempts_max=1))
    with pytest.raises(Overloaded, match="shed before the server looked at it"):
        await caller.perform(calls.reserve([("a", "b", 1)], timeout=30))
    await caller.close()
    server.close()


@pytest.mark.parametrize("size", [1, 2, 7, 9, 10, 64])
def test_frames_are_found_however_the_bytes_are_cut(size: int) -> None:
    sent = [(0, 1, 3, b"body"), (1, 4, 5, b""), (6, 0, 0, bytes(8)), (0, 0, 7, b"z" * 300)]
    stream = b"".join(frames.frame(*each) for each in sent)
    reader = frames.Reader()
    found = []
    for at in range(0, len(stream), size):
        found += list(reader.feed(stream[at : at + size]))
    assert found == sent


def test_binary_headers_are_read_as_they_are_and_from_base64() -> None:
    told = bytes(range(1, 200))
    as_it_is = b"\0" + b"\x05x-bin" + b"\x7f\x49" + b"\0" + told  # 127 + 73 bytes
    coded = frames.literal("x-bin", base64.b64encode(told).decode().rstrip("="))
    assert decoded(as_it_is) == decoded(coded) == (("x-bin", told),)


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 255, 300, 20_000])
def test_a_literal_header_is_read_back_by_hpack(size: int) -> None:
    import hpack

    value = "v" * size
    decoder = hpack.Decoder(max_header_list_size=1 << 20)
    assert decoder.decode(frames.literal("name", value)) == [("name", value)]
