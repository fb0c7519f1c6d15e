"""Dual prices solved beside the server, one job after another, by the processes that solve waves.

Owns: `PriceSolves`. Whatever becomes of a job, no order waits for it: it fails, is counted, and the
prices there are stay until the next one succeeds. Waves come first: a job takes a solver that none
of them wants. In a brown-out no job is begun.

Callers: `server.lifecycle` (start and end). One event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from server import logs
from server.application.solver_pool import NotPricedError, SolverPool
from server.routing.prices.duals import DualOpportunity, Due
from server.routing.prices.metrics import SOLVED, PriceMetrics
from server.routing.prices.price_table import PriceTable

_log = logs.get("price_solves")

SOLVE_S_MAX: Final = 20.0
"""Of one job, from its beginning: a solver that takes longer is ended. The first may have to start
one, and that to load what it needs."""


class PriceSolves:
    """Keeps the prices of one process solved."""

    def __init__(
        self,
        pool: SolverPool,
        duals: DualOpportunity,
        metrics: PriceMetrics,
        *,
        is_browned_out: Callable[[], bool],
        solve_s_max: float = SOLVE_S_MAX,
    ) -> None:
        self._pool = pool
        self._duals = duals
        self._metrics = metrics
        self._is_browned_out = is_browned_out
        self._solve_s_max = solve_s_max
        self._working: asyncio.Task[None] | None = None
        self._browned_out_at = -1
        duals.on_due = self.wake

    def wake(self) -> None:
        """A solve may be due: begin it, unless one is under way, which sees to the next. O(1)."""
        if self._duals.is_due and (self._working is None or self._working.done()):
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def settled(self) -> None:
        """Wait until no solve is under way."""
        while self._working is not None and not self._working.done():
            await asyncio.wait([self._working])

    async def close(self) -> None:
        """End what is under way."""
        self._duals.on_due = lambda: None
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])

    async def _work(self) -> None:
        try:
            await self._solve_what_is_due()
        except Exception as fault:  # noqa: BLE001 - such as a decision another version kept
            _log.error("prices can not be solved, the next promises try", exc_info=fault)

    async def _solve_what_is_due(self) -> None:
        while self._duals.is_due:
            if self._is_browned_out():
                if self._browned_out_at != self._duals.newest_point:
                    self._browned_out_at = self._duals.newest_point
                    self._metrics.browned_out += 1
                return
            due = self._duals.next_job()
            if due is None:
                return
            await self._solve(due)
            self._metrics.behind = self._duals.left_out
            self._metrics.positions = self._duals.positions

    async def _solve(self, due: Due) -> None:
        job, loop = due.job, asyncio.get_running_loop()

        def read(numbers: Mapping[str, Any]) -> PriceTable:
            return PriceTable.from_numbers(numbers, scale=job.scale)

        began_s = loop.time()
        outcome = SOLVED
        try:
            prices = await self._pool.price(job.numbers(), read, budget_s=self._solve_s_max)
        except NotPricedError as fault:
            outcome = fault.why.value
            _log.warning("prices were not solved", outcome=outcome, orders=len(job.decisions))
            self._duals.failed(due)
        else:
            self._duals.solved(due, prices)
        self._metrics.solved(outcome, loop.time() - began_s)
