"""Lists, watches, exchanges and feeds: the same for the blocking and the asyncio client."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

import holdfast
from holdfast import errors
from holdfast.v1 import availability_service_pb2 as availability_wire
from holdfast.v1 import inventory_service_pb2 as inventory_wire
from holdfast.v1 import reservation_service_pb2 as wire
from tests.unit.clients.conftest import Caller
from tests.unit.clients.fake_server import Answer, FakeServer, Refusal

BROKEN = Refusal(grpc.StatusCode.UNAVAILABLE)


def collected(stream: Callable[[Any], Any], count: int) -> Callable[[Any], Any]:
    """The first `count` items of ``stream(client)``, which is then closed."""

    def call(client: Any) -> Any:
        items = stream(client)
        if not hasattr(items, "__aiter__"):
            with items:
                return list(itertools.islice(items, count))

        async def collect() -> Any:
            found = []
            async with items:
                async for item in items:
                    found.append(item)
                    if len(found) == count:
                        break
            return found

        return collect()

    return call


# Lists


def test_a_list_reads_page_after_page(server: FakeServer, caller: Caller):
    def page(request: wire.ListReservationsRequest) -> wire.ListReservationsResponse:
        start = int(request.page_token or 0)
        reply = wire.ListReservationsResponse(revision=9)
        for number in range(start, min(start + 2, 5)):
            reply.reservations.add(reservation_id=f"r-{number}", owner=request.owner)
        reply.next_page_token = str(start + 2) if start + 2 < 5 else ""
        return reply

    server.script("ListReservations", page)
    found = caller.run(
        lambda client: (
            client.list(owner="cart-1")
            if caller.flavour == "aio"
            else list(client.list(owner="cart-1"))
        )
    )
    assert [each.reservation_id for each in found] == [f"r-{n}" for n in range(5)]
    assert {(each.owner, each.revision) for each in found} == {("cart-1", 9)}
    assert [request.page_token for request in server.requests("ListReservations")] == ["", "2", "4"]


# Watches


def change(revision: int) -> availability_wire.WatchAvailabilityResponse:
    message = availability_wire.WatchAvailabilityResponse(
        resume_token=f"token-{revision}", revision=revision
    )
    event = message.events.add(
        type=availability_wire.AVAILABILITY_EVENT_TYPE_CHANGED, revision=revision
    )
    event.position.sku = "SKU-1"
    event.position.available = 100 - revision
    return message


def test_a_watch_comes_back_with_its_token(server: FakeServer, caller: Caller):
    def serve(requests: Iterator[Any]) -> Iterator[Answer]:
        (request,) = requests
        start = int(request.resume_token.removeprefix("token-") or 0)
        yield change(start + 1)
        yield change(start + 2)
        yield BROKEN

    server.stream("WatchAvailability", serve)
    events = caller.run(collected(lambda client: client.watch("SKU-1", thresholds=[5]), 5))
    assert [event.revision for event in events] == [1, 2, 3, 4, 5]
    assert events[0].position.available == 99
    requests = server.requests("WatchAvailability")
    assert [request.resume_token for request in requests] == ["", "token-2", "token-4"]
    assert {(tuple(request.skus), tuple(request.thresholds)) for request in requests} == {
        (("SKU-1",), (5,))
    }


def test_a_watch_whose_place_is_lost_starts_anew(server: FakeServer, caller: Caller):
    def serve(requests: Iterator[Any]) -> Iterator[Answer]:
        (request,) = requests
        if request.resume_token:
            yield Refusal(grpc.StatusCode.ABORTED, "TOKEN_EXPIRED")
        yield change(1)
        yield BROKEN

    server.stream("WatchAvailability", serve)
    events = caller.run(collected(lambda client: client.watch(nodes=["WH-1"]), 2))
    assert [event.revision for event in events] == [1, 1]
    tokens = [request.resume_token for request in server.requests("WatchAvailability")]
    assert tokens == ["", "token-1", ""]


def test_a_watch_the_server_refuses_raises_why(server: FakeServer, caller: Caller):
    server.stream(
        "WatchAvailability",
        lambda requests: iter([Refusal(grpc.StatusCode.NOT_FOUND, "SKU_NOT_FOUND")]),
    )
    with pytest.raises(errors.SkuNotFound):
        caller.run(collected(lambda client: client.watch("SKU-1"), 1))


def test_a_watch_gives_up_when_the_server_stays_away(server: FakeServer, caller: Caller):
    server.stream("WatchAvailability", lambda requests: iter([BROKEN]))
    with pytest.raises(errors.Unavailable) as caught:
        caller.run(collected(lambda client: client.watch("SKU-1"), 1))
    assert caught.value.gave_up == "no time left"
    assert sum(caller.time.waits_s) <= 60.0


# Exchanges


def exchange_answers(
    requests: Iterator[Any], refuse: Callable[[Any], Refusal | None] = lambda request: None
) -> Iterator[Answer]:
    """Two by two, the later one first."""
    for pair in iter(lambda: list(itertools.islice(requests, 2)), []):
        for request in reversed(pair):
            reply = wire.ExchangeReservationsResponse(
                correlation_id=request.correlation_id, revision=request.correlation_id
            )
            refusal = refuse(request)
            if refusal:
                reply.status.CopyFrom(refusal.status())
            else:
                reply.create_reservation.reservation.owner = request.create_reservation.owner
            yield reply


def exchanged(caller: Caller, owners: list[str]) -> list[Any]:
    """The results of one reserve for each owner, under way together; errors as values."""

    def call(client: Any) -> Any:
        if caller.flavour == "sync":
            with client.exchange() as exchange:
                futures = [exchange.reserve([("S", "W", 1)], owner=owner) for owner in owners]
            return [future.exception() or future.result() for future in futures]

        async def gather() -> Any:
            async with client.exchange() as exchange:
                calls = [exchange.reserve([("S", "W", 1)], owner=owner) for owner in owners]
                return await asyncio.gather(*calls, return_exceptions=True)

        return gather()

    return caller.run(call)


def test_results_that_come_out_of_order_reach_their_callers(server: FakeServer, caller: Caller):
    server.stream("ExchangeReservations", exchange_answers)
    owners = [f"cart-{n}" for n in range(6)]
    assert [each.owner for each in exchanged(caller, owners)] == owners


def test_a_refused_command_leaves_the_others_alone(server: FakeServer, caller: Caller):
    def refuse(request: Any) -> Refusal | None:
        if request.create_reservation.owner != "cart-1":
            return None
        return Refusal(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_STOCK", "1 is short")

    server.stream("ExchangeReservations", lambda requests: exchange_answers(requests, refuse))
    first, second = exchanged(caller, ["cart-0", "cart-1"])
    assert first.owner == "cart-0"
    assert isinstance(second, errors.InsufficientStock)
    assert second.method == "CreateReservation"
    assert second.request_id


def test_an_overloaded_command_is_sent_again_under_its_request_id(
    server: FakeServer, caller: Caller
):
    seen: set[str] = set()

    def serve(requests: Iterator[Any]) -> Iterator[Answer]:
        for request in requests:
            reply = wire.ExchangeReservationsResponse(correlation_id=request.correlation_id)
            command = request.create_reservation
            if command.request_id in seen:
                reply.create_reservation.reservation.owner = command.owner
            else:
                seen.add(command.request_id)
                overloaded = Refusal(grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
                reply.status.CopyFrom(overloaded.status())
            yield reply

    server.stream("ExchangeReservations", serve)
    owners = ["cart-0", "cart-1", "cart-2"]
    assert [each.owner for each in exchanged(caller, owners)] == owners
    assert len(seen) == 3
    assert len(server.requests("ExchangeReservations")) == 6


def test_a_break_sends_again_what_had_no_result(server: FakeServer, caller: Caller):
    streams = itertools.count()

    def serve(requests: Iterator[Any]) -> Iterator[Answer]:
        if next(streams) == 0:
            next(requests)
            next(requests)
            yield BROKEN
        yield from exchange_answers(requests)

    server.stream("ExchangeReservations", serve)
    owners = ["cart-0", "cart-1"]
    assert [each.owner for each in exchanged(caller, owners)] == owners
    ids = [r.create_reservation.request_id for r in server.requests("ExchangeReservations")]
    assert ids[:2] == ids[2:]


def test_an_exchange_without_server_fails_every_call(caller: Caller, unused_tcp_port: int):
    caller.target = f"127.0.0.1:{unused_tcp_port}"
    caller.timeout_s = 100.0
    results = exchanged(caller, ["cart-0", "cart-1"])
    assert [type(each) for each in results] == [errors.Unavailable] * 2


def test_a_result_of_another_kind_is_a_fault_of_the_server(server: FakeServer, caller: Caller):
    def serve(requests: Iterator[Any]) -> Iterator[Answer]:
        for request in requests:
            reply = wire.ExchangeReservationsResponse(correlation_id=request.correlation_id)
            reply.confirm_reservation.revision = 1
            yield reply

    server.stream("ExchangeReservations", serve)
    (result,) = exchanged(caller, ["cart-0"])
    assert isinstance(result, errors.ServerFault)


# Feeds


class Ledger:
    """The server's side of feeds: applies each chunk once, and breaks off when told to."""

    def __init__(self, break_after: int = 0) -> None:
        self.rows: list[tuple[str, str, int]] = []
        self.last = 0
        self.breaks = [break_after] if break_after else []

    def serve(self, requests: Iterator[Any]) -> Iterator[Answer]:
        for answered, request in enumerate(requests, 1):
            replayed = 0 < request.sequence <= self.last
            if request.sequence == self.last + 1:
                self.last += 1
                self.rows += zip(request.skus, request.nodes, request.quantities, strict=True)
            if self.breaks and answered > self.breaks[0]:
                self.breaks.pop()
                yield BROKEN  # applied, but nobody is told
            yield inventory_wire.IngestInventoryResponse(
                feed_id=request.feed_id,
                sequence=request.sequence,
                applied_rows=len(request.skus),
                replayed=replayed,
                last_sequence=self.last,
            )


