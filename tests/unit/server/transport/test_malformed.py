"""Bytes that are no message are told apart: which field, and what is wrong with it."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from holdfast.v1 import reservation_service_pb2 as messages
from server.transport.errors import Refused
from server.transport.malformed import read, violation_of

KIND = messages.CreateReservationRequest


def good() -> bytes:
    request = KIND(request_id="r", owner="ann")
    request.lines.add(sku="pear", node="berlin", quantity=3)
    request.lines.add(sku="plum", node="berlin", quantity=3)
    return request.SerializeToString()


def test_text_that_is_not_utf8_is_named_by_its_path():
    raw = good().replace(b"plum", b"pl\xff\xfe")
    with pytest.raises(Refused) as caught:
        read(KIND, raw)
    assert caught.value.refusal.metadata["field"] == "lines[1].sku"
    assert "is not UTF-8 (byte 2 of it)" in str(caught.value)


def test_a_message_that_ends_early_says_where():
    violation = violation_of(KIND, good()[:-3])
    assert violation.field == "lines[1]"
    assert "are announced" in violation.description


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\xff" * 12, "more than ten bytes"),
        (b"\x80", "inside a number"),
        (b"\x0b", "wire type 3"),
        (b"\x09\x01", "inside a value"),
    ],
)
def test_other_damage(raw: bytes, why: str):
    assert why in violation_of(KIND, raw).description


def test_good_bytes_are_read():
    assert read(KIND, good()).lines[1].sku == "plum"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes):
    try:
        KIND.FromString(raw)
    except DecodeError:
        with pytest.raises(Refused) as caught:
            read(KIND, raw)
        assert caught.value.refusal.reason_name == "FIELD_INVALID"
        assert caught.value.refusal.status.message.isprintable()
    else:
        assert read(KIND, raw) == KIND.FromString(raw)
