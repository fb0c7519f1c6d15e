"""The client for asyncio. One for each event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Self, TypeVar

import grpc
from grpc import aio

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
from holdfast.aio.exchange import Exchange
from holdfast.aio.failing import failure_of
from holdfast.aio.ingest import ingest
from holdfast.aio.resources import Resources
from holdfast.aio.watch import Watch
from holdfast.aio.waves import plan_orders
from holdfast.binding import Awaiting, AwaitingPages
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
    """Talks to a Holdfast server from asyncio; the methods of `holdfast.Client`, awaited.

    ::

        async with holdfast.aio.Client("127.0.0.1:7420") as client:
            reservation = await client.reserve([("SKU-1", "WH-1", 2)], owner="cart-17", ttl=900)
            await client.confirm(reservation.reservation_id)

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
        self._sleep = asyncio.sleep
        address = self._settings.address
        credentials = address.tls.credentials() if address.tls else None

        def open_channel(target: str) -> aio.Channel:
            if credentials:
                return aio.secure_channel(target, credentials, address.options())
            return aio.insecure_channel(target, address.options())

        # Channels belong to the running event loop, which need not run yet.
        targets = address.targets
        self._open_pool = functools.cache(lambda: ChannelPool(channels, targets, open_channel))
        self._open_settle_pool: functools._lru_cache_wrapper[ChannelPool[aio.Channel]] | None = None
        if self._settings.settle_address:
            all_targets = (*self._settings.settle_address.targets, *targets)
            self._open_settle_pool = functools.cache(
                lambda: ChannelPool(channels, all_targets, open_channel)
            )
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

    reserve = Awaiting(reservation_calls.reserve)
    batch_reserve = Awaiting(reservation_calls.batch_reserve)
    bulk_reserve = Awaiting(reservation_calls.bulk_reserve)
    get = Awaiting(reservation_calls.get)
    list = AwaitingPages(reservation_calls.list_)
    confirm = Awaiting(reservation_calls.confirm)
    cancel = Awaiting(reservation_calls.cancel)
    extend = Awaiting(reservation_calls.extend)
    revise = Awaiting(reservation_calls.revise)
    reassign = Awaiting(reservation_calls.reassign)
    fulfill = Awaiting(reservation_calls.fulfill)
    return_ = Awaiting(reservation_calls.return_)

    availability = Awaiting(availability_calls.availability)

    position = Awaiting(inventory_calls.position)
    positions = AwaitingPages(inventory_calls.positions)
    adjust = Awaiting(inventory_calls.adjust)
    count = Awaiting(inventory_calls.count)
    transfer = Awaiting(inventory_calls.transfer)
    withhold = Awaiting(inventory_calls.withhold)
    movements = AwaitingPages(inventory_calls.movements)
    verify = Awaiting(inventory_calls.verify)

    upsert_supply = Awaiting(supply_calls.upsert_supply)
    receive_supply = Awaiting(supply_calls.receive_supply)
    cancel_supply = Awaiting(supply_calls.cancel_supply)
    supplies = AwaitingPages(supply_calls.supplies)
    set_backorder_limit = Awaiting(supply_calls.set_backorder_limit)

    set_capacity = Awaiting(capacity_calls.set_capacity)
    capacities = AwaitingPages(capacity_calls.capacities)
    set_channel_fence = Awaiting(capacity_calls.set_channel_fence)
    channel_fences = AwaitingPages(capacity_calls.channel_fences)
    set_purchase_limit = Awaiting(capacity_calls.set_purchase_limit)

    plan_fulfillment = Awaiting(routing_calls.plan_fulfillment)
    promise_order = Awaiting(routing_calls.promise_order)
    replan_order = Awaiting(routing_calls.replan_order)
    explain_plan = Awaiting(routing_calls.explain_plan)

    join_queue = Awaiting(queue_calls.join_queue)
    place = Awaiting(queue_calls.place)
    places = Awaiting(queue_calls.places)
    leave_queue = Awaiting(queue_calls.leave_queue)

    status = Awaiting(admin_calls.status)
    create_snapshot = Awaiting(admin_calls.create_snapshot)
    freeze_node = Awaiting(admin_calls.freeze_node)
    unfreeze_node = Awaiting(admin_calls.unfreeze_node)
    drain = Awaiting(admin_calls.drain)
    health = Awaiting(health_calls.health)

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

            async with client.watch(["SKU-1"], nodes=["WH-1"], thresholds=[5]) as events:
                async for event in events:
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
        """A stream on which the calls of many tasks are under way at once.

        At most `window` of them; further ones wait. ::

            async with client.exchange() as exchange:
                await asyncio.gather(*(exchange.reserve([line]) for line in lines))
        """
        return Exchange(self, window)

    def ingest(
        self,
        feed_id: str,
        chunks: Iterable[FeedChunk],
        *,
        shortfall_policy: ShortfallPolicy = ShortfallPolicy.UNSPECIFIED,
        window: int = 4,
    ) -> AsyncIterator[ChunkResult]:
        """Load counts by the million: send `chunks`, yield what became of each, in order.

        Chunks that the server already has under this `feed_id` are not sent again, and yield
        nothing: a feed that is repeated goes on where it stopped. `window` chunks are under way
        at once.
        """
        return ingest(self, feed_id, chunks, shortfall_policy, window)

    async def wait_for_turn(
        self,
        place: QueuePlace,
        *,
        timeout: Span | None = None,  # noqa: ASYNC109 - as in every method of the client
    ) -> QueuePlace:
        """Ask for a place in a queue until it is called, has ended, or `timeout` seconds are over.

        Gives it as it stands then; goes on over a restart of the server. ::

            place = await client.wait_for_turn(await client.join_queue("console", owner="cart-17"))
            if place.state == "CALLED":
                await client.reserve(lines, owner="cart-17", place_token=place.place_token)
        """
        now_s = asyncio.get_running_loop().time
        until_s = None if timeout is None else now_s() + seconds_of(timeout)
        while True:
            left_s = None if until_s is None else until_s - now_s()
            pause_s = queue_calls.pause_s(place, left_s)
            if pause_s is None:
                return place
            await self._sleep(pause_s)
            place = await self.place(place.place_token)

    async def plan_orders(
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
        timeout: Span | None = None,  # noqa: ASYNC109
    ) -> WavePlans:
        """Plan up to 5,000 orders together against scarce stock and capacity, and `hold` them.

        The server plans for `budget` seconds at most, less where the answer is proven to be within
        `gap_enough` (a share) of the cheapest. `work` is counted in place of time: the same orders,
        seed and work have the same answer on every machine. An order without a plan has an `error`
        in its result; the others are planned. `progress` is called with how far it is.

        Promised orders may be part of it: those of `reservation_ids` move where that saves at least
        `saving_min_minor_units`, and all with open units at `replan_nodes`, or that go by
        `replan_carrier_services`, leave these. Without `hold` that is a proposal. ::

            planned = await client.plan_orders(orders, budget=5, hold=True)
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
        return await plan_orders(self, wave)

    async def wait_until_serving(
        self,
        timeout: Span = 30.0,  # noqa: ASYNC109
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
                await self._await(health_calls.serving(service))
                return
            except (Unavailable, DeadlineExceeded, CallCancelled) as error:
                failure = Failure.of(error)
                if isinstance(error, NotServing):  # of several, another one may
                    self._open_pool().leave(self._open_pool().target, failure)
                await self._sleep(attempts.failed(failure))

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        for open_pool in (self._open_pool, self._open_settle_pool):
            if open_pool is not None and open_pool.cache_info().currsize:
                for channel in open_pool().channels:
                    await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _pool_of(self, method: Method) -> ChannelPool[aio.Channel]:
        """The connections that `method` goes by: what settles a hold may have its own."""
        if method.urgent and self._open_settle_pool is not None:
            return self._open_settle_pool()
        return self._open_pool()

    def _open(self, kind: str, method: Method) -> Way:
        """The callable of `method` on the next connection."""
        return self._pool_of(method).way(kind, method.path, method.encode, method.decode)

    def _failed(
        self,
        attempts: Attempts,
        failure: Failure,
        target: int,
        answers: int | None = None,
        pool: ChannelPool[aio.Channel] | None = None,
    ) -> float:
        """Seconds before another attempt, which may go to another target; or raises the error."""
        pool = pool or self._open_pool()
        passed_on = pool.leave(target, failure, answers=answers)
        return attempts.failed(failure, passed_on=passed_on)

    async def _await(self, call: Call[T], attempts: Attempts | None = None) -> T:
        """Send `call`, again where that is safe and paid for, and await its answer.

        `attempts`: those of this call, where the throttle was asked for it before.
        """
        attempts = attempts or self._settings.attempts(call)
        method = call.method
        pool = self._pool_of(method)
        try:
            while True:
                answers = pool.answers
                way = pool.way("unary_unary", method.path, method.encode, method.decode)
                try:
                    reply = await way.call(
                        call.request,
                        timeout=attempts.begin(),
                        metadata=self._settings.metadata,
                    )
                except grpc.RpcError as error:
                    failure = failure_of(error)
                    await self._sleep(self._failed(attempts, failure, way.target, answers, pool))
                    continue
                pool.answers += 1
                attempts.succeeded()
                return call.read(reply)
        except HoldfastError as error:
            raise call.named(error) from error.__cause__

    async def _aiterate(self, pages: Pages[T]) -> AsyncIterator[T]:
        """The items of `pages`, each page read when it is needed."""
        token = ""
        while True:
            page = await self._await(pages.page(token))
            for item in page.items:
                yield item
            token = page.next_token
            if not token:
                return
