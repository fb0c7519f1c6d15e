"""The gRPC server: every service on one listener, with the limits of the connection.

The listener is there before the ledger is: until it is recovered health says NOT_SERVING and calls
are answered SHARD_RECOVERING.
"""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from holdfast.v1 import (
    admin_service_pb2,
    availability_service_pb2,
    inventory_service_pb2,
    network_service_pb2,
    reservation_service_pb2,
)
from server.application.gateway import Gateway
from server.application.watch import WatchHub
from server.metrics import Metrics
from server.transport.admission import Admission
from server.transport.calls import Methods
from server.transport.channel_nodes import ChannelNodes
from server.transport.connection_limits import ConnectionLimits, channel_options
from server.transport.health import SERVICE, Health
from server.transport.ledger_view import LedgerView
from server.transport.node_rows import NodeRows
from server.transport.services.admin import AdminService, Operator
from server.transport.services.availability import AvailabilityService
from server.transport.services.bulk import BulkCreate
from server.transport.services.exchange import ExchangeReservations
from server.transport.services.ingest import IngestService
from server.transport.services.inventory import InventoryService
from server.transport.services.inventory_reads import InventoryReads
from server.transport.services.network import NetworkService
from server.transport.services.network_batches import NetworkBatches
from server.transport.services.reservations import ReservationService
from server.transport.services.watch import WatchService


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """How the server listens."""

    address: str
    credentials: grpc.ServerCredentials | None
    concurrent_calls_max: int
    connection: ConnectionLimits
    degraded_age_ms_max: int
    reflection: bool
    channelz: bool
    log_requests: bool


class CannotListen(Exception):
    """The address is taken or is none of this machine."""


def build(
    listener: Listener,
    *,
    gateway: Gateway,
    hub: WatchHub,
    health: Health,
    metrics: Metrics,
    admission: Admission,
    operator: Operator,
) -> tuple[grpc.aio.Server, int]:
    """The server, not started, and the port it is bound to. Raises CannotListen."""
    server = grpc.aio.server(
        options=channel_options(listener.connection),
        maximum_concurrent_rpcs=listener.concurrent_calls_max,
    )
    for handler in _handlers(listener, gateway, hub, metrics, admission, operator):
        server.add_generic_rpc_handlers((handler,))
    checks = Methods(SERVICE, gateway, metrics, admission, log_requests=False)
    health.register(checks)
    server.add_generic_rpc_handlers((checks.generic_handler(),))
    if listener.channelz:
        channelz.add_channelz_servicer(server)
    if listener.reflection:
        _add_reflection(server)
    try:
        if listener.credentials is None:
            port = server.add_insecure_port(listener.address)
        else:
            port = server.add_secure_port(listener.address, listener.credentials)
    except RuntimeError as fault:
        raise CannotListen(f"{listener.address}: can not be listened on: {fault}") from fault
    if port == 0:
        raise CannotListen(f"{listener.address}: can not be listened on")
    return server, port


def _handlers(
    listener: Listener,
    gateway: Gateway,
    hub: WatchHub,
    metrics: Metrics,
    admission: Admission,
    operator: Operator,
) -> list[grpc.GenericRpcHandler]:
    view = LedgerView(gateway)
    channels = ChannelNodes(view)
    nodes = NodeRows(view)

    def methods(name: str) -> Methods:
        return Methods(
            f"holdfast.v1.{name}", gateway, metrics, admission, log_requests=listener.log_requests
        )

    reservations = methods("ReservationService")
    service = ReservationService(view, channels, metrics)
    service.register(reservations)
    BulkCreate(view, channels, metrics).register(reservations)
    ExchangeReservations(view, service, admission).register(reservations)

    availability = methods("AvailabilityService")
    AvailabilityService(
        view,
        channels,
        nodes,
        admission.brownout,
        degraded_age_ms_max=listener.degraded_age_ms_max,
    ).register(availability)
    WatchService(view, channels, hub).register(availability)

    inventory = methods("InventoryService")
    InventoryService(view).register(inventory)
    InventoryReads(view, nodes).register(inventory)
    IngestService(view, metrics).register(inventory)

    network = methods("NetworkService")
    network_service = NetworkService(view, channels)
    network_service.register(network)
    NetworkBatches(view, network_service, metrics).register(network)

    admin = methods("AdminService")
    AdminService(view, network_service, operator).register(admin)
    return [
        item.generic_handler() for item in (reservations, availability, inventory, network, admin)
    ]


def _add_reflection(server: grpc.aio.Server) -> None:
    names = [
        *(
            module.DESCRIPTOR.services_by_name[service].full_name
            for module, service in (
                (reservation_service_pb2, "ReservationService"),
                (availability_service_pb2, "AvailabilityService"),
                (inventory_service_pb2, "InventoryService"),
                (network_service_pb2, "NetworkService"),
                (admin_service_pb2, "AdminService"),
            )
        ),
        health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        reflection.SERVICE_NAME,
    ]
    reflection.enable_server_reflection(names, server)
