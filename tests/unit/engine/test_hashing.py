"""Keys of names and ids."""

from __future__ import annotations

import uuid

import pytest

from engine.hashing import key_of, wide_key_of
from engine.ids import made_id


def test_keys_differ_for_names_that_differ_a_little() -> None:
    names = [f"SKU-{number:06d}".encode() for number in range(20_000)]
    names += [b"", b"\0", b"\0\0", b"a", b"a\0", b"\0a", b"12345678", b"123456780", b"1234567"]
    assert len({key_of(name) for name in names}) == len(names)
    assert len({wide_key_of(name) for name in names}) == len(names)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 15, 16, 17, 63, 64])
def test_no_key_is_the_one_that_means_none(size: int) -> None:
    assert key_of(b"\0" * size) != 0
    assert wide_key_of(b"\0" * size) != (0, 0)


def test_made_ids_are_uuids_of_version_7_in_order_of_time() -> None:
    made = [made_id(1_760_000_000_000 + ms, 5) for ms in range(0, 3_000, 7)]
    assert made == sorted(made)
    for text in made:
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert str(parsed) == text


def test_made_ids_differ_by_revision_and_by_ledger() -> None:
    ids = {made_id(1, revision, seed) for revision in range(2_000) for seed in (0, 1, 99)}
    assert len(ids) == 6_000
