"""The client whose callers wait. Safe to share between threads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

import grpc

import holdfast.calls.admin as admin_calls
import holdfast.calls.availability as availability_calls
import holdfast.calls.capacities as capacity_calls
import holdfast.calls.health as health_calls
import holdfast.calls.inventory as inventory_calls
import holdfast.calls.network as network_calls
import holdfast.calls.queues as queue_calls
import holdfast.calls.reservations as reservation_calls
import holdfast.calls.routing as routing_calls
import holdfast.calls.supplies as supply_calls
import holdfast.calls.waves as wave_calls
from holdfast.binding import Blocking, BlockingPages
from holdfast.calls.call import Call, Method
from holdfast.calls.feed import ChunkResult, FeedChunk
from holdfast.calls.paging import Pages
from holdfast.calls.waves import BUDGET_S_DEFAULT, Progress
from holdfast.channels import ChannelPool, Tls, Way
from holdfast.errors import (
    CallCancelled,
    DeadlineExceeded,
    HoldfastError,
    NotServing,
    Unavailable,
)
from holdfast.failures import Failure
from holdfast.retry import Attempts, Patience, RetryPolicy
from holdfast.settings import (
    SLOW_TIMEOUT_S_DEFAULT,
    TIMEOUT_S_DEFAULT,
    settings_of,
)
from holdfast.sync.exchange import Exchange
from holdfast.sync.failing import failure_of
from holdfast.sync.ingest import ingest
from holdfast.sync.resources import Resources
from holdfast.sync.watch import Watch
from holdfast.sync.waves import plan_orders
from holdfast.throttle import Throttle
from holdfast.times import Span, seconds_of
from holdfast.values.inventory import ShortfallPolicy
from holdfast.values.network import (
    Carrier,
    CarrierService,
    Channel,
    Item,
    Node,
    NodeGroup,
    RoutingRules,
)
from holdfast.values.queues import QueuePlace
from holdfast.values.routing import RoutingOrder, WavePlans

T = TypeVar("T")


class Client:
    """Talks to a Holdfast server, and waits for its answers.

    ::

        with holdfast.Client("127.0.0.1:7420") as client:
            reservation = client.reserve([("SKU-1", "WH-1", 2)], owner="cart-17", ttl=900)
            client.confirm(reservation.reservation_id)

    `target` is HOST:PORT, or those of a server and its standbys with commas between them; None:
    HOLDFAST_TARGET, or port 7420 of this machine. Every call ends within `timeout` seconds
    (`slow_timeout` for the few that move much), retries included; writes bear one request_id over
    all attempts. `channels` is the number of connections to each. `throttle` holds calls back
    while the server turns most of them away. `settle_target` is where the server takes
    confirmations and cancellations alone, where it does (`settle_listen`).
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        tls: Tls | None = None,
        timeout: Span = TIMEOUT_S_DEFAULT,
        slow_timeout: Span = SLOW_TIMEOUT_S_DEFAULT,
        channels: int = 1,
        retry: RetryPolicy | None = None,
        throttle: Throttle | None = None,
        settle_target: str | None = None,
        metadata: Iterable[tuple[str, str]] = (),
        _patience: Patience | None = None,
    ) -> None:
        self._settings = settings_of(
            target,
            tls=tls,
            timeout=timeout,
            slow_timeout=slow_timeout,
            channels=channels,
            retry=retry,
            throttle=throttle,
            settle_target=settle_target,
            metadata=tuple(metadata),
            patience=_patience,
        )
        self._sleep = time.sleep
        address = self._settings.address
        credentials = address.tls.credentials() if address.tls else None

        def open_channel(target: str) -> grpc.Channel:
            if credentials:
                return grpc.secure_channel(target, credentials, address.options())
            return grpc.insecure_channel(target, address.options())

        self._pool = ChannelPool(channels, address.targets, open_channel)
        self._settle_pool: ChannelPool[grpc.Channel] | None = None
        if self._settings.settle_address:
            targets = (*self._settings.settle_address.targets, *address.targets)
            self._settle_pool = ChannelPool(channels, targets, open_channel)
        self.nodes: Resources[Node] = Resources(self, network_calls.NODES)
        self.node_groups: Resources[NodeGroup] = Resources(self, network_calls.NODE_GROUPS)
        self.items: Resources[Item] = Resources(self, network_calls.ITEMS)
        self.carriers: Resources[Carrier] = Resources(self, network_calls.CARRIERS)
        self.carrier_services: Resources[CarrierService] = Resources(
            self, network_calls.CARRIER_SERVICES
        )
        self.channels: Resources[Channel] = Resources(self, network_calls.CHANNELS)
        self.routing_rules: Resources[RoutingRules] = Resources(self, network_calls.ROUTING_RULES)

    @property
    def target(self) -> str:
        """The server's address, or all addresses it was given."""
        return self._settings.address.target

    @property
    def retries(self) -> int:
        """How often calls of this client were sent again so far."""
        return self._settings.patience.retries

    reserve = Blocking(reservation_calls.reserve)
    batch_reserve = Blocking(reservation_calls.batch_reserve)
    bulk_reserve = Blocking(reservation_calls.bulk_reserve)
    get = Blocking(reservation_calls.get)
    list = BlockingPages(reservation_calls.list_)
    confirm = Blocking(reservation_calls.confirm)
    cancel = Blocking(reservation_calls.cancel)
    extend = Blocking(reservation_calls.extend)
    revise = Blocking(reservation_calls.revise)
    reassign = Blocking(reservation_calls.reassign)
    fulfill = Blocking(reservation_calls.fulfill)
    return_ = Blocking(reservation_calls.return_)

    availability = Blocking(availability_calls.availability)

    position = Blocking(inventory_calls.position)
    positions = BlockingPages(inventory_calls.positions)
    adjust = Blocking(inventory_calls.adjust)
    count = Blocking(inventory_calls.count)
    transfer = Blocking(inventory_calls.transfer)
    withhold = Blocking(inventory_calls.withhold)
    movements = BlockingPages(inventory_calls.movements)
    verify = Blocking(inventory_calls.verify)

    upsert_supply = Blocking(supply_calls.upsert_supply)
    receive_supply = Blocking(supply_calls.receive_supply)
    cancel_supply = Blocking(supply_calls.cancel_supply)
    supplies = BlockingPages(supply_calls.supplies)
    set_backorder_limit = Blocking(supply_calls.set_backorder_limit)

    set_capacity = Blocking(capacity_calls.set_capacity)
    capacities = BlockingPages(capacity_calls.capacities)
    set_channel_fence = Blocking(capacity_calls.set_channel_fence)
    channel_fences = BlockingPages(capacity_calls.channel_fences)
    set_purchase_limit = Blocking(capacity_calls.set_purchase_limit)

    plan_fulfillment = Blocking(routing_calls.plan_fulfillment)
    promise_order = Blocking(routing_calls.promise_order)
    replan_order = Blocking(routing_calls.replan_order)
    explain_plan = Blocking(routing_calls.explain_plan)

    join_queue = Blocking(queue_calls.join_queue)
    place = Blocking(queue_calls.place)
    places = Blocking(queue_calls.places)
    leave_queue = Blocking(queue_calls.leave_queue)

    status = Blocking(admin_calls.status)
    create_snapshot = Blocking(admin_calls.create_snapshot)
    freeze_node = Blocking(admin_calls.freeze_node)
    unfreeze_node = Blocking(admin_calls.unfreeze_node)
    drain = Blocking(admin_calls.drain)
    health = Blocking(health_calls.health)

    def watch(
        self,
        skus: Iterable[str] | str = (),
        *,
        nodes: Iterable[str] = (),
        node_groups: Iterable[str] = (),
        channel: str = "",
        thresholds: Iterable[int] = (),
        thresholds_only: bool = False,
        resume_token: str = "",
    ) -> Watch:
        """Iterate over what changes: first a snapshot, then every change and threshold crossing.

        It comes back by itself after a break, with its token: nothing missed, nothing twice. When
        its place is no longer kept it starts anew, with SNAPSHOT events. ::

            with client.watch(["SKU-1"], nodes=["WH-1"], thresholds=[5]) as events:
                for event in events:
                    print(event.type, event.position.available)
        """
        progress = availability_calls.watch(
            skus,
            nodes=nodes,
            node_groups=node_groups,
            channel=channel,
            thresholds=thresholds,
            thresholds_only=thresholds_only,
            resume_token=resume_token,
        )
        return Watch(self, progress)

    def exchange(self, *, window: int = 256) -> Exchange:
        """A stream on which many calls are under way at once, each answered by a future.

        At most `window` of them; further ones wait. ::

            with client.exchange() as exchange:
                futures = [exchange.reserve([line]) for line in lines]
                reservations = [future.result() for future in futures]
        """
        return Exchange(self, window)

    def ingest(
        self,
        feed_id: str,
        chunks: Iterable[FeedChunk],
        *,
        shortfall_policy: ShortfallPolicy = ShortfallPolicy.UNSPECIFIED,
        window: int = 4,
    ) -> Iterator[ChunkResult]:
        """Load counts by the million: send `chunks`, yield what became of each, in order.

        Chunks that the server already has under this `feed_id` are not sent again, and yield
        nothing: a feed that is repeated goes on where it stopped. `window` chunks are under way
        at once.
        """
        return ingest(self, feed_id, chunks, shortfall_policy, window)

    def wait_for_turn(
        self,
        place: QueuePlace,
        *,
        timeout: Span | None = None,
    ) -> QueuePlace:
        """Ask for a place in a queue until it is called, has ended, or `timeout` seconds are over.

        Gives it as it stands then; goes on over a restart of the server. ::

            place = client.wait_for_turn(client.join_queue("console", owner="cart-17"))
            if place.state == "CALLED":
                client.reserve(lines, owner="cart-17", place_token=place.place_token)
        """
        now_s = time.monotonic
        until_s = None if timeout is None else now_s() + seconds_of(timeout)
        while True:
            left_s = None if until_s is None else until_s - now_s()
            pause_s = queue_calls.pause_s(place, left_s)
            if pause_s is None:
                return place
            self._sleep(pause_s)
            place = self.place(place.place_token)

    def plan_orders(
        self,
        orders: Iterable[RoutingOrder] = (),
        *,
        budget: Span = BUDGET_S_DEFAULT,
        hold: bool = False,
        ttl: Span | None = None,
        seed: int = 0,
        work: Span | None = None,
        gap_enough: float = 0.0,
        reservation_ids: Iterable[str] = (),
        replan_nodes: Iterable[str] = (),
        replan_carrier_services: Iterable[str] = (),
        saving_min_minor_units: int = 0,
        progress: Progress | None = None,
        progress_interval: Span = 0.5,
        request_id: str | None = None,
        timeout: Span | None = None,
    ) -> WavePlans:
        """Plan up to 5,000 orders together against scarce stock and capacity, and `hold` them.

        The server plans for `budget` seconds at most, less where the answer is proven to be within
        `gap_enough` (a share) of the cheapest. `work` is counted in place of time: the same orders,
        seed and work have the same answer on every machine. An order without a plan has an `error`
        in its result; the others are planned. `progress` is called with how far it is.

        Promised orders may be part of it: those of `reservation_ids` move where that saves at least
        `saving_min_minor_units`, and all with open units at `replan_nodes`, or that go by
        `replan_carrier_services`, leave these. Without `hold` that is a proposal. ::

            planned = client.plan_orders(orders, budget=5, hold=True)
            for result in planned.results:
                print(result.order, result.plan or result.error)

        `timeout` is for all of it; by default the budget and `slow_timeout` of the client.
        """
        wave = wave_calls.plan_orders(
            orders,
            budget=budget,
            hold=hold,
            ttl=ttl,
            seed=seed,
            work=work,
            gap_enough=gap_enough,
            reservation_ids=reservation_ids,
            replan_nodes=replan_nodes,
            replan_carrier_services=replan_carrier_services,
            saving_min_minor_units=saving_min_minor_units,
            progress=progress,
            progress_interval=progress_interval,
            request_id=request_id,
            timeout=timeout,
        )
        return plan_orders(self, wave)

    def wait_until_serving(
        self,
        timeout: Span = 30.0,
        *,
        service: str = "",
    ) -> None:
        """Wait until the server serves; of several, one of them.

        `service` "holdfast.ready" waits for a standby that keeps up too. Raises Unavailable or
        DeadlineExceeded after `timeout`.
        """
        attempts = self._settings.stream_attempts(seconds_of(timeout))
        while True:
            attempts.begin()
            try:
                self._wait(health_calls.serving(service))
                return
            except (Unavailable, DeadlineExceeded, CallCancelled) as error:
                failure = Failure.of(error)
                if isinstance(error, NotServing):  # of several, another one may
                    self._pool.leave(self._pool.target, failure)
                self._sleep(attempts.failed(failure))

    def close(self) -> None:
        """Close the connections; calls under way fail."""
        for pool in (self._pool, self._settle_pool):
            if pool is not None:
                for channel in pool.channels:
                    channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _pool_of(self, method: Method) -> ChannelPool[grpc.Channel]:
        """The connections that `method` goes by: what settles a hold may have its own."""
        if method.urgent and self._settle_pool is not None:
            return self._settle_pool
        return self._pool

    def _open(self, kind: str, method: Method) -> Way:
        """The callable of `method` on the next connection."""
        return self._pool_of(method).way(kind, method.path, method.encode, method.decode)

    def _failed(
        self,
        attempts: Attempts,
        failure: Failure,
        target: int,
        answers: int | None = None,
        pool: ChannelPool[grpc.Channel] | None = None,
    ) -> float:
        """Seconds before another attempt, which may go to another target; or raises the error."""
        pool = pool or self._pool
        passed_on = pool.leave(target, failure, answers=answers)
        return attempts.failed(failure, passed_on=passed_on)

    def _wait(self, call: Call[T]) -> T:
        """Send `call`, again where that is safe and paid for, and wait for its answer."""
        attempts = self._settings.attempts(call)
        pool = self._pool_of(call.method)
        try:
            while True:
                answers = pool.answers
                way = self._open("unary_unary", call.method)
                try:
                    reply = way.call(
                        call.request,
                        timeout=attempts.begin(),
                        metadata=self._settings.metadata,
                    )
                except grpc.RpcError as error:
                    failure = failure_of(error)
                    self._sleep(self._failed(attempts, failure, way.target, answers, pool))
                    continue
                pool.answers += 1
                attempts.succeeded()
                return call.read(reply)
        except HoldfastError as error:
            raise call.named(error) from error.__cause__

    def _iterate(self, pages: Pages[T]) -> Iterator[T]:
        """The items of `pages`, each page read when it is needed."""
        token = ""
        while True:
            page = self._wait(pages.page(token))
            yield from page.items
            token = page.next_token
            if not token:
                return
