"""Work that goes on when its caller hangs up, as far as it must.

gRPC cancels a handler whose caller has gone, and the event loop itself keeps no task from being
collected: such work is kept here until it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_under_way: Final = set[asyncio.Task[Any]]()


def detached(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin it, in a task of its own."""
    task = asyncio.ensure_future(work)
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    return task


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """What it gives, to a caller that may go; then nobody hears of it, nor of its error."""
    task = detached(work)
    try:
        # Not `asyncio.shield`: from Python 3.14 on it reports an error that nobody hears.
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.add_done_callback(_heard)
        raise
    return task.result()


def _heard(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
