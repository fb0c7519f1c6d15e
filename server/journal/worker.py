"""One thread that does a journal's blocking work in order, away from the event loop.

Jobs run one after another in the order of `submit`; each one's result comes back as a future of the
event loop the worker was made on. A commit costs one wake-up of the thread and one of the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from server.journal.errors import JournalUnavailable

T = TypeVar("T")


class Worker:
    """Owns the thread. Must be made on a running event loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = (
            SimpleQueue()
        )
        self._stopped = False
        # A daemon, so that a program that ends without closing its journal does end.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Run `job` after everything submitted before it. After `stop` the future has
        JournalUnavailable: nobody would ever run it."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._stopped:
            future.set_exception(JournalUnavailable("the journal is closed"))
        else:
            self._jobs.put((job, future))
        return future

    def stop(self) -> None:
        """End the thread after what was submitted."""
        self._stopped = True
        self._jobs.put(None)

    def _run(self) -> None:
        while (work := self._jobs.get()) is not None:
            job, future = work
            result: Any = None
            error: BaseException | None = None
            try:
                result = job()
            except BaseException as caught:  # noqa: BLE001 - handed to whoever awaits the job
                error = caught
            try:
                self._loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                return  # the event loop is closed: nobody waits any more


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # cancelled by its awaiter; the work was done all the same
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
