"""Admission at the wire: which class each method is, and the door in front of its handler.

What comes this far has already cost gRPC and Python about as much as an answer. The first line of
defence therefore lies in gRPC's core (`connection_limits`), which does not know one call from
another; here urgent work is told from less urgent work, and one caller from another.

In this order: the caller's rate, its deadline, the limit, its holds. Each refusal has a reason and
a time to come back.

Commands on a stream wait for room where calls are refused: the stream is not read on meanwhile, so
gRPC's flow control tells its caller, and one stream may have more under way than the limit allows.

Invariants
1. What was let in is let out, whatever the handler does.
2. When something is let out and commands wait, the most urgent of them is woken.

Callers: `calls` for calls of their own, `services.exchange` for commands on a stream.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from server.admission.brownout import Brownout
from server.admission.classes import CLASS_NAMES, WorkClass
from server.admission.limiter import Limiter
from server.admission.quotas import Quotas
from server.admission.rate import TokenBucket
from server.admission.scopes import EVERYTHING, Scopes
from server.application.gateway import Gateway, NotDone
from server.caller import Caller
from server.transport.errors import Case, Fault, Refused, refusal
from server.transport.framing import read_frame
from server.transport.hold_quotas import HoldQuotas, read_or_none
from server.transport.turns import Turns

Q = TypeVar("Q")
T = TypeVar("T")

CLASS_OF: Final = {
    "ConfirmReservation": WorkClass.SETTLE,
    "CancelReservation": WorkClass.SETTLE,
    "ExtendReservation": WorkClass.EXTEND,
    "FulfillReservation": WorkClass.EXTEND,
    "ReturnReservation": WorkClass.EXTEND,
    "CreateReservation": WorkClass.RESERVE,
    "BatchCreateReservations": WorkClass.RESERVE,
    "BulkCreateReservations": WorkClass.RESERVE,
    "ReviseReservation": WorkClass.RESERVE,
    "ReassignReservation": WorkClass.RESERVE,
    "PlanFulfillment": WorkClass.ROUTE,
    "PromiseOrder": WorkClass.ROUTE,
    "ReplanOrder": WorkClass.ROUTE,
    "ExplainPlan": WorkClass.ROUTE,
    "GetReservation": WorkClass.READ,
    "ListReservations": WorkClass.READ,
    "QueryAvailability": WorkClass.READ,
    "GetInventoryPosition": WorkClass.READ,
    "ListInventoryPositions": WorkClass.READ,
    "ListInventoryMovements": WorkClass.READ,
    "JoinQueue": WorkClass.READ,
    "GetPlace": WorkClass.READ,
    "BatchGetPlaces": WorkClass.READ,
    "LeaveQueue": WorkClass.READ,
}
"""Classes by method. Other unary methods of the ledger are REPORT."""
UNLIMITED_SERVICES: Final = frozenset({"holdfast.v1.AdminService", "grpc.health.v1.Health"})
"""The operator's: they are how an overload is looked into and ended."""

# Whose time tells how the ledger fares: those that go through it as one command. Messages of
# thousands of requests take long for another reason.
_TELLING: Final = frozenset(
    name
    for name, work in CLASS_OF.items()
    if work <= WorkClass.RESERVE and not name.startswith(("Bulk", "Batch"))
)
_LEDGER_CLASSES: Final = (WorkClass.SETTLE, WorkClass.EXTEND, WorkClass.RESERVE)
_BUCKETS_MAX: Final = 20_000
# A command on a stream waits so long for room before it is refused.
_PATIENCE_S: Final = 1.0


def _spread(milliseconds: float) -> int:
    """Half to one and a half times as long, so that those told to wait do not return together."""
    return max(1, int(milliseconds * random.uniform(0.5, 1.5)))


