"""Fields against their limits: every bad value is named with its path, value and limit."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from server.transport.errors import Fault, Refused
from server.transport.validation import Checker, shown, time_ms_max

NOW_MS = 1_700_000_000_000


def faults(check: Checker) -> list[tuple[str, Fault]]:
    return [(violation.field, violation.fault) for violation in check.violations]


@pytest.mark.parametrize(
    "text",
    ["a", "SKU-1", "wörter", "日本語", "a b", "x" * 64, "🛒", "order/2026#7", "'\";--"],
)
def test_ids_that_are_allowed(text: str):
    check = Checker(NOW_MS)
    assert check.identifier("sku", text, "sku_bytes_max") == text.encode()
    assert not check.violations


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (" a", Fault.FIELD_INVALID),
        ("a ", Fault.FIELD_INVALID),
        (" ", Fault.FIELD_INVALID),
        ("a\nb", Fault.FIELD_INVALID),
        ("a\0b", Fault.FIELD_INVALID),
        ("a\x7fb", Fault.FIELD_INVALID),
        ("a\u200bb", Fault.FIELD_INVALID),  # zero width space
        ("a\u202eb", Fault.FIELD_INVALID),  # right-to-left override
        ("a\u00a0b", Fault.FIELD_INVALID),  # no-break space
        ("\ud800", Fault.FIELD_INVALID),  # half of a surrogate pair
        ("x" * 65, Fault.LIMIT_EXCEEDED),
        ("é" * 33, Fault.LIMIT_EXCEEDED),  # 66 bytes of 33 characters
        ("", Fault.FIELD_REQUIRED),
    ],
)
def test_ids_that_are_not(text: str, fault: Fault):
    check = Checker(NOW_MS)
    check.identifier("lines[0].sku", text, "sku_bytes_max", required=True)
    assert faults(check) == [("lines[0].sku", fault)]
    assert check.violations[0].description.isprintable()


def test_an_optional_id_may_be_empty():
    check = Checker(NOW_MS)
    assert check.identifier("owner", "", "owner_bytes_max") == b""
    assert not check.violations


@given(st.text(max_size=80))
def test_accepted_ids_come_through_unchanged(text: str):
    check = Checker(NOW_MS)
    encoded = check.identifier("sku", text, "sku_bytes_max")
    if not check.violations:
        assert encoded.decode() == text
        assert len(encoded) <= 64


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (0, Fault.FIELD_INVALID),
        (-1, Fault.FIELD_INVALID),
        (-(2**63), Fault.FIELD_INVALID),
        (limits.quantity_max + 1, Fault.LIMIT_EXCEEDED),
        (2**63 - 1, Fault.LIMIT_EXCEEDED),
    ],
)
def test_quantities_that_are_refused(value: int, fault: Fault):
    check = Checker(NOW_MS)
    check.quantity("quantity", value)
    (violation,) = check.violations
    assert violation.fault is fault
    assert str(value) in violation.description
    if fault is Fault.LIMIT_EXCEEDED:
        assert (violation.limit, violation.maximum) == ("quantity_max", 1_000_000_000)


def test_a_change_of_nothing_is_refused():
    check = Checker(NOW_MS)
    check.change("delta", 0)
    check.change("delta", -limits.quantity_max)
    check.change("delta", -limits.quantity_max - 1)
    assert [violation.fault for violation in check.violations] == [
        Fault.FIELD_INVALID,
        Fault.LIMIT_EXCEEDED,
    ]


@pytest.mark.parametrize(
    ("seconds", "nanos", "milliseconds"),
    [(1, 0, 1000), (0, 1, 1), (0, 1_000_000, 1), (0, 1_000_001, 2), (2, 999_999_999, 3000)],
)
def test_durations_are_rounded_up(seconds: int, nanos: int, milliseconds: int):
    check = Checker(NOW_MS)
    told = check.milliseconds("ttl", Duration(seconds=seconds, nanos=nanos), "hold_ttl_ms_max")
    assert (told, check.violations) == (milliseconds, [])


@pytest.mark.parametrize(
    ("seconds", "nanos", "fault"),
    [
        (0, 0, Fault.FIELD_INVALID),
        (-1, 0, Fault.FIELD_INVALID),
        (1, -1, Fault.FIELD_INVALID),  # signs that differ are no duration
        (0, 1_000_000_000, Fault.FIELD_INVALID),
        (31 * 86_400, 0, Fault.LIMIT_EXCEEDED),
        (315_576_000_000, 0, Fault.LIMIT_EXCEEDED),
    ],
)
def test_durations_that_are_refused(seconds: int, nanos: int, fault: Fault):
    check = Checker(NOW_MS)
    check.milliseconds("ttl", Duration(seconds=seconds, nanos=nanos), "hold_ttl_ms_max", low=1)
    assert faults(check) == [("ttl", fault)]


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(0, 0), (-1, 0), (-62_135_596_800, 0), (1, -1), (1, 1_000_000_000)]
)
def test_times_that_can_not_be_meant(seconds: int, nanos: int):
    check = Checker(NOW_MS)
    check.time_ms("as_of_time", Timestamp(seconds=seconds, nanos=nanos))
    assert faults(check) == [("as_of_time", Fault.FIELD_INVALID)]


def test_the_last_moment_there_is():
    check = Checker(NOW_MS)
    last = Timestamp(seconds=253_402_300_799, nanos=999_999_999)
    assert check.time_ms("t", last) == time_ms_max
    check.epoch_ms("t", time_ms_max + 1)
    assert len(check.violations) == 1


def test_times_in_the_ledgers_past():
    check = Checker(NOW_MS)
    check.not_past("need_by_time", NOW_MS)
    check.not_past("need_by_time", 0)
    assert not check.violations
    check.not_past("need_by_time", NOW_MS - 1)
    assert faults(check) == [("need_by_time", Fault.FIELD_INVALID)]


@pytest.mark.parametrize("text", ["2026-03-02", "2024-02-29"])
def test_days(text: str):
    check = Checker(NOW_MS)
    assert check.day("date", text) == text.encode()
    assert not check.violations


@pytest.mark.parametrize("text", ["2026-02-30", "2026-3-2", "20260302", "2026-W10-1", "today", ""])
def test_days_that_are_none(text: str):
    check = Checker(NOW_MS)
    check.day("date", text)
    assert len(check.violations) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -90.1, 91.0])
def test_latitudes_that_are_none(value: float):
    check = Checker(NOW_MS)
    check.degrees("latitude", value, 90)
    assert faults(check) == [("latitude", Fault.FIELD_INVALID)]


def test_unknown_values_of_an_enum_name_the_known_ones():
    check = Checker(NOW_MS)
    known = {1: 10, 2: 20}
    assert check.enumerated("policy", 2, known, default=10) == 20
    assert check.enumerated("policy", 0, known, default=10) == 10
    check.enumerated("policy", 7, known, default=10)
    check.enumerated("bucket", 0, known, default=None)
    assert faults(check) == [
        ("policy", Fault.FIELD_INVALID),
        ("bucket", Fault.FIELD_REQUIRED),
    ]
    assert "known: 1, 2" in check.violations[0].description


def test_all_that_is_wrong_is_told_at_once():
    check = Checker(NOW_MS)
    check.quantity("lines[0].quantity", 0)
    check.count("lines", 101, "lines_per_reservation_max")
    with pytest.raises(Refused) as caught:
        check.refuse()
    assert "lines[0].quantity" in str(caught.value)
    assert "(and 1 more)" in str(caught.value)


@given(st.text())
def test_shown_values_are_short_and_on_one_line(text: str):
    assert shown(text).isprintable()
    assert len(shown(text)) <= 67
