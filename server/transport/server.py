"""The gRPC server: every service on one listener, with the limits of the connection.

The listener is there before the ledger is: until it is recovered health says NOT_SERVING and calls
are answered SHARD_RECOVERING.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from holdfast.v1 import (
    admin_service_pb2,
    availability_service_pb2,
    inventory_service_pb2,
    network_service_pb2,
    queue_service_pb2,
    reservation_service_pb2,
    routing_service_pb2,
)
from server.admission.classes import WorkClass
from server.application.gateway import Gateway
from server.application.solver_pool import SolverPool
from server.application.watch import WatchHub
from server.metrics import Metrics
from server.routing.catalog import Catalog
from server.routing.decision_log import DecisionLog
from server.routing.metrics import RoutingMetrics
from server.routing.prices.source import OpportunityPrices
from server.transport.admission import CLASS_OF, Admission
from server.transport.calls import Methods
from server.transport.channel_nodes import ChannelNodes
from server.transport.connection_limits import ConnectionLimits, channel_options
from server.transport.hands import Hands
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
from server.transport.services.queue import QueueService
from server.transport.services.reservations import ReservationService
from server.transport.services.routing import RoutingService
from server.transport.services.watch import WatchService
from server.transport.services.waves import WaveService
from server.transport.shortfall_moves import ShortfallMoves
from server.transport.sold_out import SoldOut
from server.transport.wave_metrics import WaveMetrics


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
    routing_decisions_max: int
    prices: OpportunityPrices


# What the listener for settling serves: see `build_settling`.
_SETTLING = frozenset(
    f"/holdfast.v1.ReservationService/{name}"
    for name, work in CLASS_OF.items()
    if work is WorkClass.SETTLE
)


class CannotListen(Exception):
    """The address is taken or is none of this machine."""


Handlers: TypeAlias = Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]
"""What serves a method, by its path."""


@dataclass(frozen=True, slots=True)
class Built:
    """A server, the port it is bound to, and what serves its methods."""

    server: grpc.aio.Server
    port: int
    handlers: Handlers
    hands: Hands

    async def start(self) -> None:
        """Take calls."""
        await self.server.start()
        self.hands.begin()


def build(
    listener: Listener,
    *,
    gateway: Gateway,
    hub: WatchHub,
    health: Health,
    metrics: Metrics,
    admission: Admission,
    operator: Operator,
    solvers: SolverPool,
) -> Built:
    """The server of every service. Raises CannotListen."""
    services = _services(listener, gateway, hub, metrics, admission, operator, solvers)
    checks = Methods(SERVICE, gateway, metrics, admission, names_callers=False, log_requests=False)
    health.register(checks)
    handlers = {path: each for one in (*services, checks) for path, each in one.handlers.items()}
    server, hands = _server(listener, handlers, admission)
    if listener.channelz:
        channelz.add_channelz_servicer(server)
    if listener.reflection:
        _add_reflection(server)
    return Built(server, _bind(server, listener), handlers, hands)


def build_settling(listener: Listener, handlers: Handlers, admission: Admission) -> Built:
    """A second server in front of the same handlers, for confirmations and cancellations alone:
    connections of their own, which nobody else's streams fill. Raises CannotListen."""
    only = {path: handlers[path] for path in _SETTLING}
    server, hands = _server(listener, only, admission)
    return Built(server, _bind(server, listener), only, hands)


class _ByPath(grpc.GenericRpcHandler):
    """Finds the handler of a method."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: Any) -> Any:
        """The method's handler; None where there is no such method."""
        return self._handlers.get(handler_call_details.method)


def _server(
    listener: Listener, handlers: Handlers, admission: Admission
) -> tuple[grpc.aio.Server, Hands]:
    server = grpc.aio.server(
        options=channel_options(listener.connection),
        maximum_concurrent_rpcs=listener.concurrent_calls_max,
    )
    server.add_generic_rpc_handlers((_ByPath(handlers),))
    hands = Hands(
        server,
        handlers,
        calls_max=listener.concurrent_calls_max,
        is_busy=lambda: admission.limiter.is_busy,
    )
    return server, hands


def _bind(server: grpc.aio.Server, listener: Listener) -> int:
    try:
        if listener.credentials is None:
            port = server.add_insecure_port(listener.address)
        else:
            port = server.add_secure_port(listener.address, listener.credentials)
    except RuntimeError as fault:
        raise CannotListen(f"{listener.address}: can not be listened on: {fault}") from fault
    if port == 0:
        raise CannotListen(f"{listener.address}: can not be listened on")
    return int(port)


def _services(
    listener: Listener,
    gateway: Gateway,
    hub: WatchHub,
    metrics: Metrics,
    admission: Admission,
    operator: Operator,
    solvers: SolverPool,
) -> Sequence[Methods]:
    view = LedgerView(gateway)
    channels = ChannelNodes(view)
    nodes = NodeRows(view)

    def busy_share() -> float:
        return admission.limiter.busy_share

    def methods(name: str) -> Methods:
        return Methods(
            f"holdfast.v1.{name}",
            gateway,
            metrics,
            admission,
            names_callers=listener.credentials is not None,
            log_requests=listener.log_requests,
        )

    reservations = methods("ReservationService")
    sold_out = SoldOut(view, metrics, admission.sold_out_early)
    service = ReservationService(view, channels, metrics, sold_out, busy_share)
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

    network = methods("NetworkService")
    catalog = Catalog()
    network_service = NetworkService(view, channels, catalog)
    network_service.register(network)
    NetworkBatches(view, network_service, metrics).register(network)

    routing = methods("RoutingService")
    routing_metrics = RoutingMetrics()
    metrics.add_gauges(routing_metrics.collect)
    routing_service = RoutingService(
        view, catalog, routing_metrics, admission.brownout, listener.prices, busy_share
    )
    routing_service.register(routing)
    log = DecisionLog(listener.routing_decisions_max)
    promises = PromiseService(view, routing_service, routing_metrics, log, busy_share)
    promises.register(routing)
    wave_metrics = WaveMetrics(solvers)
    metrics.add_gauges(wave_metrics.collect)
    WaveService(view, routing_service, promises, solvers, wave_metrics, admission).register(routing)
    ExplanationService(view, routing_service, log).register(routing)

    inventory = methods("InventoryService")
    moves = ShortfallMoves(view, channels, nodes, metrics, service, promises)
    InventoryService(view, moves).register(inventory)
    InventoryReads(view, nodes).register(inventory)
    IngestService(view, metrics, moves).register(inventory)

    queues = methods("QueueService")
    QueueService(view, admission.turns).register(queues)

    admin = methods("AdminService")
    AdminService(view, network_service, operator).register(admin)
    return (reservations, availability, inventory, network, routing, queues, admin)


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
                (queue_service_pb2, "QueueService"),
                (admin_service_pb2, "AdminService"),
            )
        ),
        health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        reflection.SERVICE_NAME,
    ]
    reflection.enable_server_reflection(names, server)