def chunks(count: int) -> Iterator[holdfast.FeedChunk]:
    for number in range(count):
        yield holdfast.FeedChunk([f"S-{number}"] * 2, ["W-1", "W-2"], [number, number])


def ingested(caller: Caller, count: int) -> list[holdfast.ChunkResult]:
    def call(client: Any) -> Any:
        results = client.ingest("stock.csv", chunks(count), window=2)
        return results if caller.flavour == "aio" else list(results)

    return caller.run(call)


def test_a_feed_arrives_whole_and_in_order(server: FakeServer, caller: Caller):
    ledger = Ledger()
    server.stream("IngestInventory", ledger.serve)
    results = ingested(caller, 5)
    assert [result.sequence for result in results] == [1, 2, 3, 4, 5]
    assert ledger.rows == [(f"S-{n}", node, n) for n in range(5) for node in ("W-1", "W-2")]
    assert {request.feed_id for request in server.requests("IngestInventory")} == {"stock.csv"}


def test_a_feed_that_breaks_is_applied_once(server: FakeServer, caller: Caller):
    ledger = Ledger(break_after=3)
    server.stream("IngestInventory", ledger.serve)
    results = ingested(caller, 6)
    assert [result.sequence for result in results] == [1, 2, 3, 4, 5, 6]
    assert any(result.replayed for result in results)
    assert len(ledger.rows) == 12


def test_a_feed_goes_on_where_an_earlier_run_stopped(server: FakeServer, caller: Caller):
    ledger = Ledger()
    server.stream("IngestInventory", ledger.serve)
    ingested(caller, 3)
    results = ingested(caller, 5)
    assert [result.sequence for result in results] == [4, 5]
    assert len(ledger.rows) == 10
    assert ingested(caller, 5) == []


def test_a_feed_the_server_refuses_raises_why(server: FakeServer, caller: Caller):
    server.stream(
        "IngestInventory",
        lambda requests: iter([Refusal(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")]),
    )
    with pytest.raises(errors.RequestIdReused):
        ingested(caller, 1)
