"""A storefront's day in Locust: ``make locust`` for the web UI, or ``locust -f ... --headless``.

Every call is in Locust's statistics under the name of its method, with the reason of the ledger or
the server where it failed. A hold of goods that have sold out is an answer, no failure: it is
listed as ``CreateReservation (sold out)``. Locust's users wait for their answers, so they show what
that many shoppers feel, not what the server could take (docs/load.md).

Options besides Locust's own: ``--shop-skus``, ``--shop-nodes`` and ``--shop-units`` say how large
the shop is, ``--open-shop`` makes it first.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import grpc.experimental.gevent as grpc_gevent
from locust import User, between, events, tag, task
from locust.env import Environment

import holdfast
from holdfast.errors import HoldfastError, InsufficientStock, NoFeasiblePlan
from holdfast.values.network import Carrier
from holdfast.values.reservations import Reservation
from holdfast.values.routing import RoutingLine, RoutingOrder
from loadtests.asking import PLACES, node_name, sku_name
from loadtests.scenario import Shop
from loadtests.shop import carrier_service, chunks, item, node

grpc_gevent.init_gevent()

T = TypeVar("T")
_CONNECTIONS = 4
_TTL_S = 120
_LINES_MAX = 3
_CARRIER_SERVICES = 3


def _options(parser: Any) -> None:
    parser.add_argument("--shop-skus", type=int, default=1_000, help="SKUs there are")
    parser.add_argument("--shop-nodes", type=int, default=4, help="nodes there are")
    parser.add_argument("--shop-units", type=int, default=100_000, help="units at each node")
    parser.add_argument(
        "--open-shop", action="store_true", default=False, help="make the shop before the test"
    )


def shop_of(environment: Environment) -> Shop:
    """The shop that the options describe."""
    options = environment.parsed_options
    if options is None:
        return Shop(carrier_services=_CARRIER_SERVICES)
    return Shop(
        skus=options.shop_skus,
        nodes=options.shop_nodes,
        units=options.shop_units,
        carrier_services=_CARRIER_SERVICES,
    )


def _open_shop(environment: Environment, **_: Any) -> None:
    """Define nodes and items and count them in, where that was asked for; by one process only."""
    options = environment.parsed_options
    is_worker = type(environment.runner).__name__ == "WorkerRunner"
    if options is None or not options.open_shop or is_worker:
        return
    shop = shop_of(environment)
    with holdfast.Client(environment.host) as client:
        client.nodes.upsert_all([node(shop, row) for row in range(shop.nodes)])
        service = [carrier_service(shop, row) for row in range(shop.carrier_services)]
        client.carriers.upsert(Carrier(service[0].carrier))
        for each in service:
            client.carrier_services.upsert(each)
        client.items.upsert_all([item(row) for row in range(shop.skus)])
        for _result in client.ingest(
            f"locust-{time.time_ns()}", chunks(shop, shop.skus * shop.nodes)
        ):
            pass


_events: Any = events  # Locust does not say what they are
_events.init_command_line_parser.add_listener(_options)
_events.test_start.add_listener(_open_shop)


class GrpcUser(User):
    """A user whose calls are counted one by one, by method.

    All users of a process share one client, as all requests of a storefront's process do: its
    connections, its retry budget, its throttle.
    """

    abstract = True
    clients: ClassVar[dict[str, holdfast.Client]] = {}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        host = self.host or environment.host
        if not host:
            raise ValueError("no server: give --host HOST:PORT")
        if host not in self.clients:
            self.clients[host] = holdfast.Client(host, channels=_CONNECTIONS)
        self.holdfast = self.clients[host]

    def call(self, name: str, send: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Make a call and put it into the statistics. Raises HoldfastError."""
        with self.counted(name):
            return send(*arguments, **options)

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """One entry of the statistics for what happens inside."""
        begun = time.perf_counter()
        failure: HoldfastError | None = None
        try:
            yield
        except (InsufficientStock, NoFeasiblePlan):
            name += " (sold out)"
            raise
        except HoldfastError as error:
            failure = error
            raise
        finally:
            self.environment.events.request.fire(
                request_type="grpc",
                name=name,
                response_time=(time.perf_counter() - begun) * 1e3,
                response_length=0,
                response=None,
                context={},
                exception=failure,
            )


class Shopper(GrpcUser):
    """Looks around, fills a cart, pays or leaves, asks where the order is."""

    wait_time = between(0.5, 3)

    def on_start(self) -> None:
        self.shop = shop_of(self.environment)
        self.name = f"shopper-{random.getrandbits(48):x}"
        self.orders: list[str] = []

    @task(10)
    @tag("browse")
    def browse(self) -> None:
        """Look at a page of goods."""
        skus = [sku_name(random.randrange(self.shop.skus)) for _ in range(5)]
        self.quietly("QueryAvailability", self.holdfast.availability, skus)

    @task(4)
    @tag("hold")
    def buy(self) -> None:
        """Hold a cart, think about it, pay."""
        held = self.hold()
        if held is not None:
            time.sleep(random.uniform(0.5, 2))
            self.pay(held)

    def pay(self, held: Reservation) -> None:
        """Confirm, and remember the order."""
        confirmed = self.quietly("ConfirmReservation", self.holdfast.confirm, held.reservation_id)
        if confirmed is not None:
            self.orders = [*self.orders[-9:], held.reservation_id]

    @task(2)
    @tag("route")
    def route(self) -> None:
        """Ask when and for how much it would come, think about it, order, pay."""
        lines = [(sku, 1) for sku, _, _ in self.cart()]
        order = RoutingOrder(
            tuple(RoutingLine(sku, units) for sku, units in lines),
            random.choice(PLACES),
            owner=self.name,
        )
        plans = self.quietly("PlanFulfillment", self.holdfast.plan_fulfillment, order)
        if plans is None or not plans.plans:
            return
        time.sleep(random.uniform(0.5, 2))
        promise = self.quietly("PromiseOrder", self.holdfast.promise_order, order, ttl=_TTL_S)
        if promise is not None:
            self.pay(promise.reservation)

    @task(2)
    @tag("hold")
    def abandon(self) -> None:
        """Hold a cart and leave; it expires by itself."""
        self.hold()

    @task(1)
    @tag("hold")
    def think_better_of_it(self) -> None:
        """Hold a cart and give it back."""
        held = self.hold()
        if held is not None:
            self.quietly("CancelReservation", self.holdfast.cancel, held.reservation_id)

    @task(3)
    @tag("track")
    def track(self) -> None:
        """Ask where an order is."""
        if self.orders:
            self.quietly("GetReservation", self.holdfast.get, random.choice(self.orders))

    def cart(self) -> list[tuple[str, str, int]]:
        """A few lines."""
        count = random.randint(1, _LINES_MAX)
        return [
            (sku_name(sku), node_name(random.randrange(self.shop.nodes)), 1)
            for sku in random.sample(range(self.shop.skus), min(count, self.shop.skus))
        ]

    def hold(self) -> Reservation | None:
        """Hold a cart."""
        return self.quietly(
            "CreateReservation", self.holdfast.reserve, self.cart(), owner=self.name, ttl=_TTL_S
        )

    def quietly(
        self, name: str, send: Callable[..., T], *arguments: Any, **options: Any
    ) -> T | None:
        """The call's answer; None when it failed, which the statistics tell."""
        try:
            return self.call(name, send, *arguments, **options)
        except HoldfastError:
            return None
