"""Verifies the ledger while it works: on a schedule, on demand, in slices of the writer's own time.

`engine.verification` does the arithmetic; here are the clock, the pauses and the consequences. A
slice runs between two batches and takes `SLICE_S` at most, then others have their turn: on a
schedule for nineteen times as long, with somebody waiting for as long again.

Invariants
1. A difference is reported only when a second look, in one go, finds it too. That look stops the
   writer for a moment; it is taken only when the first look found something.
2. A pass that was overtaken, by a rebuild of the state or by more changes than are logged, says
   nothing; another begins.

Callers: `server.lifecycle`, InventoryService (by way of the gateway).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from engine import invariants
from engine.invariants import Difference
from engine.state import State
from engine.verification import Verification
from server.application.sequencer import Sequencer, Status
from server.application.sequencer_errors import NotServing

SLICE_S: Final = 0.002
# Rows of one step; a step takes a third of a millisecond at most on one core.
ROWS_OF_STEP: Final = 1024
_HASHED_BYTES: Final = 1 << 20
# How long others have their turn after a slice, in slices.
_REST: Final = 19.0
_REST_HURRIED: Final = 1.0
# Changes of reservations to catch up with, from which on rests are short.
_BEHIND_MAX: Final = 2 * ROWS_OF_STEP
_ATTEMPTS: Final = 5


class VerificationNotDone(Exception):
    """No pass came to its end; the sentence says why. Nothing is known of the ledger by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """A pass that came to its end."""

    state: State
    """The ledger that was verified."""
    revision: int
    positions: int
    reservations: int
    differences: tuple[Difference, ...]
    seconds: float


def state_of(sequencer: Sequencer) -> State:
    """The state a sequencer works on. Raises NotServing while it does not."""
    if sequencer.status not in (Status.SERVING, Status.DRAINING):
        raise NotServing(f"the shard is {sequencer.status.value}")
    return sequencer.state


class Verifier:
    """The verifications of one ledger, one pass at a time."""

    def __init__(
        self,
        live_state: Callable[[], State],
        *,
        interval_ms: int,
        on_report: Callable[[VerificationReport], None] | None = None,
        on_failure: Callable[[str], None] | None = None,
        on_slice: Callable[[float], None] | None = None,
        elapsed_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`live_state` gives the state that is changed on this event loop, or raises NotServing
        while there is none that may be judged. `interval_ms` is what lies between two passes, 0:
        only those asked for.

        `on_report` hears of every finished pass before whoever asked for it; `on_failure` of passes
        that could not be finished; `on_slice` how many seconds each slice took.
        """
        self._state = live_state
        self._interval_ms = interval_ms
        self._on_report = on_report
        self._on_failure = on_failure
        self._on_slice = on_slice
        self._elapsed_s = elapsed_s
        self._one_at_a_time = asyncio.Lock()
        self._asked: asyncio.Task[VerificationReport] | None = None
        self._askers = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Begin with the first pass of the schedule, if there is one."""
        if self._interval_ms:
            self._keep(asyncio.get_running_loop().create_task(self._on_schedule()))

    async def now(self) -> VerificationReport:
        """A pass that begins after this call; several who wait share it.

        Raises VerificationNotDone; NotServing when the shard does not serve.
        """
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_task(self._pass_in_turn())
            self._asked.add_done_callback(_heard)
            self._keep(self._asked)
        self._askers += 1
        try:
            return await asyncio.shield(self._asked)
        finally:
            self._askers -= 1

    async def state_hash(self) -> tuple[str, int]:
        """(hash of the state in hexadecimal, its revision), taken in slices.

        The hash is "" when commands came between in every attempt.
        """
        for _ in range(_ATTEMPTS):
            state = self._state()
            revision = state.revision
            taken = invariants.StateHash(state)
            while not await self._slice(partial(taken.step, _HASHED_BYTES), _REST_HURRIED):
                if self._state() is not state or state.revision != revision:
                    break
            else:
                return taken.digest().hex(), revision
        return "", self._state().revision

    async def close(self) -> None:
        """End whatever is under way."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_schedule(self) -> None:
        while True:
            try:
                async with self._one_at_a_time:
                    await self._pass()
            except (VerificationNotDone, NotServing) as fault:
                if self._on_failure is not None:
                    self._on_failure(str(fault))
            await asyncio.sleep(self._interval_ms / 1e3)

    async def _pass_in_turn(self) -> VerificationReport:
        async with self._one_at_a_time:
            self._asked = None  # who asks from here on is too late for this one
            return await self._pass()

    async def _pass(self) -> VerificationReport:
        """Passes until one comes to its end."""
        started_s = self._elapsed_s()
        for _ in range(_ATTEMPTS):
            verification = Verification(self._state())
            is_finished = await self._is_finished(verification)
            report = self._report(verification, started_s) if is_finished else None
            while not await self._slice(verification.release, self._rest()):
                pass
            if report is not None:
                return report
        raise VerificationNotDone(
            f"{_ATTEMPTS} passes were overtaken: more changed between two slices than is logged"
        )

    async def _is_finished(self, verification: Verification) -> bool:
        """Go on to the end; False when it was overtaken."""
        step = partial(verification.step, ROWS_OF_STEP)
        rest = self._rest()
        while not await self._slice(step, rest):
            if self._state() is not verification.state:
                return False
            # Where more changes than a slice catches up with, the log would go round.
            rest = _REST_HURRIED if verification.behind > _BEHIND_MAX else self._rest()
        return not verification.is_lost

    def _rest(self) -> float:
        return _REST_HURRIED if self._askers else _REST

    async def _slice(self, step: Callable[[], bool], rest: float) -> bool:
        """Steps until one is the last or the time is up, then a rest; whether it was the last."""
        began_s = self._elapsed_s()
        is_over = False
        took_s = 0.0
        while not is_over and took_s < SLICE_S:
            is_over = step()
            took_s = self._elapsed_s() - began_s
        if self._on_slice is not None:
            self._on_slice(took_s)
        if not is_over:
            await asyncio.sleep(took_s * rest)
        return is_over

    def _report(self, verification: Verification, started_s: float) -> VerificationReport:
        state = verification.state
        meta = state.meta[0]
        differences: list[Difference] = []
        if verification.differences_total:
            differences = self._look_again(verification)
        report = VerificationReport(
            state=state,
            revision=state.revision,
            positions=verification.positions_checked,
            reservations=int(meta["held_count"] + meta["confirmed_count"] + meta["terminal_count"]),
            differences=tuple(differences),
            seconds=self._elapsed_s() - started_s,
        )
        if self._on_report is not None:
            self._on_report(report)
        return report

    def _look_again(self, verification: Verification) -> list[Difference]:
        """All differences by a recomputation in one go, if it confirms one that was found."""
        suspected = {(each.position, each.field) for each in verification.differences()}
        found = invariants.differences(verification.state)
        if any((each.position, each.field) in suspected for each in found):
            return found
        if self._on_failure is not None:
            self._on_failure(
                f"a pass found {verification.differences_total} differences, a second look in one "
                f"go none of them: {verification.differences()[:5]}"
            )
        return []


def _heard(task: asyncio.Task[VerificationReport]) -> None:
    """Those who asked may have gone: take the error, so that none is reported as unheard."""
    if not task.cancelled():
        task.exception()
