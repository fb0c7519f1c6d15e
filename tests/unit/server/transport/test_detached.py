"""Work goes on when its caller hangs up, and nobody is bothered with what became of it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from server.transport.detached import detached, shielded


class Work:
    """Waits until the test lets it end."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.is_done = asyncio.Event()
        self._fault = fault

    async def __call__(self) -> str:
        self.begun.set()
        await self.go_on.wait()
        self.is_done.set()
        if self._fault is not None:
            raise self._fault
        return "done"


async def test_nothing_detached_is_collected_before_it_ends():
    async def waits_for_what_only_it_knows() -> None:
        await asyncio.get_running_loop().create_future()

    task = weakref.ref(detached(waits_for_what_only_it_knows()))
    await asyncio.sleep(0)
    gc.collect()
    left = task()
    assert left is not None
    left.cancel()
    await asyncio.wait([left])
    del left
    await asyncio.sleep(0)
    gc.collect()
    assert task() is None


async def test_a_caller_that_stays_is_given_what_became_of_the_work():
    work, broken = Work(), Work(ValueError("no"))
    work.go_on.set()
    broken.go_on.set()
    assert await shielded(work()) == "done"
    with pytest.raises(ValueError, match="no"):
        await shielded(broken())


@pytest.mark.parametrize("fault", [None, ValueError("no")])
async def test_the_work_of_a_caller_that_has_gone_is_done_in_silence(fault: Exception | None):
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    work = Work(fault)
    caller = asyncio.ensure_future(shielded(work()))
    await work.begun.wait()
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    assert not work.is_done.is_set()
    work.go_on.set()
    await work.is_done.wait()
    await asyncio.sleep(0)
    del caller  # its traceback knows the task, which complains when it is collected
    gc.collect()
    assert told == []
