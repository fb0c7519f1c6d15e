"""grpc.health.v1: what load balancers and Kubernetes go by.

The library's own servicer keeps its watchers for ever, and a shutdown would wait for them until it
cuts everyone. Here a watcher is told NOT_SERVING and let go when the server drains.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from google.rpc import status_pb2
from grpc import StatusCode
from grpc_health.v1 import health_pb2

from server.application.gateway import Gateway, Phase
from server.transport.calls import Call, Methods
from server.transport.errors import Refusal, Refused

SERVICE = "grpc.health.v1.Health"
READY = "holdfast.ready"
"""SERVING also while the server stands by and keeps up: nobody need wait for it any more."""
_SERVICES = frozenset(
    {
        "",
        READY,
        "holdfast.v1.ReservationService",
        "holdfast.v1.AvailabilityService",
        "holdfast.v1.InventoryService",
        "holdfast.v1.NetworkService",
        "holdfast.v1.AdminService",
    }
)


class Health:
    """One status for the server as a whole and each of its services, and one for `READY`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._watchers: set[asyncio.Event] = set()
        self.is_serving = False
        self.is_ready = False

    def set(self, serving: bool, *, ready: bool = False) -> None:
        """SERVING or NOT_SERVING; watchers are told. Who serves is `ready`; a standby may be."""
        self.is_serving = serving
        self.is_ready = serving or ready
        for watcher in self._watchers:
            watcher.set()

    def register(self, methods: Methods) -> None:
        """Offer the service."""
        methods.unary("Check", health_pb2.HealthCheckRequest, self.check)
        methods.server_stream("Watch", health_pb2.HealthCheckRequest, self.watch)

    def _status(self, service: str) -> int:
        if self.is_ready if service == READY else self.is_serving:
            return health_pb2.HealthCheckResponse.SERVING
        return health_pb2.HealthCheckResponse.NOT_SERVING

    async def check(
        self, request: health_pb2.HealthCheckRequest, call: Call
    ) -> health_pb2.HealthCheckResponse:
        """Check. NOT_FOUND for a service that is none of ours."""
        if request.service not in _SERVICES:
            raise Refused(_unknown(request.service))
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def watch(
        self, request: health_pb2.HealthCheckRequest, call: Call
    ) -> AsyncIterator[bytes]:
        """Watch: the status now and at every change, until the server drains."""
        known = request.service in _SERVICES
        woken = asyncio.Event()
        self._watchers.add(woken)
        told = -1
        try:
            while True:
                woken.clear()
                status = self._status(request.service)
                if not known:
                    status = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
                if status != told:
                    told = status
                    reply = health_pb2.HealthCheckResponse(status=status)
                    yield reply.SerializeToString(deterministic=True)
                if self._gateway.phase in (Phase.DRAINING, Phase.STOPPED):
                    raise self._gateway.draining()
                await woken.wait()
        finally:
            self._watchers.discard(woken)


def _unknown(service: str) -> Refusal:
    """NOT_FOUND as the health protocol wants it; the contract's reasons are not about this."""
    code = StatusCode.NOT_FOUND
    message = f"no such service: {service!r}"
    return Refusal(code, 0, status_pb2.Status(code=code.value[0], message=message))
