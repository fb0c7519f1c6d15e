"""Ids sort by time and times go there and back."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.ids import made_id
from holdfast.times import from_timestamp, seconds_of, to_duration, to_timestamp

MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@given(st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 74) - 1))
def test_an_id_is_a_uuid_of_version_7_with_its_time(time_ms: int, random_bits: int):
    made = uuid.UUID(made_id(time_ms, random_bits))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == time_ms


def test_ids_sort_by_the_time_they_were_made():
    assert made_id(1_000, (1 << 74) - 1) < made_id(1_001, 0)


def test_ids_of_one_moment_differ():
    assert len({made_id(1_000) for _ in range(1_000)}) == 1_000


@given(MOMENTS)
def test_moments_go_there_and_back(moment: datetime):
    assert from_timestamp(to_timestamp(moment)) == moment


def test_moments_of_other_zones_become_utc():
    moment = datetime(2026, 3, 2, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    back = from_timestamp(to_timestamp(moment))
    assert back == moment
    assert back.tzinfo is UTC


@given(st.timedeltas(timedelta(days=-9_000), timedelta(days=9_000)))
def test_spans_go_there_and_back(span: timedelta):
    assert to_duration(span).ToTimedelta() == span


def test_spans_are_seconds_or_timedeltas():
    assert seconds_of(1.5) == 1.5
    assert seconds_of(timedelta(minutes=2)) == 120.0


@pytest.mark.parametrize("span", [float("nan"), float("inf"), -float("inf")])
def test_spans_that_are_no_number_are_refused(span: float):
    with pytest.raises(ValueError, match="finite"):
        to_duration(span)
