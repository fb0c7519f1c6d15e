"""Every reason of the contract is an exception that tells what the caller needs."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from holdfast import errors
from holdfast.failures import Failure, from_rpc, reason_name
from holdfast.v1 import errors_pb2
from tests.unit.clients.conftest import Caller
from tests.unit.clients.fake_server import FakeServer, Refusal

REASONS = [
    name.removeprefix("ERROR_REASON_")
    for name, number in errors_pb2.ErrorReason.items()
    if number != 0
]

# The bands of errors.proto: a reason's number tells its status code.
BANDS = {
    range(1, 30): grpc.StatusCode.FAILED_PRECONDITION,
    range(30, 40): grpc.StatusCode.ABORTED,
    range(40, 50): grpc.StatusCode.ALREADY_EXISTS,
    range(50, 70): grpc.StatusCode.NOT_FOUND,
    range(70, 80): grpc.StatusCode.INVALID_ARGUMENT,
    range(80, 90): grpc.StatusCode.UNAVAILABLE,
    range(90, 91): grpc.StatusCode.RESOURCE_EXHAUSTED,
    range(91, 92): grpc.StatusCode.UNAUTHENTICATED,
    range(92, 93): grpc.StatusCode.PERMISSION_DENIED,
    range(95, 96): grpc.StatusCode.INTERNAL,
    range(97, 98): grpc.StatusCode.DEADLINE_EXCEEDED,
}


def all_errors() -> list[type[errors.HoldfastError]]:
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HoldfastError)
    ]


def code_of(reason: str) -> grpc.StatusCode:
    number = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}")
    return next(code for band, code in BANDS.items() if number in band)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_class_of_its_name_under_that_of_its_code(reason: str):
    kind = errors.kind_of(reason, code_of(reason))
    assert kind.__name__ == "".join(word.capitalize() for word in reason.split("_"))
    assert kind.default_code is code_of(reason)
    assert issubclass(kind, errors.kind_of("", code_of(reason)))


def test_no_class_has_a_reason_that_the_contract_has_not():
    own = {"THROTTLED", "NOT_SERVING"}  # never on the wire: the client's own
    assert set(errors.BY_REASON) == set(REASONS) | own


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"])
def test_an_unknown_reason_is_the_class_of_its_code(code: grpc.StatusCode):
    kind = errors.kind_of("REASON_OF_NEXT_YEAR", code)
    assert kind.default_reason == ""
    assert kind.default_code is code or kind is errors.ServerFault


def test_the_tree_at_the_top_of_the_file_shows_every_class():
    tree = errors.__doc__ or ""
    assert [kind.__name__ for kind in all_errors() if kind.__name__ not in tree] == []


def test_insufficient_stock_carries_the_short_lines(server: FakeServer, caller: Caller):
    shortages = errors_pb2.ShortageDetails()
    shortages.shortages.add(
        line=1,
        sku="SKU-2",
        node="WH-1",
        requested_quantity=5,
        available_quantity=3,
        next_available_time=Timestamp(seconds=1_900_000_000),
    )
    server.script(
        "CreateReservation",
        Refusal(
            grpc.StatusCode.FAILED_PRECONDITION,
            "INSUFFICIENT_STOCK",
            "1 line is short",
            {"revision": "12"},
            [shortages],
        ),
    )
    with pytest.raises(errors.InsufficientStock) as caught:
        caller.run(lambda client: client.reserve([("SKU-1", "WH-1", 1), ("SKU-2", "WH-1", 5)]))
    error = caught.value
    (short,) = error.short_lines
    assert (short.line, short.sku, short.node) == (1, "SKU-2", "WH-1")
    assert (short.requested_quantity, short.available_quantity) == (5, 3)
    assert short.next_available_time is not None
    assert short.next_available_time.isoformat() == "2030-03-17T17:46:40+00:00"
    assert error.metadata["revision"] == "12"
    assert str(error) == "INSUFFICIENT_STOCK: 1 line is short"
    assert isinstance(error, errors.FailedPrecondition)


def test_a_short_capacity_names_what_is_short(server: FakeServer, caller: Caller):
    shortages = errors_pb2.ShortageDetails()
    slot = shortages.shortages.add(requested_quantity=1)
    slot.carrier_slot.slot = "DHL-16:00"
    slot.carrier_slot.node = "WH-1"
    day = shortages.shortages.add(line=1, requested_quantity=1)
    day.node_capacity.date = "2026-03-02"
    day.node_capacity.node = "WH-2"
    server.script(
        "CreateReservation",
        Refusal(grpc.StatusCode.FAILED_PRECONDITION, "CAPACITY_EXHAUSTED", details=[shortages]),
    )
    with pytest.raises(errors.CapacityExhausted) as caught:
        caller.run(lambda client: client.reserve([("SKU-1", "WH-1", 1)]))
    named = [(short.capacity, short.node) for short in caught.value.short_lines]
    assert named == [("DHL-16:00", "WH-1"), ("2026-03-02", "WH-2")]


def test_invalid_request_names_each_field(server: FakeServer, caller: Caller):
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(
        field="lines[0].quantity", description="0 is below 1", reason="FIELD_INVALID"
    )
    server.script(
        "CreateReservation",
        Refusal(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", details=[bad]),
    )
    with pytest.raises(errors.FieldInvalid) as caught:
        caller.run(lambda client: client.reserve([("SKU-1", "WH-1", 0)]))
    (violation,) = caught.value.fields
    assert (violation.field, violation.description) == ("lines[0].quantity", "0 is below 1")


def test_details_of_another_domain_are_not_ours():
    refusal = Refusal(grpc.StatusCode.UNAVAILABLE)
    status = refusal.status()
    info = error_details_pb2.ErrorInfo(domain="proxy.example", reason="OVERLOADED")
    status.details.add().Pack(info)
    failure = from_rpc(
        grpc.StatusCode.UNAVAILABLE,
        "no route",
        [("grpc-status-details-bin", status.SerializeToString())],
    )
    assert failure.reason == ""
    assert type(failure.error()) is errors.Unavailable


@pytest.mark.parametrize(
    "metadata",
    [
        [("grpc-status-details-bin", b"\xff\xff\xff")],
        [("grpc-status-details-bin", b"")],
        [("grpc-status-details-bin", "text where bytes belong")],
        [("grpc-retry-pushback-ms", b"\xff")],
        [("grpc-retry-pushback-ms", "\u0661")],  # a digit, but not one of ASCII
        [],
    ],
)
def test_nothing_a_server_sends_can_make_reading_a_failure_raise(metadata):
    error = from_rpc(grpc.StatusCode.UNAVAILABLE, None, metadata).error()
    assert type(error) is errors.Unavailable
    assert error.message == "UNAVAILABLE"


def test_damaged_details_inside_a_sound_status_are_left_out():
    status = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_STOCK").status()
    broken = status.details.add()
    broken.type_url = "type.googleapis.com/holdfast.v1.ShortageDetails"
    broken.value = b"\x0a\xff"
    failure = from_rpc(
        grpc.StatusCode.FAILED_PRECONDITION,
        "short",
        [("grpc-status-details-bin", status.SerializeToString())],
    )
    assert failure.reason == "INSUFFICIENT_STOCK"
    assert failure.short_lines == ()


def test_a_reason_of_a_newer_server_keeps_its_number():
    assert reason_name(0) == ""
    assert reason_name(1) == "INSUFFICIENT_STOCK"
    assert reason_name(126) == "REASON_126"


def test_a_failure_survives_the_way_through_its_error():
    failure = Failure(grpc.StatusCode.UNAVAILABLE, "full", "OVERLOADED", retry_after_s=0.5)
    assert Failure.of(failure.error()) == failure
