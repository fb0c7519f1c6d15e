"""Rows kept narrow come back as they were; bytes that can not be rows are refused."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import commands
from engine.commands import HEADER, LINE, CommandBatch
from engine.narrow import narrow, widen

ROW_TYPES = {"header": HEADER, "line": LINE}


def _one_of(chance: np.random.Generator, values: list[int]) -> int:
    return values[int(chance.integers(0, len(values)))]


def _field(chance: np.random.Generator, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Values of one of the kinds that columns are made of."""
    span = np.iinfo(dtype)
    kind = chance.integers(0, 6)
    if kind == 0:
        return np.zeros(count, dtype)
    if kind == 1:  # all the same
        return np.full(count, _one_of(chance, [span.min, span.max, span.max // 3 + 1]), dtype)
    if kind == 2:  # anything, the ends of the type too
        values = chance.integers(span.min, span.max, count, dtype, endpoint=True)
        values[chance.integers(0, count)] = _one_of(chance, [span.min, span.max])
        return values
    near = _one_of(chance, [span.min, 0, span.max // 2, max(span.min, -130)])
    reach = _one_of(chance, [1, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32])
    high = min(near + reach, span.max)
    values = chance.integers(near, high, count, dtype, endpoint=True)
    values[0], values[-1] = near, high  # so that the spread is just this
    return values


def rows_of(chance: np.random.Generator, dtype: np.dtype[Any], count: int) -> NDArray[np.void]:
    rows = np.zeros(count, dtype)
    for name in dtype.names or ():
        rows[name] = _field(chance, rows[name].dtype, count)
    return rows


@pytest.mark.parametrize("kind", ROW_TYPES)
@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_rows_come_back_as_they_were(kind: str, count: int):
    for seed in range(60):
        chance = np.random.default_rng([seed, count])
        rows = rows_of(chance, ROW_TYPES[kind], count)
        before = b"x" * int(chance.integers(0, 9))
        kept = np.frombuffer(before + narrow(rows).tobytes() + b"after", np.uint8)
        again, end = widen(kept, len(before), count, rows.dtype)
        assert again.tobytes() == rows.tobytes(), f"seed {seed}"
        assert end == len(kept) - len(b"after"), f"seed {seed}"


def test_rows_that_lie_apart_in_memory_are_kept_too():
    rows = rows_of(np.random.default_rng(1), LINE, 40)[::2]
    again, _ = widen(narrow(rows), 0, 20, LINE)
    assert again.tobytes() == rows.tobytes()


def test_a_column_costs_what_its_values_need():
    """A byte of codes each; then the least value once, and the differences of all rows."""
    rows = np.zeros(1000, LINE)
    columns = len(LINE.names or ())
    assert len(narrow(rows)) == columns
    rows["quantity"] = 3
    assert len(narrow(rows)) == columns + 1
    rows["quantity"][0] = 258  # 255 more than the least
    assert len(narrow(rows)) == columns + 1 + 1000
    rows["quantity"][0] = 259
    assert len(narrow(rows)) == columns + 1 + 2000
    rows["sku_key"] = 2**64 - 1 - np.arange(1000, dtype=np.uint64)
    assert len(narrow(rows)) == columns + 1 + 2000 + 2 + 2000
    rows["sku_key"][5] = 2**63
    assert len(narrow(rows)) == columns + 1 + 2000 + 8000
    assert len(narrow(rows[:0])) == 0


@pytest.mark.parametrize("kind", ROW_TYPES)
def test_bytes_that_are_cut_off_are_refused(kind: str):
    rows = rows_of(np.random.default_rng(3), ROW_TYPES[kind], 5)
    kept = narrow(rows)
    for size in range(len(kept)):
        with pytest.raises(ValueError, match=f"{size} bytes do not hold 5 rows"):
            widen(kept[:size], 0, 5, rows.dtype)


@given(st.binary(max_size=200), st.integers(0, 40))
def test_no_bytes_are_read_beyond_their_end(buffer: bytes, count: int):
    """Whatever the bytes, they are rows or are refused."""
    try:
        rows, end = widen(np.frombuffer(buffer, np.uint8), 0, count, LINE)
    except ValueError:
        return
    assert len(rows) == count
    assert end <= len(buffer)


def test_more_rows_than_memory_may_hold_are_refused():
    with pytest.raises(ValueError, match="at most"):
        widen(np.zeros(100, np.uint8), 0, 2**31, LINE)


def test_rows_whose_fields_are_not_aligned_are_refused():
    with pytest.raises(ValueError, match="multiples"):
        narrow(np.zeros(1, np.dtype([("a", "u1"), ("b", "i8")])))


# --- Batches ----------------------------------------------------------------------------------


def _batch() -> CommandBatch:
    chance = np.random.default_rng(9)
    text = np.frombuffer(b"names one after another", np.uint8)
    return CommandBatch(rows_of(chance, HEADER, 6), rows_of(chance, LINE, 11), text)


def _same(one: CommandBatch, other: CommandBatch) -> bool:
    return all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        and getattr(one, name).dtype == getattr(other, name).dtype
        for name in ("headers", "lines", "text")
    )


def _as_format_1(batch: CommandBatch) -> bytes:
    sizes = struct.pack("<4sIIQ", b"HFB1", len(batch.headers), len(batch.lines), len(batch.text))
    return sizes + batch.headers.tobytes() + batch.lines.tobytes() + batch.text.tobytes()


@pytest.mark.parametrize("write", [CommandBatch.to_bytes, _as_format_1], ids=["now", "format 1"])
def test_a_batch_is_read_in_every_format(write: Any):
    empty = CommandBatch(np.zeros(0, HEADER), np.zeros(0, LINE), np.zeros(0, np.uint8))
    for batch in (_batch(), empty):
        again = CommandBatch.from_bytes(write(batch))
        assert _same(again, batch)
        assert again.headers.flags.writeable


@pytest.mark.parametrize("write", [CommandBatch.to_bytes, _as_format_1], ids=["now", "format 1"])
def test_a_batch_that_is_cut_off_or_longer_than_it_says_is_refused(write: Any):
    whole = write(_batch())
    for size in range(len(whole)):
        with pytest.raises(ValueError, match="command batch"):
            CommandBatch.from_bytes(whole[:size])
    with pytest.raises(ValueError, match=f"{len(whole) + 1} bytes, {len(whole)} declared"):
        CommandBatch.from_bytes(whole + b"x")


def test_an_unknown_format_is_named():
    with pytest.raises(ValueError, match=r"format b'HFB9', this version reads b'HFB2', b'HFB1'"):
        CommandBatch.from_bytes(b"HFB9" + _batch().to_bytes()[4:])


def test_a_hold_of_a_shop_takes_fewer_than_a_hundred_bytes():
    """1,024 holds of three lines: two words of its request, owner, three SKUs and three nodes by
    their keys, and the owner's name."""
    chance = np.random.default_rng(2)
    headers, lines = np.zeros(1024, HEADER), np.zeros(3072, LINE)
    headers["kind"], headers["fill_policy"] = commands.CREATE, commands.ALL_OR_NONE
    headers["line_count"], headers["ttl_ms"] = 3, 900_000
    headers["text_bytes"] = headers["owner_bytes"] = 12
    for name in ("request_hi", "request_lo", "owner_key"):
        headers[name] = chance.integers(0, 2**64, 1024, np.uint64)
    for name in ("sku_key", "node_key"):
        lines[name] = chance.integers(0, 2**64, 3072, np.uint64)
    lines["quantity"] = chance.integers(1, 4, 3072)
    lines["kind"], lines["policy"] = commands.AT_NODE, commands.ON_HAND
    batch = CommandBatch(headers, lines, np.zeros(1024 * 12, np.uint8))
    assert len(batch.to_bytes()) / 1024 < 88
    assert _same(CommandBatch.from_bytes(batch.to_bytes()), batch)
