"""A hand among grpcio's inside as it might be: calls that end, calls that fail, and the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import structlog

from server.transport import hands
from server.transport.hands import HANDS, REFILL_AT, ROOM, Hands

METHOD = "/holdfast.v1.AvailabilityService/QueryAvailability"
HAND_COUNT = HANDS[METHOD] - 1


class OverError(Exception):
    """What the core answers with to who asks for a call while it ends."""


class Core:
    """A server's inside: calls are put by the test, and each ends when the test says so."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[Any] = asyncio.Queue()
        self.running = True
        self.beyond: list[bool] = []

    async def _request_registered_call(self, path: bytes) -> Any:
        assert path == METHOD.encode()
        # What the core does when it is asked after its end is to crash.
        assert self.running
        call = await self.calls.get()
        if isinstance(call, Exception):
            raise call
        return call

    def is_running(self) -> bool:
        return self.running

    # --- The module's functions ------------------------------------------------------------

    def handle(self, path: str, finds: Any, _: Any, state: Any, loop: Any, beyond: bool) -> Any:
        if state is None:
            raise TypeError("takes 7 positional arguments but 6 were given")
        self.beyond.append(beyond)
        return state

    async def watch(self, answer: Any, state: asyncio.Event, loop: Any, path: str) -> None:
        await state.wait()

    async def end(self) -> None:
        self.running = False
        for _ in range(HAND_COUNT):
            self.calls.put_nowait(OverError())
        await turns()


async def turns() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Core:
    made = Core()
    inside = SimpleNamespace(
        _MethodResolver=lambda generic, registered: registered,
        _handle_rpc=made.handle,
        _schedule_rpc_coro=made.watch,
        _RequestCallError=OverError,
    )
    monkeypatch.setattr(hands, "cygrpc", inside)
    return made


def begun(core: Core, calls_max: int, is_busy: Callable[[], bool] = lambda: False) -> Hands:
    server = SimpleNamespace(_server=core, add_registered_method_handlers=lambda *_: None)
    handler = grpc.unary_unary_rpc_method_handler(lambda *_: None)
    made = Hands(
        server,  # type: ignore[arg-type]
        {METHOD: handler},
        calls_max=calls_max,
        is_busy=is_busy,
    )
    made.begin()
    return made


async def test_who_is_being_refused_keeps_nobody_out(core: Core):
    begun(core, 1)
    first, told, last = (asyncio.Event() for _ in range(3))
    core.calls.put_nowait(first)
    core.calls.put_nowait(told)
    await turns()
    assert core.beyond == [False, True]
    # The refused caller reads slowly: its refusal is still under way when the first has its answer.
    first.set()
    await turns()
    core.calls.put_nowait(last)
    await turns()
    assert core.beyond == [False, True, False]
    told.set()
    last.set()
    await core.end()


async def test_hands_of_a_busy_loop_rest_until_there_is_room_for_a_set(core: Core):
    busy = True
    begun(core, 1_000, lambda: busy)
    calls = [asyncio.Event() for _ in range(4 * HAND_COUNT)]
    for call in calls:
        core.calls.put_nowait(call)
    await turns()
    # When they began to ask the loop was busy already: so many asked.
    assert len(core.beyond) == ROOM
    for call in calls[: ROOM - REFILL_AT - 1]:
        call.set()
    await turns()
    assert len(core.beyond) == ROOM
    calls[ROOM - REFILL_AT].set()
    await turns()
    assert len(core.beyond) == 2 * ROOM - REFILL_AT
    # Once it is no longer busy, the first that ends brings all hands back.
    busy = False
    calls[ROOM].set()
    await turns()
    assert len(core.beyond) == len(calls)
    for call in calls:
        call.set()
    await turns()
    await core.end()


async def test_a_burst_is_taken_in_whole_and_then_the_hands_of_a_busy_loop_rest(core: Core):
    busy = False
    begun(core, 1_000, lambda: busy)
    await turns()
    busy = True
    calls = [asyncio.Event() for _ in range(2 * HAND_COUNT)]
    for call in calls:
        core.calls.put_nowait(call)
    await turns()
    assert len(core.beyond) == HAND_COUNT
    for call in calls:
        call.set()
    await turns()
    assert len(core.beyond) == len(calls)
    await core.end()


async def test_hands_that_rest_when_the_server_ends_ask_no_more(core: Core):
    made = begun(core, 1_000, lambda: True)
    calls = [asyncio.Event() for _ in range(ROOM)]
    for call in calls:
        core.calls.put_nowait(call)
    await turns()
    assert made.count == HAND_COUNT  # all of them rest
    core.running = False
    with structlog.testing.capture_logs() as logs:
        for call in calls:
            call.set()
        await turns()
    assert made.count == 0
    assert not logs


async def test_a_call_that_the_core_takes_back_costs_no_hand(core: Core):
    made = begun(core, 10)
    for _ in range(2 * HAND_COUNT):
        core.calls.put_nowait(OverError())
    await turns()
    assert made.count == HAND_COUNT
    await core.end()
    assert made.count == 0


async def test_hands_that_another_grpcio_breaks_end_and_say_so_once(core: Core):
    with structlog.testing.capture_logs() as logs:
        made = begun(core, 10)
        for _ in range(HAND_COUNT):
            core.calls.put_nowait(None)
        await turns()
    assert made.count == 0
    assert [log["log_level"] for log in logs if "fewer hands" in log["event"]] == ["error"]
    assert not made._under_way
