"""Waiting queues over the wire: in order, one reservation a place, and over a restart."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import Result
from typer.testing import CliRunner

import holdfast
from holdfast import aio, errors
from holdfast.cli import exits
from holdfast.cli.app import app
from holdfast.v1 import queue_service_pb2 as queues
from holdfast.v1 import queue_service_pb2_grpc, routing_service_pb2
from holdfast.v1 import reservation_service_pb2 as messages
from tests.wire.client_server import RunningServer
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire

WAITING = queues.QUEUE_PLACE_STATE_WAITING
CALLED = queues.QUEUE_PLACE_STATE_CALLED
USED = queues.QUEUE_PLACE_STATE_USED
PASSED = queues.QUEUE_PLACE_STATE_PASSED

FILE = """
[default]
turns_max = 2
turn_ms = 10000
abandoned_ms = 6000
places_max = 100

[queues.pears]
skus = ["pear"]

[queues.figs]
skus = ["fig"]
by_stock = false
"""


@pytest.fixture
async def sale(tmp_path: Path) -> AsyncIterator[Wire]:
    """Ten pears that are sold by turns, and ten plums that are not."""
    file = tmp_path / "queues.toml"
    file.write_text(FILE)
    wire = Wire(tmp_path / "data", queues=file)
    await wire.start()
    await wire.nodes("berlin")
    await wire.items("pear", "plum", "fig")
    await wire.stock("pear", "berlin", 10)
    await wire.stock("plum", "berlin", 10)
    yield wire
    await wire.stop()


def stub(wire: Wire) -> Any:
    return queue_service_pb2_grpc.QueueServiceStub(wire.channel)


async def join(wire: Wire, owner: str, queue: str = "pears") -> queues.QueuePlace:
    reply = await stub(wire).JoinQueue(queues.JoinQueueRequest(queue=queue, owner=owner))
    assert reply.place.owner == owner
    return reply.place


async def ask(wire: Wire, *places: queues.QueuePlace) -> list[queues.QueuePlace]:
    tokens = [place.place_token for place in places]
    reply = await stub(wire).BatchGetPlaces(queues.BatchGetPlacesRequest(place_tokens=tokens))
    return list(reply.places)


def pear(
    place: queues.QueuePlace | None = None, **fields: Any
) -> messages.CreateReservationRequest:
    if place is not None:
        fields = {"owner": place.owner, "place_token": place.place_token, **fields}
    request = create(("pear", "berlin", fields.pop("units", 1)), **fields)
    request.ttl.seconds = 3_600
    return request


async def test_places_are_called_in_order_and_hold_in_their_turn(sale: Wire):
    first, second, third = [await join(sale, owner) for owner in ("a", "b", "c")]
    assert [first.state, second.state, third.state] == [CALLED, CALLED, WAITING]
    assert third.places_ahead == 0
    assert third.poll_after.ToMilliseconds() == 1_000  # two were called already
    assert third.abandoned_after.ToMilliseconds() == 6_000
    error = await refused(sale.reservations.CreateReservation(pear(third)))
    assert (error.code, error.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "TURN_REQUIRED",
    )
    assert error.metadata["places_ahead"] == "0"
    made = await sale.reservations.CreateReservation(pear(second, request_id="r"))
    assert made.reservation.reservation_id == second.reservation_id
    assert made.reservation.owner == "b"
    again = await sale.reservations.CreateReservation(pear(second, request_id="r"))
    assert again == made
    shown = await ask(sale, first, second, third)
    assert [place.state for place in shown] == [CALLED, USED, CALLED]
    await sale.reservations.CreateReservation(pear(shown[2]))
    assert (await sale.position("pear", "berlin")).held == 2
    await sale.verify()


async def test_one_place_makes_one_reservation(sale: Wire):
    place = await join(sale, "a")
    answers = await asyncio.gather(
        *(
            sale.reservations.CreateReservation(
                pear(place, request_id=f"r-{number}", units=1 + number % 2)
            )
            for number in range(8)
        ),
        return_exceptions=True,
    )
    # At the same instant the same request is answered with the one reservation that there is.
    made = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert {answer.reservation.reservation_id for answer in made} == {place.reservation_id}
    (units,) = {answer.reservation.lines[0].quantity for answer in made}
    assert (await sale.position("pear", "berlin")).held == units
    error = await refused(sale.reservations.CreateReservation(pear(place, request_id="late")))
    assert (error.reason, error.metadata["state"]) == ("PLACE_ENDED", "USED")
    cancel = messages.CancelReservationRequest(reservation_id=place.reservation_id)
    await sale.reservations.CancelReservation(cancel)
    error = await refused(sale.reservations.CreateReservation(pear(place, request_id="later")))
    assert error.reason == "PLACE_ENDED"
    assert (await join(sale, "a")).place_token != place.place_token


async def test_there_is_no_other_way_to_what_has_a_queue(sale: Wire):
    """Without a place, with another's, with a made-up one, by other methods, on a stream."""
    mine, _ = await join(sale, "a"), await join(sale, "b")
    waits = await join(sale, "c")
    reservations = sale.reservations
    error = await refused(reservations.CreateReservation(pear(owner="z")))
    assert (error.reason, error.metadata["queue"]) == ("TURN_REQUIRED", "pears")
    error = await refused(reservations.CreateReservation(pear(mine, owner="z")))
    assert "owner" in error.fields
    error = await refused(reservations.CreateReservation(pear(mine, reservation_id="own")))
    assert "reservation_id" in error.fields
    forged = mine.place_token[:-2] + ("AA" if mine.place_token[-2:] != "AA" else "BB")
    error = await refused(reservations.CreateReservation(pear(mine, place_token=forged)))
    assert "place_token" in error.fields
    fig = await join(sale, "a", "figs")
    error = await refused(reservations.CreateReservation(pear(fig)))
    assert "place_token" in error.fields
    both = pear(mine)
    both.lines.add(sku="fig", node="berlin", quantity=1)
    assert (await refused(reservations.CreateReservation(both))).reason == "TURN_REQUIRED"

    bulk = messages.BulkCreateReservationsRequest(requests=[pear(waits)])
    assert (await refused(reservations.BulkCreateReservations(bulk))).reason == "TURN_REQUIRED"
    batch = messages.BatchCreateReservationsRequest(requests=[pear(waits)])
    assert (await refused(reservations.BatchCreateReservations(batch))).reason == "TURN_REQUIRED"
    order = routing_service_pb2.RoutingOrder()
    order.lines.add(sku="pear", quantity=1)
    promise = routing_service_pb2.PromiseOrderRequest(order=order)
    assert (await refused(sale.routing.PromiseOrder(promise))).reason == "TURN_REQUIRED"
    plum = await sale.hold(("plum", "berlin", 1))
    revise = messages.ReviseReservationRequest(reservation_id=plum.reservation_id)
    revise.lines.add(sku="pear", node="berlin", quantity=1)
    assert (await refused(reservations.ReviseReservation(revise))).reason == "TURN_REQUIRED"

    async def commands() -> AsyncIterator[messages.ExchangeReservationsRequest]:
        for number, place in enumerate((waits, mine)):
            yield messages.ExchangeReservationsRequest(
                correlation_id=number, create_reservation=pear(place)
            )

    results = {}
    async for result in reservations.ExchangeReservations(commands()):
        results[result.correlation_id] = result
    assert results[0].status.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert results[1].create_reservation.reservation.reservation_id == mine.reservation_id
    assert (await sale.position("pear", "berlin")).held == 1

    fewer = messages.ReviseReservationRequest(reservation_id=mine.reservation_id)
    fewer.lines.add(sku="pear", node="berlin", quantity=2)
    assert (await refused(reservations.ReviseReservation(fewer))).reason == "TURN_REQUIRED"
    fewer.lines[0].quantity = 1
    fewer.lines.add(sku="plum", node="berlin", quantity=1)
    await reservations.ReviseReservation(fewer)


