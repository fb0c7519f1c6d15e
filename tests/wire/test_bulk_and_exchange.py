"""BulkCreateReservations and ExchangeReservations."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from engine import limits
from holdfast.v1 import errors_pb2, types_pb2
from holdfast.v1 import reservation_service_pb2 as messages
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire
Reason = errors_pb2.ErrorReason
HELD = types_pb2.Reservation.STATE_HELD


async def test_each_request_has_its_own_outcome_in_the_order_of_the_message(wire: Wire):
    requests = [
        create(("pear", "berlin", 6), request_id="r0"),
        create(("pear", "berlin", 0)),
        create(("pear", "berlin", 6), reservation_id="order-2"),
        create(("pear", "berlin", 4), owner="wörner"),
        create(("apfel-ä", "berlin", 1)),
        create(("pear", "lyon", 7), fill_policy=types_pb2.FILL_POLICY_PARTIAL_QUANTITY),
    ]
    bulk = messages.BulkCreateReservationsRequest(requests=requests)
    reply = await wire.reservations.BulkCreateReservations(bulk)
    assert [result.reason for result in reply.results] == [
        0,
        Reason.ERROR_REASON_FIELD_INVALID,
        Reason.ERROR_REASON_INSUFFICIENT_STOCK,
        0,
        Reason.ERROR_REASON_SKU_NOT_FOUND,
        0,
    ]
    first, bad, short, _, _, cut = reply.results
    assert first.state == HELD
    assert first.expire_time.ToMilliseconds() == wire.clock.now_ms() + 900_000
    assert (bad.revision, bad.reservation_id) == (0, "")
    (shortage,) = short.shortages
    assert (shortage.requested_quantity, shortage.available_quantity) == (6, 4)
    (missing,) = cut.shortages
    assert (missing.requested_quantity, missing.available_quantity) == (7, 5)
    assert reply.revision == max(result.revision for result in reply.results)
    seen = await wire.reservations.GetReservation(
        messages.GetReservationRequest(reservation_id=first.reservation_id)
    )
    assert seen.reservation.lines[0].quantity == 6
    await wire.verify()


async def test_a_repeated_bulk_message_gets_the_same_bytes(wire: Wire):
    bulk = messages.BulkCreateReservationsRequest(
        requests=[create(("pear", "berlin", 4), request_id=f"r{n}") for n in range(4)]
    )
    call = wire.channel.unary_unary("/holdfast.v1.ReservationService/BulkCreateReservations")
    first = await call(bulk.SerializeToString())
    await wire.restart()
    call = wire.channel.unary_unary("/holdfast.v1.ReservationService/BulkCreateReservations")
    assert await call(bulk.SerializeToString()) == first
    assert (await wire.position("pear", "berlin")).held == 8


async def test_too_many_and_none_are_refused_whole(wire: Wire):
    one = create(("pear", "berlin", 1))
    bulk = messages.BulkCreateReservationsRequest(
        requests=[one] * (limits.requests_per_bulk_max + 1)
    )
    error = await refused(wire.reservations.BulkCreateReservations(bulk))
    assert (error.reason, error.metadata["maximum"]) == ("LIMIT_EXCEEDED", "4096")
    error = await refused(
        wire.reservations.BulkCreateReservations(messages.BulkCreateReservationsRequest())
    )
    assert error.reason == "FIELD_REQUIRED"
    assert (await wire.position("pear", "berlin")).held == 0


async def test_a_broken_bulk_message_names_the_field(wire: Wire):
    bulk = messages.BulkCreateReservationsRequest(
        requests=[create(("pear", "berlin", 1)), create(("plum", "berlin", 1))]
    )
    call = wire.channel.unary_unary("/holdfast.v1.ReservationService/BulkCreateReservations")
    raw = bulk.SerializeToString()
    error = await refused(call(raw[:-4]))
    assert list(error.fields) == ["requests[1]"]
    # Text that is not UTF-8 is the fault of its own request only.
    reply = messages.BulkCreateReservationsResponse.FromString(
        await call(raw.replace(b"plum", b"\xff\xff\xff\xff"))
    )
    assert [result.reason for result in reply.results] == [0, Reason.ERROR_REASON_FIELD_INVALID]


async def test_commands_on_a_stream_are_answered_by_their_number(wire: Wire):
    held = await wire.hold(("pear", "berlin", 2))

    async def commands() -> AsyncIterator[messages.ExchangeReservationsRequest]:
        yield messages.ExchangeReservationsRequest(
            correlation_id=1, create_reservation=create(("pear", "berlin", 3))
        )
        yield messages.ExchangeReservationsRequest(
            correlation_id=2, create_reservation=create(("pear", "berlin", 30))
        )
        yield messages.ExchangeReservationsRequest(
            correlation_id=3,
            confirm_reservation=messages.ConfirmReservationRequest(
                reservation_id=held.reservation_id
            ),
        )
        yield messages.ExchangeReservationsRequest(
            correlation_id=4,
            get_reservation=messages.GetReservationRequest(reservation_id=held.reservation_id),
        )
        yield messages.ExchangeReservationsRequest(correlation_id=5)

    results = {
        result.correlation_id: result
        async for result in wire.reservations.ExchangeReservations(commands())
    }
    assert set(results) == {1, 2, 3, 4, 5}
    assert results[1].create_reservation.reservation.state == HELD
    assert results[2].status.code == 9
    assert results[2].revision > 0
    confirmed = results[3].confirm_reservation.reservation
    assert confirmed.state == types_pb2.Reservation.STATE_CONFIRMED
    assert results[4].get_reservation.reservation.reservation_id == held.reservation_id
    assert results[5].status.code == 3
    await wire.verify()


async def test_a_stream_takes_more_commands_than_may_be_in_flight(wire: Wire):
    await wire.stock("plum", "berlin", 5_000)
    count = limits.exchange_in_flight_max * 2 + 10

    async def commands() -> AsyncIterator[messages.ExchangeReservationsRequest]:
        for number in range(count):
            yield messages.ExchangeReservationsRequest(
                correlation_id=number, create_reservation=create(("plum", "berlin", 1))
            )

    results = [result async for result in wire.reservations.ExchangeReservations(commands())]
    assert sorted(result.correlation_id for result in results) == list(range(count))
    # Each was made, or turned away for now: that depends on how busy the machine is.
    refused = [result.status for result in results if result.WhichOneof("result") == "status"]
    assert {status.code for status in refused} <= {grpc.StatusCode.UNAVAILABLE.value[0]}
    assert len(refused) < count
    assert (await wire.position("plum", "berlin")).held == count - len(refused)


async def test_a_number_in_flight_may_not_be_used_again(wire: Wire):
    stream = wire.reservations.ExchangeReservations()
    command = messages.ExchangeReservationsRequest(
        correlation_id=9, create_reservation=create(("pear", "berlin", 1))
    )
    await stream.write(command)
    await stream.write(command)
    await stream.done_writing()
    results = [result async for result in stream]
    assert [result.correlation_id for result in results] == [9, 9]
    refusals = [result for result in results if result.WhichOneof("result") == "status"]
    # The second one is refused while the first is in flight, or made after it was answered.
    assert len(refusals) <= 1
    assert (await wire.position("pear", "berlin")).held == 2 - len(refusals)
