"""The gRPC server: every service on one listener, with the limits of the connection.

The listener is there before the ledger is: until it is recovered health says NOT_SERVING and calls
are answered SHARD_RECOVERING.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from engine import limits
from holdfast.v1 import (
    admin_service_pb2,
    availability_service_pb2,
    inventory_service_pb2,
    network_service_pb2,
    reservation_service_pb2,
    routing_service_pb2,
)
from server.application.gateway import Gateway
from server.application.watch import WatchHub
from server.metrics import Metrics
from server.routing.catalog import Catalog
from server.routing.decision_log import DecisionLog
from server.routing.metrics import RoutingMetrics
from server.transport.calls import Methods
from server.transport.channel_nodes import ChannelNodes
from server.transport.health import SERVICE, Health
from server.transport.ledger_view import LedgerView
from server.transport.node_rows import NodeRows
from server.transport.services.admin import AdminService, Operator
from server.transport.services.availability import AvailabilityService
from server.transport.services.bulk import BulkCreate
from server.transport.services.exchange import ExchangeReservations
from server.transport.services.explanations import ExplanationService
from server.transport.services.ingest import IngestService
from server.transport.services.inventory import InventoryService
from server.transport.services.inventory_reads import InventoryReads
from server.transport.services.network import NetworkService
from server.transport.services.network_batches import NetworkBatches
from server.transport.services.promises import PromiseService
from server.transport.services.reservations import ReservationService
from server.transport.services.routing import RoutingService
from server.transport.services.watch import WatchService

# A message's own limit, and some room for its frame.
_RECEIVE_BYTES_MAX = limits.bulk_message_bytes_max + 1024
_METADATA_BYTES_MAX = 16 * 1024
_STREAMS_PER_CONNECTION_MAX = 1024
_PING_MS_MIN = 10_000
_PING_STRIKES_MAX = 2
_KEEPALIVE_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """How the server listens."""

    address: str
    credentials: grpc.ServerCredentials | None
    concurrent_calls_max: int
    reflection: bool
    channelz: bool
    log_requests: bool
    routing_decisions_max: int


class CannotListen(Exception):
    """The address is taken or is none of this machine."""


def channel_options() -> Sequence[tuple[str, Any]]:
    """What every connection is held to."""
    return (
        ("grpc.max_receive_message_length", _RECEIVE_BYTES_MAX),
        ("grpc.max_send_message_length", -1),  # replies are bounded by their requests
        ("grpc.max_metadata_size", _METADATA_BYTES_MAX),
        ("grpc.max_concurrent_streams", _STREAMS_PER_CONNECTION_MAX),
        # Without this a second server on the same port would silently take half the connections.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_MS_MIN),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES_MAX),
    )


def build(
    listener: Listener,
    *,
    gateway: Gateway,
    hub: WatchHub,
    health: Health,
    metrics: Metrics,
    operator: Operator,
) -> tuple[grpc.aio.Server, int]:
    """The server, not started, and the port it is bound to. Raises CannotListen."""
    server = grpc.aio.server(
        options=channel_options(), maximum_concurrent_rpcs=listener.concurrent_calls_max
    )
    for handler in _handlers(listener, gateway, hub, metrics, operator):
        server.add_generic_rpc_handlers((handler,))
    checks = Methods(SERVICE, gateway, metrics, log_requests=False)
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
    listener: Listener, gateway: Gateway, hub: WatchHub, metrics: Metrics, operator: Operator
) -> list[grpc.GenericRpcHandler]:
    view = LedgerView(gateway)
    channels = ChannelNodes(view)
    nodes = NodeRows(view)

    def methods(name: str) -> Methods:
        return Methods(f"holdfast.v1.{name}", gateway, metrics, log_requests=listener.log_requests)

    reservations = methods("ReservationService")
    service = ReservationService(view, channels, metrics)
    service.register(reservations)
    BulkCreate(view, channels, metrics).register(reservations)
    ExchangeReservations(view, service).register(reservations)

    availability = methods("AvailabilityService")
    AvailabilityService(view, channels, nodes).register(availability)
    WatchService(view, channels, hub).register(availability)

    inventory = methods("InventoryService")
    InventoryService(view).register(inventory)
    InventoryReads(view, nodes).register(inventory)
    IngestService(view, metrics).register(inventory)

    network = methods("NetworkService")
    catalog = Catalog()
    network_service = NetworkService(view, channels, catalog)
    network_service.register(network)
    NetworkBatches(view, network_service, metrics).register(network)

    routing = methods("RoutingService")
    routing_metrics = RoutingMetrics()
    metrics.add_gauges(routing_metrics.collect)
    routing_service = RoutingService(view, catalog, routing_metrics)
    routing_service.register(routing)
    log = DecisionLog(listener.routing_decisions_max)
    PromiseService(view, routing_service, routing_metrics, log).register(routing)
    ExplanationService(view, routing_service, log).register(routing)

    admin = methods("AdminService")
    AdminService(view, network_service, operator).register(admin)
    services = (reservations, availability, inventory, network, routing, admin)
    return [item.generic_handler() for item in services]


def _add_reflection(server: grpc.aio.Server) -> None:
    names = [
        *(
            module.DESCRIPTOR.services_by_name[service].full_name
            for module, service in (
                (reservation_service_pb2, "ReservationService"),
                (availability_service_pb2, "AvailabilityService"),
                (inventory_service_pb2, "InventoryService"),
                (network_service_pb2, "NetworkService"),
                (routing_service_pb2, "RoutingService"),
                (admin_service_pb2, "AdminService"),
            )
        ),
        health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        reflection.SERVICE_NAME,
    ]
    reflection.enable_server_reflection(names, server)