async def test_what_has_no_queue_needs_no_place(sale: Wire):
    made = await sale.hold(("plum", "berlin", 1), owner="a")
    assert made.lines[0].sku == "plum"
    error = await refused(stub(sale).JoinQueue(queues.JoinQueueRequest(queue="x", owner="a")))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "QUEUE_NOT_FOUND")


async def test_fields_are_held_against_their_limits(sale: Wire):
    queue = stub(sale)
    for request, field, reason in (
        (queues.JoinQueueRequest(owner="a"), "queue", "FIELD_REQUIRED"),
        (queues.JoinQueueRequest(queue="x" * 33, owner="a"), "queue", "LIMIT_EXCEEDED"),
        (queues.JoinQueueRequest(queue="pears"), "owner", "FIELD_REQUIRED"),
        (queues.JoinQueueRequest(queue="pears", owner="x" * 65), "owner", "LIMIT_EXCEEDED"),
    ):
        error = await refused(queue.JoinQueue(request))
        assert (list(error.fields), error.reason) == ([field], reason)
    for token, reason in (
        ("", "FIELD_REQUIRED"),
        ("x" * 257, "LIMIT_EXCEEDED"),
        ("no token", "FIELD_INVALID"),
    ):
        for call in (
            queue.GetPlace(queues.GetPlaceRequest(place_token=token)),
            queue.LeaveQueue(queues.LeaveQueueRequest(place_token=token)),
        ):
            error = await refused(call)
            assert (list(error.fields), error.reason) == (["place_token"], reason)
    error = await refused(queue.BatchGetPlaces(queues.BatchGetPlacesRequest()))
    assert error.reason == "FIELD_REQUIRED"
    many = queues.BatchGetPlacesRequest(place_tokens=["x"] * 1_001)
    assert (await refused(queue.BatchGetPlaces(many))).reason == "LIMIT_EXCEEDED"


