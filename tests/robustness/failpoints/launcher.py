"""Starts the real server with a hook in it: ``python -m ...launcher --hooks JSON SETTINGS``.

``clock``: a file that holds milliseconds by which the wall clock of this process is wrong; it is
read at every look at the clock, so that a run can let it jump.
``cancel``: a call whose metadata says ``x-cancel-at: N`` is cancelled while it is suspended for the
N-th time, exactly as grpc.aio cancels a handler whose caller has gone.
``plant``: one of `PLANTED`, a bug that the validator has to find.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

CANCEL_AT = "x-cancel-at"


def hook_clock(path: str) -> None:
    """Let the wall clock be wrong by what `path` says."""
    from server.application.clock import SystemClock

    true_ns, where = time.time_ns, Path(path)

    def wrong_ns() -> int:
        return true_ns() + int(where.read_text() or 0) * 1_000_000

    # Not time.time as well: gRPC compares that with its core's clock, which this can not reach.
    time.time_ns = wrong_ns
    assert abs(SystemClock().now_ms() - wrong_ns() // 1_000_000) < 1_000


class CancelledAt:
    """Awaits `work`; while that is suspended for the `count`-th time, its task is cancelled."""

    def __init__(self, work: Coroutine[Any, Any, bytes], count: int) -> None:
        self._work = work
        self._count = count

    def __await__(self) -> Generator[Any, Any, bytes]:
        task = asyncio.current_task()
        assert task is not None
        steps = self._work.__await__()
        fault: BaseException | None = None
        while True:
            try:
                waited = steps.send(None) if fault is None else steps.throw(fault)
            except StopIteration as done:
                result: bytes = done.value
                return result
            fault = None
            self._count -= 1
            if self._count == 0:
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                yield waited
            except BaseException as thrown:  # noqa: BLE001 - handed on to where it belongs
                fault = thrown


def hook_cancel() -> None:
    """Let callers choose at which await their call is cancelled."""
    from server.application.gateway import NotDone, Why
    from server.transport.calls import Call, Methods

    register = Methods.unary_raw

    def unary_raw(self: Methods, name: str, handler: Any, *, large: bool = False) -> None:
        async def cancellable(raw: bytes, call: Call) -> bytes:
            told = dict(call.context.invocation_metadata() or ()).get(CANCEL_AT)
            if told is None:
                reply: bytes = await handler(raw, call)
                return reply
            try:
                return await CancelledAt(handler(raw, call), int(told))
            except asyncio.CancelledError:
                # Its caller is still there, and would wait until its deadline.
                raise NotDone(Why.DRAINING, "cancelled by the hook") from None

        register(self, name, cancellable, large=large)

    Methods.unary_raw = unary_raw  # type: ignore[method-assign]


# --- Bugs ----------------------------------------------------------------------------------------


def _acknowledges_before_the_journal() -> None:
    """The callers are answered at once, the record is written 30 ms later."""
    from server.journal.sqlite_journal import SqliteJournal

    write = SqliteJournal._append

    def slowly(self: SqliteJournal, entry: Any) -> Any:
        time.sleep(0.03)
        return write(self, entry)

    def append(self: SqliteJournal, entry: Any) -> asyncio.Future[Any]:
        self._worker.submit(lambda: slowly(self, entry))
        answered = asyncio.get_running_loop().create_future()
        answered.set_result(None)
        return answered

    SqliteJournal.append = append  # type: ignore[method-assign]


def _never_syncs() -> None:
    """SQLite is told not to sync."""
    from server.journal.sqlite_journal import SqliteJournal

    connect = SqliteJournal._connect

    def connected(self: SqliteJournal, mode: str) -> Any:
        connection = connect(self, mode)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    SqliteJournal._connect = connected  # type: ignore[method-assign]


def _drops_a_record() -> None:
    """One batch in twenty is answered and not written."""
    from server.journal.sqlite_journal import SqliteJournal

    write, seen = SqliteJournal._append, [0]

    def sometimes(self: SqliteJournal, entry: Any) -> Any:
        seen[0] += 1
        return None if seen[0] % 20 == 0 else write(self, entry)

    SqliteJournal._append = sometimes  # type: ignore[method-assign]


def _spoiled(spoil: Callable[[Any, int, Any, Callable[..., Any]], Any]) -> None:
    """Put `spoil(state, now_ms, batch, apply)` in the place of the engine's step."""
    from engine import machine

    apply = machine.apply
    machine.apply = lambda state, now_ms, batch: spoil(state, now_ms, batch, apply)


def _oversells() -> None:
    """Its check sees two units more than there are."""
    from engine import tables

    def spoil(state: Any, now_ms: int, batch: Any, apply: Callable[..., Any]) -> Any:
        positions = state.positions[: int(state.meta["position_count"][0])]
        stock = positions["kind"] == tables.STOCK
        positions["on_hand"][stock] += 2
        answer = apply(state, now_ms, batch)
        positions["on_hand"][stock] -= 2
        return answer

    _spoiled(spoil)


def _acts_twice() -> None:
    """It does not know a repeated request again."""
    from engine.commands import CommandBatch

    def spoil(state: Any, now_ms: int, batch: Any, apply: Callable[..., Any]) -> Any:
        headers = batch.headers.copy()
        headers["request_hi"] = 0
        headers["request_lo"] = 0
        return apply(state, now_ms, CommandBatch(headers, batch.lines, batch.text))

    _spoiled(spoil)


def _follows_the_wall_clock() -> None:
    """Ledger time is whatever the wall clock says."""
    from server.application.clock import SystemClock

    SystemClock.now_ms = lambda self: time.time_ns() // 1_000_000  # type: ignore[method-assign]


PLANTED: dict[str, Callable[[], None]] = {
    "acknowledges before the journal": _acknowledges_before_the_journal,
    "never syncs": _never_syncs,
    "drops a record": _drops_a_record,
    "oversells": _oversells,
    "acts twice": _acts_twice,
    "follows the wall clock": _follows_the_wall_clock,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hooks", type=json.loads, required=True)
    options, settings = parser.parse_known_args(arguments)
    hooks = options.hooks
    if "plant" in hooks:
        PLANTED[hooks["plant"]]()
    if "clock" in hooks:
        hook_clock(hooks["clock"])
    if "cancel" in hooks:
        hook_cancel()
    from server.__main__ import main as serve

    return serve(settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
