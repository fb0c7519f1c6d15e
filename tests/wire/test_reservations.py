"""ReservationService on the wire: steps, replays, refusals."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as messages
from holdfast.v1 import types_pb2
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire
State = types_pb2.Reservation.State


async def test_a_hold_is_confirmed_shipped_and_returned(wire: Wire):
    held = await wire.hold(("pear", "berlin", 3), ("plum", "berlin", 1), owner="ann")
    assert held.state == State.STATE_HELD
    assert [(line.sku, line.quantity) for line in held.lines] == [("pear", 3), ("plum", 1)]
    assert held.expire_time.ToMilliseconds() == wire.clock.now_ms() + 900_000

    name = held.reservation_id
    confirmed = await wire.reservations.ConfirmReservation(
        messages.ConfirmReservationRequest(reservation_id=name, etag=held.etag)
    )
    assert confirmed.reservation.state == State.STATE_CONFIRMED
    assert not confirmed.reservation.HasField("expire_time")
    assert confirmed.reservation.owner == "ann"

    partly = await wire.reservations.FulfillReservation(
        messages.FulfillReservationRequest(
            reservation_id=name, lines=[types_pb2.LineQuantity(line=0, quantity=2)]
        )
    )
    assert partly.reservation.lines[0].fulfilled_quantity == 2
    whole = await wire.reservations.FulfillReservation(
        messages.FulfillReservationRequest(reservation_id=name)
    )
    assert whole.reservation.state == State.STATE_FULFILLED
    assert (await wire.position("pear", "berlin")).on_hand == 7

    back = await wire.reservations.ReturnReservation(
        messages.ReturnReservationRequest(
            reservation_id=name,
            lines=[types_pb2.LineQuantity(line=0, quantity=1)],
            disposition=messages.RETURN_DISPOSITION_DAMAGED,
        )
    )
    assert back.reservation.lines[0].returned_quantity == 1
    position = await wire.position("pear", "berlin")
    assert (position.on_hand, position.withheld.damaged, position.available) == (8, 1, 7)
    await wire.verify()


async def test_cancel_extend_revise_reassign(wire: Wire):
    held = await wire.hold(("pear", "berlin", 4))
    name = held.reservation_id
    cut = await wire.reservations.CancelReservation(
        messages.CancelReservationRequest(
            reservation_id=name, lines=[types_pb2.LineQuantity(line=0, quantity=1)]
        )
    )
    assert cut.reservation.lines[0].cancelled_quantity == 1

    extend = messages.ExtendReservationRequest(reservation_id=name)
    extend.ttl.FromSeconds(3600)
    longer = await wire.reservations.ExtendReservation(extend)
    assert longer.reservation.expire_time.ToMilliseconds() == wire.clock.now_ms() + 3_600_000

    moved = await wire.reservations.ReassignReservation(
        messages.ReassignReservationRequest(
            reservation_id=name,
            reassignments=[
                messages.LineReassignment(
                    line=0, source_node="berlin", destination_node="lyon", quantity=2
                )
            ],
        )
    )
    takes = {take.node: take.quantity for take in moved.reservation.lines[0].takes}
    assert takes == {"berlin": 1, "lyon": 2}

    revise = messages.ReviseReservationRequest(reservation_id=name)
    revise.lines.add(sku="plum", node="berlin", quantity=2)
    revised = await wire.reservations.ReviseReservation(revise)
    assert [line.sku for line in revised.reservation.lines] == ["plum"]
    assert (await wire.position("pear", "berlin")).held == 0

    gone = await wire.reservations.CancelReservation(
        messages.CancelReservationRequest(reservation_id=name)
    )
    assert gone.reservation.state == State.STATE_CANCELLED
    await wire.verify()


async def test_a_repeated_request_gets_the_first_answer_byte_for_byte(wire: Wire):
    request = create(("pear", "berlin", 3), request_id="r1", owner="ann")
    first = await wire.reservations.CreateReservation(request)
    name = first.reservation.reservation_id
    confirm = messages.ConfirmReservationRequest(request_id="r2", reservation_id=name)
    confirmed = await wire.reservations.ConfirmReservation(confirm)
    await wire.reservations.FulfillReservation(
        messages.FulfillReservationRequest(reservation_id=name)
    )
    await wire.restart()
    again = await wire.reservations.CreateReservation(request)
    assert again.SerializeToString(deterministic=True) == first.SerializeToString(
        deterministic=True
    )
    again = await wire.reservations.ConfirmReservation(confirm)
    assert again.SerializeToString(deterministic=True) == confirmed.SerializeToString(
        deterministic=True
    )
    assert (await wire.position("pear", "berlin")).on_hand == 7


async def test_a_refusal_is_remembered_too(wire: Wire):
    request = create(("pear", "lyon", 6), request_id="r1")
    first = await refused(wire.reservations.CreateReservation(request))
    await wire.stock("pear", "lyon", 100)
    again = await refused(wire.reservations.CreateReservation(request))
    assert first == again
    assert first.reason == "INSUFFICIENT_STOCK"


async def test_a_request_id_stands_for_one_body(wire: Wire):
    await wire.reservations.CreateReservation(create(("pear", "berlin", 3), request_id="r1"))
    error = await refused(
        wire.reservations.CreateReservation(create(("pear", "berlin", 4), request_id="r1"))
    )
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert (await wire.position("pear", "berlin")).held == 3


async def test_a_reservation_id_stands_for_one_reservation(wire: Wire):
    request = create(("pear", "berlin", 3), reservation_id="order-1")
    first = await wire.reservations.CreateReservation(request)
    again = await wire.reservations.CreateReservation(request)
    assert again.reservation == first.reservation
    error = await refused(
        wire.reservations.CreateReservation(create(("pear", "berlin", 1), reservation_id="order-1"))
    )
    assert error.reason == "RESERVATION_EXISTS"
    assert error.metadata["reservation_id"] == "order-1"


async def test_shortages_name_every_short_line(wire: Wire):
    error = await refused(
        wire.reservations.CreateReservation(
            create(("pear", "berlin", 11), ("plum", "berlin", 1), ("pear", "lyon", 9))
        )
    )
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    told = [(s.line, s.sku, s.node, s.requested_quantity) for s in error.shortages]
    assert told == [(0, "pear", "berlin", 11), (2, "pear", "lyon", 9)]
    assert [s.available_quantity for s in error.shortages] == [10, 5]
    assert (await wire.position("plum", "berlin")).held == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (("apple", "berlin", 1), "SKU_NOT_FOUND"),
        (("pear", "paris", 1), "NODE_NOT_FOUND"),
    ],
)
async def test_unknown_names_are_named(wire: Wire, line: tuple[str, str, int], reason: str):
    error = await refused(wire.reservations.CreateReservation(create(("plum", "berlin", 1), line)))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, reason)
    assert error.metadata["line"] == "lines[1]"
    assert line[0] in error.message or line[1] in error.message


async def test_groups_channels_and_partial_fills(wire: Wire):
    await wire.network.UpsertNodeGroup(
        network.UpsertNodeGroupRequest(
            node_group=network.NodeGroup(node_group="all", nodes=["lyon", "berlin"])
        )
    )
    request = messages.CreateReservationRequest()
    request.lines.add(sku="pear", node_group="all", quantity=7)
    split = (await wire.reservations.CreateReservation(request)).reservation
    takes = {take.node: take.quantity for take in split.lines[0].takes}
    assert takes == {"lyon": 5, "berlin": 2}

    request.fill_policy = types_pb2.FILL_POLICY_PARTIAL_QUANTITY
    cut = (await wire.reservations.CreateReservation(request)).reservation
    assert cut.lines[0].shortfall_quantity == 0
    rest = (await wire.reservations.CreateReservation(request)).reservation
    assert (rest.lines[0].quantity, rest.lines[0].shortfall_quantity) == (7, 6)

    error = await refused(
        wire.reservations.CreateReservation(create(("pear", "berlin", 1), channel="web"))
    )
    assert error.reason == "CHANNEL_NOT_FOUND"


async def test_a_channel_sells_from_its_own_nodes_only(wire: Wire):
    await wire.network.UpsertChannel(
        network.UpsertChannelRequest(channel=network.Channel(channel="web", nodes=["lyon"]))
    )
    held = await wire.hold(("pear", "lyon", 1), channel="web")
    assert held.channel == "web"
    request = create(("pear", "berlin", 1), channel="web")
    error = await refused(wire.reservations.CreateReservation(request))
    assert (error.reason, error.metadata["node"]) == ("NODE_NOT_IN_CHANNEL", "berlin")
    bulk = messages.BulkCreateReservationsRequest(
        requests=[request, create(("pear", "lyon", 1), channel="web")]
    )
    results = (await wire.reservations.BulkCreateReservations(bulk)).results
    assert [result.reason for result in results] == [9, 0]


async def test_a_batch_stands_or_falls_as_one(wire: Wire):
    good = [create(("pear", "berlin", 2), owner="a"), create(("plum", "berlin", 3), owner="b")]
    request = messages.BatchCreateReservationsRequest(request_id="b1", requests=good)
    made = await wire.reservations.BatchCreateReservations(request)
    assert [r.owner for r in made.reservations] == ["a", "b"]
    again = await wire.reservations.BatchCreateReservations(request)
    assert again == made

    bad = messages.BatchCreateReservationsRequest(
        requests=[create(("pear", "berlin", 2)), create(("pear", "berlin", 9))]
    )
    error = await refused(wire.reservations.BatchCreateReservations(bad))
    assert (error.reason, error.shortages[0].request) == ("INSUFFICIENT_STOCK", 1)
    assert (await wire.position("pear", "berlin")).held == 2


async def test_a_carts_new_hold_replaces_its_old_one(wire: Wire):
    await wire.hold(("pear", "berlin", 8), owner="ann")
    held = await wire.hold(("pear", "berlin", 9), owner="ann", replace_owner_holds=True)
    assert held.lines[0].takes[0].quantity == 9
    listed = await wire.reservations.ListReservations(
        messages.ListReservationsRequest(owner="ann", state=State.STATE_HELD)
    )
    assert [r.reservation_id for r in listed.reservations] == [held.reservation_id]


async def test_holds_expire_on_time_and_say_so(wire: Wire):
    held = await wire.hold(("pear", "berlin", 8))
    wire.clock.advance(899_999)
    assert (await wire.position("pear", "berlin")).held == 8
    wire.clock.advance(1)
    assert (await wire.position("pear", "berlin")).held in (0, 8)
    error = await refused(
        wire.reservations.ConfirmReservation(
            messages.ConfirmReservationRequest(reservation_id=held.reservation_id)
        )
    )
    assert (error.reason, error.metadata["state"]) == ("RESERVATION_EXPIRED", "EXPIRED")
    assert (await wire.position("pear", "berlin")).available == 10
    seen = await wire.reservations.GetReservation(
        messages.GetReservationRequest(reservation_id=held.reservation_id)
    )
    assert seen.reservation.state == State.STATE_EXPIRED


async def test_states_and_etags_guard_each_step(wire: Wire):
    held = await wire.hold(("pear", "berlin", 2))
    name = held.reservation_id
    error = await refused(
        wire.reservations.ConfirmReservation(
            messages.ConfirmReservationRequest(reservation_id=name, etag=held.etag + 1)
        )
    )
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert error.metadata["etag"] == str(held.etag)
    error = await refused(
        wire.reservations.FulfillReservation(
            messages.FulfillReservationRequest(reservation_id=name)
        )
    )
    assert error.reason == "STATE_TRANSITION_NOT_ALLOWED"
    assert error.metadata["state"] == "HELD"
    for line, quantity, reason in ((3, 1, "LINE_NOT_FOUND"), (0, 3, "LINE_QUANTITY_EXCEEDED")):
        error = await refused(
            wire.reservations.CancelReservation(
                messages.CancelReservationRequest(
                    reservation_id=name,
                    lines=[types_pb2.LineQuantity(line=line, quantity=quantity)],
                )
            )
        )
        assert error.reason == reason


async def test_pages_of_reservations(wire: Wire):
    names = [(await wire.hold(("pear", "berlin", 1), owner="ann")).reservation_id for _ in range(5)]
    await wire.hold(("plum", "berlin", 1), owner="bob")
    request = messages.ListReservationsRequest(sku="pear", node="berlin", page_size=2)
    seen = []
    while True:
        page = await wire.reservations.ListReservations(request)
        seen += [r.reservation_id for r in page.reservations]
        assert len(page.reservations) <= 2
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == names
    request.sku = "plum"
    error = await refused(wire.reservations.ListReservations(request))
    assert error.fields["page_token"].endswith("belongs to another query")


async def test_every_wrong_field_is_named_at_once(wire: Wire):
    request = create(("pear", "berlin", 0), ("", "berlin", 1), (" x", "", 2_000_000_000))
    request.owner = "o" * 65
    request.ttl.FromSeconds(-1)
    request.fill_policy = 9
    error = await refused(wire.reservations.CreateReservation(request))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(error.fields) == {
        "lines[0].quantity",
        "lines[1].sku",
        "lines[2].sku",
        "lines[2].node",
        "lines[2].quantity",
        "owner",
        "ttl",
        "fill_policy",
    }
    assert "quantity_max = 1000000000" in error.fields["lines[2].quantity"]


async def test_bytes_that_are_no_message(wire: Wire):
    call = wire.channel.unary_unary("/holdfast.v1.ReservationService/CreateReservation")
    raw = create(("pear", "berlin", 1)).SerializeToString()
    error = await refused(call(raw.replace(b"pear", b"\xff\xfe\xfd\xfc")))
    assert (error.code, list(error.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["lines[0].sku"])
    error = await refused(call(raw[:-2]))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    # The server lives on.
    await wire.hold(("pear", "berlin", 1))


async def test_a_message_beyond_four_mebibytes_names_the_limit(wire: Wire):
    request = create(("pear", "berlin", 1), owner="o" * (4 * 1024 * 1024))
    error = await refused(wire.reservations.CreateReservation(request))
    assert (error.reason, error.metadata["limit"]) == (
        "LIMIT_EXCEEDED",
        "unary_message_bytes_max",
    )


async def test_many_creates_at_once_are_each_answered_for_themselves(wire: Wire):
    await wire.stock("plum", "berlin", 100)
    requests = [
        create(("plum", "berlin", 3), request_id=f"r{n}", reservation_id=f"order-{n}")
        for n in range(40)
    ]
    requests[7].lines[0].quantity = 0
    requests[9].lines[0].sku = "pflaume-ü"

    async def one(request: messages.CreateReservationRequest) -> str:
        try:
            reply = await wire.reservations.CreateReservation(request)
        except grpc.aio.AioRpcError as error:
            return error.details() or ""
        assert reply.reservation.reservation_id == request.reservation_id
        return "held"

    told = await asyncio.gather(*(one(request) for request in requests))
    assert "quantity" in told[7]
    assert "no such SKU" in told[9]
    assert told.count("held") == 33
    assert sum("not enough stock" in text for text in told) == 5
    assert (await wire.position("plum", "berlin")).held == 99
    await wire.verify()