async def test_a_turn_that_passes_goes_to_the_next(sale: Wire):
    first, second, third = [await join(sale, owner) for owner in ("a", "b", "c")]
    for _ in range(3):
        sale.clock.advance(4_000)
        shown = await ask(sale, first, second, third)
    assert [place.state for place in shown] == [PASSED, PASSED, CALLED]
    error = await refused(sale.reservations.CreateReservation(pear(first)))
    assert (error.reason, error.metadata["state"]) == ("PLACE_ENDED", "PASSED")


async def test_no_more_are_called_than_there_are_units_and_those_that_come_back_are_sold_on(
    sale: Wire,
):
    await sale.stock("pear", "berlin", 1)
    first, second = await join(sale, "a"), await join(sale, "b")
    assert [first.state, second.state] == [CALLED, WAITING]
    held = pear(first)
    held.ttl.seconds = 5
    await sale.reservations.CreateReservation(held)
    assert (await ask(sale, second))[0].state == WAITING
    sale.clock.advance(5_001)
    await sale.stock("plum", "berlin", 10)  # a batch: it releases the hold first
    assert (await ask(sale, second))[0].state == CALLED


async def test_a_stream_tells_of_the_turn_and_ends_with_it(sale: Wire):
    first, second = await join(sale, "a"), await join(sale, "b")
    third = await join(sale, "c")
    request = queues.WatchPlaceRequest(place_token=third.place_token)
    stream = stub(sale).WatchPlace(request)
    assert (await stream.read()).place.state == WAITING
    await stub(sale).LeaveQueue(queues.LeaveQueueRequest(place_token=first.place_token))
    called = (await stream.read()).place
    assert called.state == CALLED
    await sale.reservations.CreateReservation(pear(called))
    assert (await stream.read()).place.state == USED
    assert await stream.read() is grpc.aio.EOF
    assert (await ask(sale, second))[0].state == CALLED


async def test_the_order_outlives_a_restart(sale: Wire):
    """Turns last until they end, one reservation a place, and those who wait keep their order."""
    first, second = await join(sale, "a"), await join(sale, "b")
    waiting = [await join(sale, f"w-{number}") for number in range(4)]
    await sale.reservations.CreateReservation(pear(first))
    sale.clock.advance(3_000)
    await sale.restart()
    newcomer = await join(sale, "new")
    await ask(sale, *reversed(waiting))  # they come back in any order
    shown = await ask(sale, *reversed(waiting))
    assert [place.state for place in (newcomer, *shown)] == [WAITING] * 5
    assert [place.places_ahead for place in reversed(shown)] == [0, 1, 2, 3]
    error = await refused(sale.reservations.CreateReservation(pear(first)))
    assert (error.reason, error.metadata["state"]) == ("PLACE_ENDED", "USED")
    made = await sale.reservations.CreateReservation(pear(second))
    assert made.reservation.reservation_id == second.reservation_id
    for _ in range(2):
        sale.clock.advance(3_000)
        shown = await ask(sale, newcomer, *waiting)
    # What `w-0` took of before the restart it has still; `w-1` is next, and nobody before it.
    assert [place.state for place in shown] == [WAITING, CALLED, CALLED, WAITING, WAITING]


