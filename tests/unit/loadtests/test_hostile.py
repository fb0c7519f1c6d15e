"""Each attack does to a server what it says, and comes to nothing but loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from loadtests.hostile import Attacker, _Pace, main


@pytest.fixture
async def attacker() -> AsyncIterator[Attacker]:
    """Against a server of grpcio that answers every call with a long message."""

    async def answer(request: bytes, context: Any) -> bytes:
        return b"x" * 1_000_000

    class Every(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = aio.server()
    server.add_generic_rpc_handlers((Every(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Attacker(f"127.0.0.1:{port}")
    await server.stop(None)


async def until(attacker: Attacker, name: str, work: Any) -> int:
    """Attack until something of that name was done; how often."""
    task = asyncio.ensure_future(attacker.again_and_again(work))
    while not attacker.counts[name]:
        assert not task.done()
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return attacker.counts[name]


@pytest.mark.parametrize(
    ("attack", "done"),
    [
        ("rapid_reset", "streams_reset"),
        ("idle_connection", "connections"),
        ("slow_reader", "answers_not_read"),
        ("large_message", "bytes_sent"),
    ],
)
async def test_an_attack_does_what_it_says(attacker: Attacker, attack: str, done: str) -> None:
    assert await until(attacker, done, getattr(attacker, attack)) > 0


async def test_a_ping_flood_goes_on_until_the_server_hangs_up(attacker: Attacker) -> None:
    await until(attacker, "hung_up_on", attacker.ping_flood)
    assert attacker.counts["pings"] > 0


async def test_a_pace_lets_no_more_go_than_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    now_s = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s)

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        waited.append(round(seconds, 6))
        now_s += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    pace = _Pace(8_000)
    await pace.after(64)
    now_s += 0.010  # late: the next ones are made up for
    await pace.after(64)
    await pace.after(64)
    assert waited == [0.008, 0.0, 0.006]
    unbounded = _Pace(0)
    await unbounded.after(10**9)
    assert waited[-1] == 0.0


@pytest.mark.parametrize("target", ["10.0.0.7:7420", "example.com:443", "0.0.0.0:1"])
def test_only_loopback_is_attacked(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ping_flood", "--target", target])
    assert "only servers on loopback are attacked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--per-second", "-1", "a number from 0 to 1,000,000"),
        ("--per-second", "nan", "a number from 0 to 1,000,000"),
        ("--per-second", "inf", "a number from 0 to 1,000,000"),
        ("--per-second", "many", "a number from 0 to 1,000,000"),
        ("--seconds", "-0.5", "a number from 0 to 3,600"),
        ("--connections", "0", "a whole number from 1 to 20,000"),
        ("--connections", "1.5", "a whole number from 1 to 20,000"),
    ],
)
def test_an_option_that_can_not_be_meant_is_refused_with_its_value_and_limits(
    option: str, value: str, allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["ping_flood", "--target", "127.0.0.1:1", option, value])
    told = " ".join(capsys.readouterr().err.split())
    assert f"argument {option}: must be {allowed}, not {value!r}" in told
