"""grpc.health.v1: what load balancers and Kubernetes go by."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICES = (
    "holdfast.v1.ReservationService",
    "holdfast.v1.AvailabilityService",
    "holdfast.v1.InventoryService",
    "holdfast.v1.NetworkService",
    "holdfast.v1.AdminService",
)


class Health:
    """One status for the server as a whole and each of its services."""

    def __init__(self) -> None:
        self._servicer = health.aio.HealthServicer()
        self.is_serving = False

    def add_to(self, server: Any) -> None:
        """Offer the service."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, serving: bool) -> None:
        """SERVING or NOT_SERVING; watchers of the service are told."""
        self.is_serving = serving
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", *SERVICES):
            await self._servicer.set(name, status)
