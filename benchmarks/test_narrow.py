"""Commands to the bytes of a journal record and back: narrow rows, and what they cost with the
record's checksum beside rows as they lie in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from benchmarks.catalogue import Catalogue
from benchmarks.requests import Requests
from engine.commands import CommandBatch
from server.caller import Caller
from server.transport.decode import decode

pytestmark = pytest.mark.benchmark(group="narrow", timer=time.thread_time)


@pytest.fixture(params=[1, 16, 1024])
def batch(request: pytest.FixtureRequest, shop: Catalogue) -> CommandBatch:
    """Creates of three lines."""
    message = Requests(shop).bulks(1, request.param)[0]
    return decode(message, Caller(b""), 1, framed=True).batch


def _as_in_memory(batch: CommandBatch) -> bytes:
    return b"".join((batch.headers.data, batch.lines.data, batch.text.data))


@pytest.mark.parametrize("write", [CommandBatch.to_bytes, _as_in_memory], ids=["narrow", "wide"])
def test_write_and_checksum(
    benchmark: Any, batch: CommandBatch, write: Any, per_command: Callable[[int], None]
) -> None:
    kept = write(batch)
    benchmark(lambda: sha256(write(batch)).digest())
    per_command(len(batch))
    benchmark.extra_info["bytes_per_command"] = len(kept) / len(batch)


def test_read(benchmark: Any, batch: CommandBatch, per_command: Callable[[int], None]) -> None:
    kept = batch.to_bytes()
    again = benchmark(CommandBatch.from_bytes, kept)
    per_command(len(batch))
    assert again.lines.tobytes() == batch.lines.tobytes()
