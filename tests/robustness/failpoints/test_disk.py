"""What is left after a power cut is what was synced, and any part of the rest."""

from __future__ import annotations

import random

from tests.robustness.failpoints.disk import AppendedFile, Image

SEEDS = range(200)


def after(image: Image, seed: int) -> bytes:
    return image.after_power_cut(random.Random(seed))


def test_what_was_synced_is_always_there() -> None:
    image = Image()
    image.write(0, b"a" * 1_000)
    image.write(500, b"b" * 1_000)
    image.synced()
    image.write(2_000, b"c" * 1_000)
    for seed in SEEDS:
        assert after(image, seed)[:1_500] == b"a" * 500 + b"b" * 1_000


def test_what_was_not_synced_is_lost_kept_or_torn() -> None:
    image = Image()
    image.write(0, b"a" * 1_024)
    image.synced()
    image.write(0, b"b" * 1_024)
    left = {after(image, seed) for seed in SEEDS}
    assert left == {b"a" * 1_024, b"b" * 512 + b"a" * 512, b"b" * 1_024}


def test_later_writes_may_arrive_without_earlier_ones() -> None:
    image = Image(bytearray(b"..."))
    for place, letter in enumerate((b"x", b"y")):
        image.write(place, letter * 512)
    assert any(
        left[:1] == b"." and left[1:2] == b"y" for left in (after(image, seed) for seed in SEEDS)
    )


def test_a_sync_that_failed_leaves_its_pages_clean_and_not_written() -> None:
    image = Image()
    image.write(0, b"a" * 512)
    image.synced()
    image.write(0, b"b" * 512)
    image.sync_failed()
    image.write(512, b"c" * 512)
    image.synced()  # writes only what was written since
    for seed in SEEDS:
        assert after(image, seed) == b"a" * 512 + b"c" * 512


def test_a_file_may_be_cut_short_and_stretched() -> None:
    image = Image()
    image.write(0, b"abcdef")
    image.truncate(3)
    image.truncate(5)
    image.synced()
    assert after(image, 1) == b"abc\0\0"


def test_a_file_that_only_grows_keeps_what_was_synced_and_some_of_the_rest() -> None:
    file = AppendedFile(4)
    left = {file.after_power_cut(b"synced", random.Random(seed)) for seed in SEEDS}
    assert left == {b"sync", b"synce", b"synced"}
