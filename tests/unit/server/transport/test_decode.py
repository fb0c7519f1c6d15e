"""The compiled decoder against protobuf: what it reads is what the codec reads, bit for bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.commands import CommandBatch
from holdfast.v1 import reservation_service_pb2 as messages
from server.caller import Caller
from server.transport.codec import reservations as codec
from server.transport.columns import Columns
from server.transport.decode import decode
from server.transport.errors import Refused
from server.transport.malformed import read
from server.transport.validation import Checker
from tests.unit.server.transport.requests import NOW_MS, any_creates, usual_creates

CALLER = Caller(b"shop")


def by_protobuf(requests: list[messages.CreateReservationRequest]) -> CommandBatch:
    """The columns of requests that are valid. Raises Refused."""
    columns, check = Columns(), Checker(NOW_MS)
    for request in requests:
        codec.create(columns, check, request, CALLER.text)
    check.refuse()
    return columns.batch()


def is_valid(request: messages.CreateReservationRequest) -> bool:
    try:
        by_protobuf([request])
    except Refused:
        return False
    return True


def assert_same(one: CommandBatch, other: CommandBatch) -> None:
    assert one.headers.tolist() == other.headers.tolist()
    assert one.lines.tolist() == other.lines.tolist()
    assert one.text.tobytes() == other.text.tobytes()
    assert one.to_bytes() == other.to_bytes()


@given(st.lists(usual_creates(), min_size=1, max_size=5))
def test_usual_requests_are_read_whole_and_alike(
    requests: list[messages.CreateReservationRequest],
):
    bulk = messages.BulkCreateReservationsRequest(requests=requests)
    decoded = decode(bulk.SerializeToString(), CALLER, NOW_MS, framed=True)
    assert decoded.is_whole
    assert_same(decoded.batch, by_protobuf(requests))
    assert decoded.memory_only == sum(request.durability == 2 for request in requests)


@given(usual_creates())
def test_one_request_alone_is_read_like_one_of_many(request_: messages.CreateReservationRequest):
    alone = decode(request_.SerializeToString(), CALLER, NOW_MS, framed=False)
    assert alone.is_whole
    assert_same(alone.batch, by_protobuf([request_]))


@given(st.lists(any_creates() | usual_creates(), max_size=5))
def test_the_decoder_stops_in_front_of_what_it_does_not_know(
    requests: list[messages.CreateReservationRequest],
):
    raw = messages.BulkCreateReservationsRequest(requests=requests).SerializeToString()
    decoded = decode(raw, CALLER, NOW_MS, framed=True)
    count = len(decoded.batch)
    if count:
        # Whatever it accepted is valid, and is what protobuf reads.
        assert_same(decoded.batch, by_protobuf(requests[:count]))
    before = messages.BulkCreateReservationsRequest(requests=requests[:count])
    assert decoded.next_at == len(before.SerializeToString())


@given(any_creates())
def test_nothing_invalid_is_ever_accepted(request_: messages.CreateReservationRequest):
    decoded = decode(request_.SerializeToString(), CALLER, NOW_MS, framed=False)
    if decoded.is_whole:
        assert is_valid(request_)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_survived(raw: bytes, framed: bool):
    decoded = decode(raw, CALLER, NOW_MS, framed=framed)
    if decoded.is_whole:
        kind = (
            messages.BulkCreateReservationsRequest if framed else messages.CreateReservationRequest
        )
        read(kind, raw)


@given(usual_creates(), st.data())
def test_cut_and_flipped_messages_are_survived(
    request_: messages.CreateReservationRequest, data: st.DataObject
):
    raw = bytearray(request_.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(1, len(raw))) :]
    decoded = decode(bytes(raw), CALLER, NOW_MS, framed=False)
    if decoded.is_whole:
        assert_same(
            decoded.batch, by_protobuf([read(messages.CreateReservationRequest, bytes(raw))])
        )


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.lines.add(sku="é", node="n", quantity=1),
        lambda r: r.lines.add(sku=" a", node="n", quantity=1),
        lambda r: r.lines.add(sku="a\tb", node="n", quantity=1),
        lambda r: r.lines.add(sku="a", node="n", quantity=0),
        lambda r: r.lines.add(sku="a", node="n", quantity=-1),
        lambda r: r.lines.add(sku="a", node="n", quantity=1_000_000_001),
        lambda r: r.lines.add(sku="a" * 65, node="n", quantity=1),
        lambda r: r.lines.add(sku="a", quantity=1),
        lambda r: setattr(r, "owner", "o" * 65),
        lambda r: setattr(r, "channel", "c" * 33),
        lambda r: setattr(r, "fill_policy", 9),
        lambda r: setattr(r, "replace_owner_holds", True),
        lambda r: r.ttl.FromSeconds(31 * 24 * 3600),
        lambda r: r.ttl.FromSeconds(0),
        lambda r: r.lines[0].need_by_time.FromMilliseconds(NOW_MS - 1),
        lambda r: r.capacity_takes.add(quantity=1),
    ],
)
def test_what_is_unusual_is_left_to_protobuf(change):
    request = messages.CreateReservationRequest()
    request.lines.add(sku="a", node="n", quantity=1)
    change(request)
    raw = request.SerializeToString()
    assert not decode(raw, CALLER, NOW_MS, framed=False).is_whole


def test_a_field_given_twice_is_left_to_protobuf():
    request = messages.CreateReservationRequest(owner="one")
    request.lines.add(sku="a", node="n", quantity=1)
    raw = (
        request.SerializeToString()
        + messages.CreateReservationRequest(owner="two").SerializeToString()
    )
    assert not decode(raw, CALLER, NOW_MS, framed=False).is_whole
    assert messages.CreateReservationRequest.FromString(raw).owner == "two"


def test_callers_have_request_ids_of_their_own():
    request = messages.CreateReservationRequest(request_id="1")
    request.lines.add(sku="a", node="n", quantity=1)
    raw = request.SerializeToString()
    keys = {
        tuple(
            decode(raw, Caller(name), NOW_MS, framed=False)
            .batch.headers[["request_hi", "request_lo"]][0]
            .tolist()
        )
        for name in (b"", b"shop", b"shop2")
    }
    assert len(keys) == 3
