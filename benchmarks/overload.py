"""More calls than the server can answer, sent by schedule: what still gets through, and how fast.

Work is priced so that one caller process can offer ten times the capacity: a reservation here is
forty of them in one atomic batch, some milliseconds of the server. Beside them holds that are live
are confirmed, always at a tenth of the peak: who confirms has got a hold before. Calls leave when
they are due, whatever becomes of those before; an answer counts when it comes within `DEADLINE_S`
of the moment its call was due. Callers are either *foreign*, which send each call once, or *ours*:
the library with its throttle, budgets and pushback.

The server is measured with its limits, with them and a listener for confirmations alone
(`settle_listen`), and without them (``--pending-calls-max 0`` and so on). Each is asked for its
peak first, by closed loops.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc

from benchmarks.measure import Say, pin, two_cores
from benchmarks.server_process import ServerProcess
from holdfast import aio
from holdfast.calls import reservations
from holdfast.calls.call import Call, Method
from holdfast.demo.redis_server import free_port
from holdfast.errors import HoldfastError, Throttled
from holdfast.throttle import Throttle
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2, types_pb2
from holdfast.v1 import reservation_service_pb2 as wire

DEADLINE_S = 0.5
FACTORS = (1, 2, 5, 10)
SECONDS = 6.0
_CLOSED_S = 3.0
_CLOSED_IN_FLIGHT = 16
_BATCH = 40
_CONFIRM_SHARE = 0.1
_CHANNELS = 8
_TTL_S = 4
_UNITS = 1_000_000_000
_HOLDS_PER_BULK = 4_000
# What may wait is counted in calls, and these take some twelve times as long as a plain
# reservation: the default divided by twelve is the same time.
_LIMITED = ("--pending-calls-max", "16")
_OPEN = (
    *("--pending-calls-max", "0", "--admission-calls-max", "1000000"),
    *("--admission-calls-min", "100000", "--brownout", "off"),
)
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
_SERVICE = "/holdfast.v1.ReservationService/"


@dataclass(slots=True)
class Tally:
    """What became of the calls of one kind."""

    sent: int = 0
    in_time: int = 0
    latencies_s: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    def p99_ms(self) -> float:
        """Of those answered with success."""
        ordered = sorted(self.latencies_s)
        return ordered[int(len(ordered) * 0.99)] * 1e3 if ordered else 0.0


Send = Callable[[str, bytes], Awaitable[str]]
"""Sends one call of a kind; how it ended, "OK" when it did what was asked."""


class Foreign:
    """Every call once, with a deadline."""

    def __init__(self, target: str, settle_target: str) -> None:
        self._channels = [grpc.aio.insecure_channel(target, _OPTIONS) for _ in range(_CHANNELS)]
        settling = grpc.aio.insecure_channel(settle_target, _OPTIONS)
        self._ways = {
            name: itertools.cycle([c.unary_unary(_SERVICE + name) for c in self._channels])
            for name in ("BatchCreateReservations", "BulkCreateReservations")
        }
        name = "ConfirmReservation"
        self._ways[name] = itertools.cycle([settling.unary_unary(_SERVICE + name)])
        self._channels.append(settling)

    async def __call__(self, kind: str, message: bytes) -> str:
        try:
            await next(self._ways[kind])(message, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    async def bulk(self, message: bytes) -> bytes:
        """The reply of a bulk message."""
        reply: bytes = await next(self._ways["BulkCreateReservations"])(message, timeout=60)
        return reply

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()


class Ours:
    """The library: throttle, budgeted retries, pushback, one request_id."""

    def __init__(self, target: str, settle_target: str) -> None:
        self._client = aio.Client(
            target,
            settle_target=settle_target,
            timeout=DEADLINE_S,
            channels=_CHANNELS,
            throttle=Throttle(k=1.3),
        )

    async def __call__(self, kind: str, message: bytes) -> str:
        try:
            await self._client._await(_CALLS[kind](message))
        except Throttled:
            return "THROTTLED"
        except HoldfastError as error:
            return error.code.name if error.code else type(error).__name__
        return "OK"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _ready(method: Method) -> Callable[[bytes], Call[object]]:
    """A call whose bytes are there already: making them costs callers more than the call."""
    bare = _Bare(method.service, method.name, method.reply, urgent=method.urgent)
    return lambda message: Call(bare, message, lambda reply: reply, request_id="in its bytes")  # type: ignore[arg-type]


class _Bare(Method):
    """A method whose requests are bytes."""

    def encode(self, request: object) -> bytes:
        """As they are."""
        assert isinstance(request, bytes)
        return request


_CALLS = {
    "BatchCreateReservations": _ready(reservations.BATCH_CREATE),
    "ConfirmReservation": _ready(reservations.CONFIRM),
}


class Messages:
    """Requests, each with a request_id of its own."""

    def __init__(self, holds: list[str]) -> None:
        self._holds = iter(holds)

    def confirm(self) -> bytes:
        """One that confirms a hold."""
        hold = next(self._holds)
        request = wire.ConfirmReservationRequest(reservation_id=hold, request_id=f"c-{hold}")
        return request.SerializeToString()

    def reserve(self) -> bytes:
        """One that makes forty."""
        batch = wire.BatchCreateReservationsRequest(request_id=f"b-{uuid.uuid4()}")
        for line in range(_BATCH):
            request = batch.requests.add()
            request.ttl.seconds = _TTL_S
            request.lines.add(sku=f"sku-{line % 10}", node="node", quantity=1)
        return batch.SerializeToString()


async def _fill(target: str) -> None:
    async with grpc.aio.insecure_channel(target, _OPTIONS) as channel:

        async def tell(service: str, method: str, message: object) -> None:
            await channel.unary_unary(f"/holdfast.v1.{service}/{method}")(
                message.SerializeToString()  # type: ignore[attr-defined]
            )

        node = network_service_pb2.UpsertNodeRequest(node=network_service_pb2.Node(node="node"))
        await tell("NetworkService", "UpsertNode", node)
        for number in range(10):
            sku = f"sku-{number}"
            item = network_service_pb2.UpsertItemRequest(item=network_service_pb2.Item(sku=sku))
            await tell("NetworkService", "UpsertItem", item)
            count = inventory.InventoryCount(sku=sku, node="node", on_hand=_UNITS)
            await tell(
                "InventoryService",
                "CountInventory",
                inventory.CountInventoryRequest(counts=[count]),
            )


async def _hold(caller: Foreign, count: int) -> list[str]:
    """That many live holds, to be confirmed."""
    made: list[str] = []
    while len(made) < count:
        bulk = wire.BulkCreateReservationsRequest()
        for number in range(min(_HOLDS_PER_BULK, count - len(made))):
            request = bulk.requests.add(request_id=f"h-{time.monotonic_ns()}-{number}")
            request.ttl.seconds = 900
            request.lines.add(sku="sku-0", node="node", quantity=1)
        reply = wire.BulkCreateReservationsResponse.FromString(
            await caller.bulk(bulk.SerializeToString())
        )
        made += [
            r.reservation_id for r in reply.results if r.state == types_pb2.Reservation.STATE_HELD
        ]
    return made


async def _closed(send: Send, messages: Messages) -> float:
    """Answers a second that callers get who wait for each."""
    answered = 0
    until = time.perf_counter() + _CLOSED_S

    async def one() -> None:
        nonlocal answered
        for number in itertools.count():
            if time.perf_counter() > until:
                return
            if number % int(1 / _CONFIRM_SHARE):
                end = await send("BatchCreateReservations", messages.reserve())
            else:
                end = await send("ConfirmReservation", messages.confirm())
            answered += end == "OK"

    await asyncio.gather(*(one() for _ in range(_CLOSED_IN_FLIGHT)))
    return answered / _CLOSED_S


async def _offer(send: Send, messages: Messages, *, peak: float, factor: int) -> dict[str, Tally]:
    """`factor` times the peak for `SECONDS`, by schedule: (kind, what became of its calls)."""
    confirms = int(peak * _CONFIRM_SHARE * SECONDS)
    reserves = int(peak * factor * SECONDS) - confirms
    schedule = sorted(
        [
            *((SECONDS * n / confirms, "ConfirmReservation") for n in range(confirms)),
            *((SECONDS * n / reserves, "BatchCreateReservations") for n in range(reserves)),
        ]
    )
    ready = [
        messages.confirm() if kind == "ConfirmReservation" else messages.reserve()
        for _, kind in schedule
    ]
    tallies = {"ConfirmReservation": Tally(), "BatchCreateReservations": Tally()}

    async def one(kind: str, message: bytes, due: float) -> None:
        tally = tallies[kind]
        tally.sent += 1
        end = await send(kind, message)
        took_s = time.perf_counter() - due
        tally.ends[end] += 1
        if end == "OK":
            tally.latencies_s.append(took_s)
            tally.in_time += took_s <= DEADLINE_S

    started = time.perf_counter()
    tasks = set()
    for number, ((at_s, kind), message) in enumerate(zip(schedule, ready, strict=True)):
        due = started + at_s
        if (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        elif number % 16 == 0:
            await asyncio.sleep(0)
        task = asyncio.ensure_future(one(kind, message, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return tallies


def run(say: Say) -> dict[str, float]:
    """Measure."""
    server_core, caller_core = two_cores()
    measured: dict[str, float] = {}
    settle = f"127.0.0.1:{free_port()}"
    for name, flags in (
        ("limits", _LIMITED),
        ("settle", (*_LIMITED, "--settle-listen", settle)),
        ("no limits", _OPEN),
    ):
        with ServerProcess(core=server_core, flags=flags) as server:
            pin(caller_core)
            settle_target = settle if name == "settle" else server.target
            measured |= asyncio.run(_measure(server.target, settle_target, name, say))
    return measured


async def _measure(target: str, settle_target: str, name: str, say: Say) -> dict[str, float]:
    await _fill(target)
    measured: dict[str, float] = {}
    foreign = Foreign(target, settle_target)
    peak = await _closed(foreign, Messages(await _hold(foreign, 2_000)))
    say(f"{name}: peak {peak:,.0f} calls/s")
    ours = Ours(target, settle_target)
    for who, caller in (("foreign", foreign), ("ours", ours)):
        for factor in FACTORS:
            needed = int(peak * _CONFIRM_SHARE * SECONDS) + 1
            messages = Messages(await _hold(foreign, needed))
            tallies = await _offer(caller, messages, peak=peak, factor=factor)
            reserves, confirms = tallies["BatchCreateReservations"], tallies["ConfirmReservation"]
            goodput = (reserves.in_time + confirms.in_time) / SECONDS / peak
            key = f"overload_{name.replace(' ', '_')}_{who}"
            measured[f"{key}_goodput_{factor}x"] = goodput
            measured[f"{key}_confirms_{factor}x"] = confirms.in_time / confirms.sent
            say(
                f"{name}, {who} callers, {factor}x: goodput {goodput:.0%} of the peak, "
                f"p99 {reserves.p99_ms():.0f} ms, confirms {confirms.in_time / confirms.sent:.1%} "
                f"(p99 {confirms.p99_ms():.0f} ms); ends {dict(reserves.ends)}, "
                f"of confirms {dict(confirms.ends)}"
            )
            await asyncio.sleep(2.0)
    await ours.close()
    await foreign.close()
    return measured
