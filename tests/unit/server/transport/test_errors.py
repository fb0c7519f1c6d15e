"""The one table of errors: complete, consistent with the contract, small enough for a trailer."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from google.rpc.error_details_pb2 import ErrorInfo

from engine import outcomes
from holdfast.v1 import errors_pb2
from server.transport.errors import (
    DETAIL_BYTES_MAX,
    DOMAIN,
    PUSHBACK_KEY,
    STATUS_KEY,
    TABLE,
    Case,
    Fault,
    Refusal,
    Violation,
    reason_of,
    refusal,
    violations_refusal,
)

CODES = [code for code in outcomes.REASON_NAMES if code != outcomes.OK]
# Names of the engine's outcome codes: what comes before the first flag in its module.
OUTCOME_CODES = {
    value
    for name, value in vars(outcomes).items()
    if name.isupper() and isinstance(value, int) and name in outcomes.REASON_NAMES.values()
}
REASONS = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name
BANDS = {
    grpc.StatusCode.FAILED_PRECONDITION: range(1, 30),
    grpc.StatusCode.ABORTED: range(30, 40),
    grpc.StatusCode.ALREADY_EXISTS: range(40, 50),
    grpc.StatusCode.NOT_FOUND: range(50, 70),
    grpc.StatusCode.INVALID_ARGUMENT: range(70, 80),
    grpc.StatusCode.UNAVAILABLE: range(80, 90),
    grpc.StatusCode.RESOURCE_EXHAUSTED: range(90, 91),
    grpc.StatusCode.UNAUTHENTICATED: range(91, 92),
    grpc.StatusCode.PERMISSION_DENIED: range(92, 93),
    grpc.StatusCode.INTERNAL: range(95, 96),
    grpc.StatusCode.DEADLINE_EXCEEDED: range(97, 98),
}


def details_of(refused: Refusal, kind: type) -> list:
    found = []
    for packed in refused.status.details:
        detail = kind()
        if packed.Unpack(detail):
            found.append(detail)
    return found


@pytest.mark.parametrize("code", sorted(OUTCOME_CODES - {outcomes.OK}))
def test_every_outcome_has_a_row(code: int):
    assert code in TABLE, outcomes.REASON_NAMES[code]


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_a_row(fault: Fault):
    assert fault in TABLE


@pytest.mark.parametrize("key", TABLE, ids=str)
def test_every_row_becomes_a_status_of_the_contract(key: int | Fault):
    refused = refusal(key, Case(subject="x", metadata={"sku": "pear"}, retry_ms=70))
    assert refused.status.code == refused.code.value[0]
    assert refused.status.message
    (info,) = details_of(refused, ErrorInfo)
    assert info.domain == DOMAIN == "holdfast"
    assert info.metadata["sku"] == "pear"
    assert refused.reason == errors_pb2.ErrorReason.Value(f"ERROR_REASON_{info.reason}")
    assert refused.reason_name == info.reason
    if refused.code is not grpc.StatusCode.UNIMPLEMENTED:
        assert refused.reason in BANDS[refused.code], "the reason's band is that of its code"
    assert reason_of(key) == refused.reason


@pytest.mark.parametrize(
    "key", [key for key, rule in TABLE.items() if rule.code is grpc.StatusCode.UNAVAILABLE]
)
def test_what_is_unavailable_says_when_to_come_back(key: Fault):
    refused = refusal(key, Case(retry_ms=123))
    (retry,) = details_of(refused, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 123
    assert (PUSHBACK_KEY, "123") in refused.trailing_metadata


@pytest.mark.parametrize(
    "key", [key for key, rule in TABLE.items() if rule.code is grpc.StatusCode.INVALID_ARGUMENT]
)
def test_what_is_invalid_names_the_fields(key: int | Fault):
    violation = Violation(field="owner", fault=Fault.FIELD_REQUIRED, description="is required")
    (bad,) = details_of(refusal(key, Case(violations=[violation])), error_details_pb2.BadRequest)
    (field,) = bad.field_violations
    assert (field.field, field.description, field.reason) == (
        "owner",
        "is required",
        "FIELD_REQUIRED",
    )


@pytest.mark.parametrize(
    "key", [key for key, rule in TABLE.items() if rule.code is grpc.StatusCode.FAILED_PRECONDITION]
)
def test_what_must_not_be_tried_again_names_its_subject(key: int | Fault):
    (failure,) = details_of(
        refusal(key, Case(subject="reservation/r1")), error_details_pb2.PreconditionFailure
    )
    (violation,) = failure.violations
    assert violation.subject == "reservation/r1"
    assert violation.type == TABLE[key].reason


def test_a_quota_says_whose_it_is():
    (failure,) = details_of(
        refusal(Fault.QUOTA_EXCEEDED, Case(subject="caller/shop")), error_details_pb2.QuotaFailure
    )
    assert failure.violations[0].subject == "caller/shop"


def test_reasons_of_the_contract_that_no_row_gives_are_known():
    given = {TABLE[key].reason for key in TABLE}
    contract = {name.removeprefix("ERROR_REASON_") for name in REASONS}
    assert contract - given == {"UNSPECIFIED"}


def test_short_lines_are_all_told_while_they_have_room():
    shortages = [errors_pb2.Shortage(line=n, sku=f"sku-{n}", node="berlin") for n in range(20)]
    refused = refusal(outcomes.INSUFFICIENT_STOCK, Case(shortages=shortages))
    (details,) = details_of(refused, errors_pb2.ShortageDetails)
    assert list(details.shortages) == shortages
    assert "details_left_out" not in refused.metadata


def test_a_status_always_fits_a_trailer():
    many = [
        errors_pb2.Shortage(line=n, sku="s" * 64, node="n" * 64, requested_quantity=10**9)
        for n in range(256)
    ]
    wrong = [
        Violation(field=f"lines[{n}].quantity", fault=Fault.FIELD_INVALID, description="d" * 300)
        for n in range(500)
    ]
    short = refusal(
        outcomes.INSUFFICIENT_STOCK,
        Case(subject="s" * 64, message="m" * 9_000, metadata={"a": "b" * 900}, shortages=many),
    )
    for refused in (short, violations_refusal(wrong)):
        status = dict(refused.trailing_metadata)[STATUS_KEY]
        assert len(status) < DETAIL_BYTES_MAX
        assert int(refused.metadata["details_left_out"]) > 0


def test_the_first_violation_names_reason_and_limit():
    refused = violations_refusal(
        [
            Violation(
                field="owner",
                fault=Fault.LIMIT_EXCEEDED,
                description="65 bytes is beyond owner_bytes_max = 64",
                value="65 bytes",
                limit="owner_bytes_max",
                maximum=64,
            ),
            Violation(field="lines", fault=Fault.FIELD_REQUIRED, description="missing"),
        ]
    )
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.reason_name == "LIMIT_EXCEEDED"
    assert refused.metadata == {
        "field": "owner",
        "value": "65 bytes",
        "limit": "owner_bytes_max",
        "maximum": "64",
    }
    assert refused.status.message.endswith("(and 1 more)")


def test_a_refusal_is_the_same_bytes_every_time():
    case = Case(subject="s", metadata={"b": "1", "a": "2", "c": "3"})
    one, other = (refusal(outcomes.NODE_FROZEN, case) for _ in range(2))
    assert one.trailing_metadata == other.trailing_metadata
