"""A handler is cancelled at exactly the await it was to be cancelled at."""

from __future__ import annotations

import asyncio

import pytest

from tests.robustness.failpoints.launcher import CancelledAt

AWAITS = 3


async def handler(reached: list[int]) -> bytes:
    for number in range(1, AWAITS + 1):
        reached.append(number)
        await asyncio.sleep(0)
    return b"done"


@pytest.mark.parametrize("count", range(1, AWAITS + 1))
async def test_each_await_in_turn(count: int) -> None:
    reached: list[int] = []

    async def call() -> bytes:
        return await CancelledAt(handler(reached), count)

    task = asyncio.ensure_future(call())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reached in (list(range(1, count + 1)), list(range(1, count + 2)))


async def test_beyond_the_last_await_it_gets_through() -> None:
    reached: list[int] = []

    async def call() -> bytes:
        return await CancelledAt(handler(reached), AWAITS + 1)

    assert await asyncio.ensure_future(call()) == b"done"


async def test_what_an_await_raises_reaches_the_handler() -> None:
    async def faulty() -> bytes:
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0)
        except TimeoutError:
            return b"caught"
        return b"not raised"

    async def call() -> bytes:
        return await CancelledAt(faulty(), 5)

    assert await asyncio.ensure_future(call()) == b"caught"
