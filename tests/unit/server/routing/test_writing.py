"""What the kernels write without protobuf is what protobuf and Python write."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int64Value

from server.routing.kernels.writing import midnight, put_day
from server.wire_fields import close, put_moment, put_number

_DAYS = (1, 59, 60, 365, 366, 146_097, date(1970, 1, 1).toordinal(), date.max.toordinal())
_RECENT = range(date(1999, 12, 1).toordinal(), date(2101, 4, 1).toordinal())


def test_days_are_written_as_python_writes_them() -> None:
    out = np.zeros(12, np.uint8)
    for day in (*_DAYS, *range(1, date.max.toordinal(), 2_503), *_RECENT):
        assert put_day(out, 1, day) == 11
        assert out[1:11].tobytes().decode() == date.fromordinal(day).isoformat()
    assert (out[0], out[11]) == (0, 0)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 1 << 31, (1 << 56) - 1, (1 << 63) - 1])
def test_numbers_are_written_as_protobuf_writes_them(value: int) -> None:
    out = np.zeros(16, np.uint8)
    end = put_number(out, 0, 8, value)
    assert out[:end].tobytes() == Int64Value(value=value).SerializeToString()


@pytest.mark.parametrize("time_ms", [0, 1, 999, 1_000, 1_792_000_000_123, 253_402_300_799_999])
def test_moments_are_written_as_protobuf_writes_them(time_ms: int) -> None:
    out = np.zeros(24, np.uint8)
    end = put_moment(out, 0, 10, time_ms)
    made = Timestamp(seconds=time_ms // 1000, nanos=time_ms % 1000 * 1_000_000)
    body = made.SerializeToString()
    assert out[:end].tobytes() == bytes([10, len(body)]) + body


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_a_message_moves_where_its_length_takes_more_bytes(size: int) -> None:
    out = np.zeros(size + 8, np.uint8)
    out[1 : 1 + size] = np.arange(size) % 251
    body = out[1 : 1 + size].tobytes()
    end = close(out, 0, 1 + size)
    width = max(1, -(-size.bit_length() // 7))
    length = sum((out[at].item() & 127) << 7 * at for at in range(width))
    assert (length, end) == (size, size + width)
    assert out[width:end].tobytes() == body


def test_only_days_that_are_known_have_a_beginning() -> None:
    midnights = np.array([738_000, 10, 20, 30], np.int64)
    days = range(737_998, 738_005)
    assert [midnight(midnights, day) for day in days] == [-1, -1, 10, 20, 30, -1, -1]