@pytest.mark.parametrize("seed", range(3))
async def test_a_sale_is_sold_in_the_order_of_joining(sale: Wire, seed: int):
    """Shoppers who come and ask in any order, some of whom go away: who holds came before who
    waits, and no unit is sold twice."""
    chance = random.Random(seed)
    order = [await join(sale, f"s-{number}") for number in range(40)]
    gone = {place.owner for place in chance.sample(order, 8)}
    staying = {place.owner: place for place in order if place.owner not in gone}
    held: list[str] = []
    for _ in range(60):
        sale.clock.advance(2_500)
        asked = chance.sample(list(staying.values()), len(staying))
        for place in await ask(sale, *asked) if asked else ():
            staying[place.owner] = place
            if place.state == CALLED and chance.random() < 0.8:
                await sale.reservations.CreateReservation(pear(place))
                held.append(place.owner)
                del staying[place.owner]
            elif place.state == PASSED:
                del staying[place.owner]
    assert len(held) == 10
    last = max(int(owner[2:]) for owner in held)
    assert all(int(owner[2:]) > last - 2 for owner in staying)  # those of the last turns beside it
    assert (await sale.position("pear", "berlin")).available == 0
    await sale.verify()
    text = sale.server.metrics.text().decode()
    assert 'holdfast_places_ended_total{how="used",queue="pears"} 10.0' in text


async def test_the_client_waits_for_its_turn(sale: Wire):
    async with aio.Client(f"127.0.0.1:{sale.server.port}") as client:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            sale.clock.advance(int(seconds * 1_000))

        client._sleep = sleep
        for owner in ("a", "b"):
            assert (await client.join_queue("pears", owner)).state == "CALLED"
        place = await client.join_queue("pears", "c")
        place = await client.wait_for_turn(place)
        assert place.state == "CALLED"
        assert slept
        assert max(slept) <= 2.0
        lines = [("pear", "berlin", 1)]
        with pytest.raises(errors.TurnRequired):
            await client.reserve(lines, owner="c")
        made = await client.reserve(lines, owner="c", place_token=place.place_token)
        assert made.reservation_id == place.reservation_id
        with pytest.raises(errors.PlaceEnded):
            await client.reserve(lines, owner="c", place_token=place.place_token)
        with pytest.raises(errors.QueueNotFound):
            await client.join_queue("plums", "c")
        assert (await client.leave_queue(place.place_token)).state == "USED"
        (shown,) = await client.places([place.place_token])
        assert shown.state == "USED"


async def test_a_server_without_queues_knows_none(wire: Wire):
    error = await refused(stub(wire).JoinQueue(queues.JoinQueueRequest(queue="pears", owner="a")))
    assert error.reason == "QUEUE_NOT_FOUND"
    assert wire.server.admission.turns.gate("CreateReservation") is None


def test_the_command_line_takes_a_place_and_holds_in_its_turn(tmp_path: Path):
    file = tmp_path / "queues.toml"
    file.write_text(FILE)
    with RunningServer(tmp_path / "data", queues=file) as server:
        with holdfast.Client(server.target) as client:
            client.nodes.upsert(holdfast.Node("berlin"))
            client.items.upsert(holdfast.Item("pear"))
            client.count([holdfast.Count("pear", "berlin", 1)])
            assert client.wait_for_turn(client.join_queue("pears", "a")).state == "CALLED"

        def run(*arguments: str) -> Result:
            return CliRunner().invoke(app, list(arguments), env={"HOLDFAST_TARGET": server.target})

        place = json.loads(run("queue", "pears", "--owner", "a", "--json").stdout)
        assert place["state"] == "CALLED"
        waits = run("queue", "pears", "--owner", "b", "--wait", "0.01")
        assert "WAITING for b, 0 ahead" in waits.stdout
        token = ["--owner", "a", "--place-token", place["place_token"]]
        assert run("reserve", "pear@berlin", "--owner", "a").exit_code == exits.REFUSED
        made = run("reserve", "pear@berlin", *token)
        assert place["reservation_id"] in made.stdout