class Admission:
    """What all doors of the process share."""

    def __init__(
        self,
        gateway: Gateway,
        limiter: Limiter,
        quotas: Quotas,
        brownout: Brownout,
        *,
        scopes: Scopes = EVERYTHING,
        sold_out_early: Callable[[], bool] | None = None,
        turns: Turns | None = None,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gateway = gateway
        self.limiter = limiter
        self.brownout = brownout
        self.scopes = scopes
        """What each caller may do."""
        self.sold_out_early = sold_out_early
        """Whether sold-out answers are given before the ledger is asked now; None: never."""
        self.turns = turns or Turns(gateway, (), b"")
        self.holds = HoldQuotas(gateway, quotas, self.count_quota)
        self._quotas = quotas
        self.has_quotas = not quotas.are_none
        """Whether some caller's rate has to be checked at all."""
        self._elapsed_s = elapsed_s
        self._buckets: dict[bytes, TokenBucket] = {}
        self._shed = {work: dict[str, int]() for work in WorkClass}
        self._waiting: list[deque[asyncio.Future[None]]] = [deque() for _ in WorkClass]
        self._waiting_count = 0
        self._quota_refusals: dict[str, int] = {}

    def door(self, service: str, method: str) -> Door | None:
        """The door in front of a unary method, or of a command that stands for it."""
        if service in UNLIMITED_SERVICES:
            return None
        return Door(self, method, CLASS_OF.get(method, WorkClass.REPORT))

    def check_rate(self, caller: Caller, requests: Callable[[], int]) -> None:
        """Take as many from the caller's rate as it asks for. Raises Refused."""
        quota = self._quotas.of(caller.text)
        if not quota.requests_per_second:
            return
        now_s = self._elapsed_s()
        bucket = self._buckets.get(caller.text)
        if bucket is None:
            if len(self._buckets) >= _BUCKETS_MAX:
                self._buckets.pop(next(iter(self._buckets)))
            burst = quota.requests_burst or quota.requests_per_second
            bucket = TokenBucket(quota.requests_per_second, burst, now_s)
            self._buckets[caller.text] = bucket
        wait_s = bucket.take(requests(), now_s)
        if wait_s > 0:
            self.count_quota("requests_per_second")
            raise Refused(
                refusal(
                    Fault.QUOTA_EXCEEDED,
                    Case(
                        subject=f"caller/{caller.text.decode(errors='replace')}",
                        message=f"more than {quota.requests_per_second} requests a second",
                        metadata={
                            "limit": "requests_per_second",
                            "maximum": str(quota.requests_per_second),
                        },
                        retry_ms=_spread(wait_s * 1e3),
                    ),
                )
            )

    async def until_room(self, work: WorkClass, seconds: float) -> None:
        """Wait until something is let out, in turn with others of the class, or so long."""
        turn = asyncio.get_running_loop().create_future()
        waiting = self._waiting[work]
        waiting.append(turn)
        self._waiting_count += 1
        try:
            async with asyncio.timeout(seconds):
                await turn
        except TimeoutError:
            pass
        finally:
            self._waiting_count -= 1
            if turn in waiting:
                waiting.remove(turn)

    def wake(self) -> None:
        """Something was let out."""
        if not self._waiting_count:
            return
        for waiting in self._waiting:
            while waiting:
                turn = waiting.popleft()
                if not turn.done():  # its caller has not gone
                    turn.set_result(None)
                    return

    def count_quota(self, name: str) -> None:
        """A call was refused for this quota."""
        self._quota_refusals[name] = self._quota_refusals.get(name, 0) + 1

    def count_shed(self, work: WorkClass, limit: str) -> None:
        """A call was not let in."""
        counts = self._shed[work]
        counts[limit] = counts.get(limit, 0) + 1

    def families(self) -> Iterator[Metric]:
        """What Prometheus is told of all this."""
        limiter = self.limiter
        for name, text, value in (
            ("holdfast_admission_limit", "Calls that may be under way.", limiter.limit),
            (
                "holdfast_admission_tolerated_seconds",
                "How long an answer of the ledger may take before the limit falls.",
                limiter.tolerated_ms / 1e3,
            ),
            ("holdfast_callers", "Callers of the last seconds, by identity.", limiter.callers),
            (
                "holdfast_loop_busy_ratio",
                "Part of the latest tenths of a second that the event loop was busy.",
                limiter.busy_share,
            ),
            (
                "holdfast_brownout",
                "1 while cheaper answers are given.",
                int(self.brownout.is_active),
            ),
        ):
            yield GaugeMetricFamily(name, text, float(value))
        in_flight = GaugeMetricFamily(
            "holdfast_admission_in_flight", "Calls let in and not answered yet.", labels=["class"]
        )
        admitted = CounterMetricFamily("holdfast_admitted", "Calls let in.", labels=["class"])
        shed = CounterMetricFamily(
            "holdfast_shed",
            "Calls not let in, by what stood against it.",
            labels=["class", "limit"],
        )
        for work in WorkClass:
            in_flight.add_metric([CLASS_NAMES[work]], limiter.class_in_flight[work])
            admitted.add_metric([CLASS_NAMES[work]], limiter.admitted[work])
            for limit, count in sorted(self._shed[work].items()):
                shed.add_metric([CLASS_NAMES[work], limit], count)
        yield from (in_flight, admitted, shed)
        quota = CounterMetricFamily(
            "holdfast_quota_refusals", "Calls beyond a quota of their caller.", labels=["quota"]
        )
        for name, count in sorted(self._quota_refusals.items()):
            quota.add_metric([name], count)
        yield quota
        yield CounterMetricFamily(
            "holdfast_degraded_answers",
            "Answers given in their cheaper form.",
            self.brownout.degraded_answers,
        )
        yield from self.turns.families()


class Door:
    """In front of one method."""

    __slots__ = (
        *("_admission", "_count", "_counts_holds", "_gate", "_is_ledger", "_is_telling"),
        "work",
    )

    def __init__(self, admission: Admission, method: str, work: WorkClass) -> None:
        self._admission = admission
        self.work = work
        self._count = _requests_in if method == "BulkCreateReservations" else _one
        self._is_telling = method in _TELLING
        self._is_ledger = work in _LEDGER_CLASSES
        self._counts_holds = admission.holds.reader_of(method)
        self._gate = admission.turns.gate(method)

    def serve(
        self, handler: Callable[[bytes, Any], Awaitable[bytes]], raw: bytes, call: Any
    ) -> Awaitable[bytes]:
        """The handler's reply, if it is let in. Raises Refused, and what the handler raises."""
        if self._gate is not None:
            handler = self._gate.around(handler, raw)
        holds = self._counts_holds
        if holds is None or not self._admission.holds.has_quota(call.caller):
            return self._through(handler, raw, call, self._count)
        request = read_or_none(holds.request, raw)
        if request is None:
            return self._through(handler, raw, call, _one)
        return self._through(
            lambda raw, call: self._admission.holds.serve(
                holds, request, call, lambda: handler(raw, call), holds.reply.FromString
            ),
            raw,
            call,
            lambda _: holds.count(request),
        )

    async def serve_message(
        self, handler: Callable[[Any, Any], Awaitable[Message]], request: Message, call: Any
    ) -> Message:
        """The same for a command that has been read already."""
        if self._gate is not None:
            handler = self._gate.around_message(handler)
        holds = self._counts_holds
        if holds is None or not self._admission.holds.has_quota(call.caller):
            return await self._through(handler, request, call, _one, patience_s=_PATIENCE_S)
        return await self._through(
            lambda request, call: self._admission.holds.serve(
                holds, request, call, lambda: handler(request, call), lambda reply: reply
            ),
            request,
            call,
            holds.count,
            patience_s=_PATIENCE_S,
        )

    async def _through(
        self,
        handler: Callable[[Q, Any], Awaitable[T]],
        request: Q,
        call: Any,
        count: Callable[[Q], int],
        *,
        patience_s: float = 0.0,
    ) -> T:
        """What `handler` answers. `count`: how many requests this one stands for; `patience_s`:
        how long it may wait to be let in."""
        admission, limiter = self._admission, self._admission.limiter
        caller: Caller = call.caller
        if admission.has_quotas:
            admission.check_rate(caller, lambda: count(request))
        if self._is_ledger:
            self._check_deadline(call)
        until_s = 0.0
        while (shed := limiter.enter(self.work, caller.text)) is not None:
            until_s = until_s or time.perf_counter() + patience_s
            if (left_s := until_s - time.perf_counter()) > 0:
                await admission.until_room(self.work, left_s)
                continue
            admission.count_shed(self.work, shed.limit)
            raise NotDone.overloaded(shed.limit, _spread(shed.retry_ms))
        began_s = time.perf_counter()
        took_s: float | None = None
        try:
            reply = await handler(request, call)
            if self._is_telling:
                took_s = time.perf_counter() - began_s
            return reply
        except Refused:
            if self._is_telling:
                took_s = time.perf_counter() - began_s
            raise
        finally:
            limiter.leave(self.work, caller.text, took_s)
            admission.wake()

    def _check_deadline(self, call: Any) -> None:
        """Drop what could not be answered in time even if all went well. Raises Refused."""
        remaining_s = call.remaining_s()
        if remaining_s is None or remaining_s > self._admission.limiter.shortest_s:
            return
        self._admission.count_shed(self.work, "deadline")
        raise Refused(refusal(Fault.DEADLINE_NOT_MET))


def _one(_: object) -> int:
    return 1


def _requests_in(raw: bytes) -> int:
    """How many requests a bulk message has, for its caller's rate; at least 1."""
    count = at = 0
    while (frame := read_frame(raw, at)) is not None:
        count, at = count + 1, frame[1]
    return max(1, count)
