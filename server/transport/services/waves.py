"""PlanOrders: a wave of orders over one stream.

Few waves at once: each has the problems of thousands of orders in memory. What is read of one is
read to its end first, so that all of it is planned on one state; then progress goes out while it is
planned, and the results at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from server.application.gateway import NotDone
from server.application.solver_pool import SolverPool
from server.transport.admission import Admission
from server.transport.calls import Call, Methods
from server.transport.inbox import Inbox
from server.transport.ledger_view import LedgerView
from server.transport.services.promises import PromiseService
from server.transport.services.routing import RoutingService
from server.transport.wave_metrics import WaveMetrics
from server.transport.wave_orders import received
from server.transport.wave_run import WaveRun

_READ_AHEAD = 4
_RETRY_MS = 1_000


class WaveService:
    """The handler of PlanOrders."""

    def __init__(
        self,
        view: LedgerView,
        routing: RoutingService,
        promises: PromiseService,
        pool: SolverPool,
        metrics: WaveMetrics,
        admission: Admission,
    ) -> None:
        self._view = view
        self._routing = routing
        self._promises = promises
        self._pool = pool
        self._metrics = metrics
        self._admission = admission
        self._most = max(1, pool.limits.solvers) + pool.limits.waiting_max

    def register(self, methods: Methods) -> None:
        """Offer it."""
        methods.exchange("PlanOrders", self.plan_orders)

    async def plan_orders(self, requests: AsyncIterator[bytes], call: Call) -> AsyncIterator[bytes]:
        """Progress, results, the summary. Nothing is planned any more when the caller goes."""
        gateway = self._view.gateway
        gateway.require_owner()
        metrics = self._metrics
        if metrics.under_way >= self._most:
            metrics.refused += 1
            raise NotDone.overloaded(
                f"{metrics.under_way} waves are under way, as many as solvers and "
                "waves_waiting_max allow",
                _RETRY_MS,
            )
        metrics.under_way += 1
        try:
            async with Inbox(requests, gateway, ahead=_READ_AHEAD) as inbox:
                wanted = await received(inbox, self._view)
            run = WaveRun(
                wanted,
                call,
                view=self._view,
                routing=self._routing,
                promises=self._promises,
                pool=self._pool,
                metrics=metrics,
                admission=self._admission,
            )
            running = asyncio.create_task(run.run())
            try:
                while (message := await run.outbox.get()) is not None:
                    yield message.SerializeToString(deterministic=True)
                await running
            finally:
                running.cancel()
        finally:
            metrics.under_way -= 1
