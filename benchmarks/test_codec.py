"""The compiled codec of creates: bytes of a message to columns, outcomes to bytes of a reply."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.catalogue import Catalogue
from benchmarks.requests import Requests
from engine.machine import apply
from engine.state import State
from holdfast.v1 import reservation_service_pb2 as wire
from server.caller import Caller
from server.transport.decode import decode
from server.transport.encode import encode_results

pytestmark = pytest.mark.benchmark(group="codec", timer=time.thread_time)

ROWS = 1024


def test_decode_bulk(benchmark: Any, shop: Catalogue, per_command: Callable[[int], None]) -> None:
    message = Requests(shop).bulks(1, ROWS)[0]
    caller = Caller(b"shop")
    decoded = benchmark(decode, message, caller, 1, framed=True)
    per_command(ROWS)
    assert decoded.is_whole
    assert len(decoded.batch) == ROWS


def test_encode_bulk(
    benchmark: Any, state: State, shop: Catalogue, per_command: Callable[[int], None]
) -> None:
    decoded = decode(Requests(shop).bulks(1, ROWS)[0], Caller(b"shop"), 1, framed=True)
    answer = apply(state, 2, decoded.batch)
    encoded, _ = benchmark(encode_results, decoded, answer.rows, answer.details, 0)
    per_command(ROWS)
    assert len(wire.BulkCreateReservationsResponse.FromString(encoded).results) == ROWS
