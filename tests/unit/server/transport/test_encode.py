"""The compiled encoder against protobuf: the same replies, byte for byte."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import outcomes
from engine.machine import apply
from holdfast.v1 import reservation_service_pb2 as messages
from server.caller import Caller
from server.transport import render
from server.transport.decode import decode
from server.transport.encode import encode_creates, encode_results
from server.transport.framing import framed
from server.transport.names import Names
from server.transport.services.bulk import result_of
from tests.unit.server.transport.ledgers import NODES, NOW_MS, SKUS, stocked

CALLER = Caller(b"")


@st.composite
def orders(draw: st.DrawFn) -> messages.CreateReservationRequest:
    """Requests that a ledger of ten units each fills, cuts or refuses, or has seen before."""
    request = messages.CreateReservationRequest(
        request_id=draw(st.sampled_from(["", "r1", "r2"])),
        reservation_id=draw(st.sampled_from(["", "order-1", "order-2"])),
        owner=draw(st.sampled_from(["", "ann", "bob"])),
        channel=draw(st.sampled_from(["", "web", "nowhere"])),
        fill_policy=draw(st.integers(0, 3)),
    )
    for _ in range(draw(st.integers(1, 4))):
        line = request.lines.add(
            sku=draw(st.sampled_from([*SKUS, "unknown"])),
            quantity=draw(st.integers(1, 14)),
            supply_policy=draw(st.integers(0, 3)),
        )
        if draw(st.integers(0, 4)):
            line.node = draw(st.sampled_from([*NODES, "unknown"]))
        else:
            line.node_group = draw(st.sampled_from(["all", "unknown"]))
    return request


@given(st.lists(orders(), min_size=1, max_size=8))
@settings(max_examples=300)
def test_replies_are_those_of_protobuf(requests: list[messages.CreateReservationRequest]):
    state = stocked()
    raw = messages.BulkCreateReservationsRequest(requests=requests).SerializeToString()
    decoded = decode(raw, CALLER, NOW_MS, framed=True)
    assert decoded.is_whole
    answer = apply(state, NOW_MS + 1, decoded.batch)
    ends = np.concatenate(([0], np.cumsum(answer.rows["detail_count"])))
    parts = [answer.details[ends[i] : ends[i + 1]] for i in range(len(requests))]

    results, last = encode_results(decoded, answer.rows, answer.details, 7)
    told = [
        result_of(request, row, part, 7)
        for request, row, part in zip(requests, answer.rows, parts, strict=True)
    ]
    assert results == b"".join(
        framed(result.SerializeToString(deterministic=True)) for result in told
    )
    assert last == answer.rows["revision"].max()

    names = Names(state)
    replies = encode_creates(decoded, answer.rows, answer.details, 7)
    for request, reply, row, part in zip(requests, replies, answer.rows, parts, strict=True):
        if row["code"] != outcomes.OK:
            assert reply == b""
            continue
        made = render.reservation(
            row,
            part,
            names,
            reservation_id=render.created_id(request.reservation_id, row, 7),
            owner=request.owner,
            channel=request.channel,
        )
        expected = messages.CreateReservationResponse(
            reservation=made, revision=int(row["revision"])
        ).SerializeToString(deterministic=True)
        assert reply in (b"", expected)
        plain = all(line.node for line in request.lines) and not any(
            line.supply_policy > 1 for line in request.lines
        )
        if plain and not row["flags"]:
            assert reply == expected, "the usual reply is left to nobody"


def test_long_names_and_many_lines_fit():
    state = stocked()
    request = messages.CreateReservationRequest(
        reservation_id="i" * 64, owner="o" * 64, channel="web"
    )
    for number in range(100):
        request.lines.add(sku=SKUS[number % 2], node=NODES[number % 3], quantity=14)
    bulk = messages.BulkCreateReservationsRequest(requests=[request] * 3)
    decoded = decode(bulk.SerializeToString(), CALLER, NOW_MS, framed=True)
    answer = apply(state, NOW_MS, decoded.batch)
    results, _ = encode_results(decoded, answer.rows, answer.details, 7)
    told = messages.BulkCreateReservationsResponse.FromString(results).results
    assert [result.reason for result in told] == [1, 1, 1]
    assert len(told[0].shortages) == 6
    first = told[0].shortages[0]
    assert (first.requested_quantity, first.available_quantity) == (17 * 14, 10)


def test_lines_of_one_position_are_told_as_one_shortage():
    state = stocked()
    request = messages.CreateReservationRequest()
    for quantity in (6, 6, 6):
        request.lines.add(sku="pear", node="lyon", quantity=quantity)
    raw = framed(request.SerializeToString())
    decoded = decode(raw, CALLER, NOW_MS, framed=True)
    answer = apply(state, NOW_MS, decoded.batch)
    (shortage,) = result_of(request, answer.rows[0], answer.details, 7).shortages
    assert (shortage.line, shortage.sku, shortage.node) == (1, "pear", "lyon")
    assert (shortage.requested_quantity, shortage.available_quantity) == (18, 10)
