"""The compiled reader of feed chunks against protobuf."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.hashing import key_of
from holdfast.v1 import inventory_service_pb2 as messages
from server.transport.decode_feed import FeedChunk, _from_message, decode_feed
from server.transport.errors import Refused

NAMES = st.text(max_size=6) | st.sampled_from(["pear", " x", "y ", "a" * 64, "a" * 65, "ü", ""])


@st.composite
def chunks(draw: st.DrawFn) -> messages.IngestInventoryRequest:
    return messages.IngestInventoryRequest(
        feed_id=draw(st.text(max_size=10)),
        sequence=draw(st.integers(0, 2**64 - 1)),
        row_numbers=draw(st.lists(st.integers(0, 2**64 - 1), max_size=5)),
        skus=draw(st.lists(NAMES, max_size=5)),
        nodes=draw(st.lists(NAMES, max_size=5)),
        quantities=draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)),
        as_of_times_ms=draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)),
        shortfall_policy=draw(st.integers(0, 5)),
    )


def assert_same(one: FeedChunk, other: FeedChunk) -> None:
    assert (one.feed_id, one.sequence, one.policy) == (other.feed_id, other.sequence, other.policy)
    for column in ("skus", "nodes"):
        left, right = getattr(one, column), getattr(other, column)
        assert left["key"].tolist() == right["key"].tolist()
        assert [one.name(place) for place in left] == [other.name(place) for place in right]
    for column in ("row_numbers", "quantities", "times_ms"):
        assert getattr(one, column).tolist() == getattr(other, column).tolist()


@given(chunks())
def test_both_readers_give_the_same_chunk(message: messages.IngestInventoryRequest):
    assert_same(decode_feed(message.SerializeToString()), _from_message(message))


@given(chunks(), chunks())
def test_a_chunk_in_two_parts_is_merged_as_protobuf_does(
    one: messages.IngestInventoryRequest, two: messages.IngestInventoryRequest
):
    raw = one.SerializeToString() + two.SerializeToString()
    merged = messages.IngestInventoryRequest.FromString(raw)
    assert_same(decode_feed(raw), _from_message(merged))


def test_keys_are_those_of_the_ledger_and_0_for_what_is_unusual():
    message = messages.IngestInventoryRequest(skus=["pear", " x", "ü", ""], nodes=["berlin"])
    chunk = decode_feed(message.SerializeToString())
    assert chunk.skus["key"].tolist() == [key_of(b"pear"), 0, 0, 0]
    assert chunk.nodes["key"].tolist() == [key_of(b"berlin")]


def test_numbers_that_are_not_packed_are_read_too():
    raw = bytes([0x30, 7, 0x30, 8])  # quantities, each as a field of its own
    assert decode_feed(raw).quantities.tolist() == [7, 8]


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(raw: bytes):
    try:
        chunk = decode_feed(raw)
    except Refused:
        return
    assert chunk.quantities.dtype == np.int64
