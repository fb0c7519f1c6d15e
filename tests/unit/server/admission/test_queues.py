"""The file of queues and the secret: what they say, and every way in which they are refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from server.admission.queues import read_queues, read_secret
from server.admission.settings_file import FileRefused
from server.admission.waiting_line import LineSettings
from server.transport.place_tokens import PlaceToken, PlaceTokens


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "queues.toml"
    path.write_text(text)
    return path


def test_queues_take_over_what_they_do_not_say(tmp_path: Path):
    found = read_queues(
        written(
            tmp_path,
            """
            secret_file = "shared/secret"
            [default]
            turns_max = 50
            [queues.console]
            skus = ["CONSOLE-5", "CONSOLE-5-PRO"]
            turn_ms = 60000
            by_stock = false
            [queues.shoe]
            skus = ["SHOE"]
            """,
        )
    )
    assert found.secret_file == tmp_path / "shared/secret"
    assert found.queues["console"].skus == ("CONSOLE-5", "CONSOLE-5-PRO")
    assert found.queues["console"].line == LineSettings(
        turns_max=50, turn_ms=60_000, by_stock=False
    )
    assert found.queues["shoe"].line == LineSettings(turns_max=50)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[queues.a]", "skus = None"),
        ("[queues.a]\nskus = []", "skus = []"),
        ("[queues.a]\nskus = [1]", "1 to 1000 SKUs"),
        ("[queues.a]\nskus = ['x']\nturns_max = 0", "a whole number, 1 to 100000"),
        ("[queues.a]\nskus = ['x']\nturn_ms = 1.5", "a whole number, 1000 to 3600000"),
        ("[queues.a]\nskus = ['x']\nby_stock = 1", "true or false"),
        ("[queues.a]\nskus = ['x']\nturns = 1", "turns is unknown"),
        ("[queues.a]\nskus = ['x']\n[queues.b]\nskus = ['x']", "'x' is sold by the queues"),
        (f"[queues.{'a' * 33}]\nskus = ['x']", "1 to 32 bytes"),
        ("queue = 1", "queue is unknown"),
        ("secret_file = 1", "allowed: a path"),
        ("queues = 1", "must be a table"),
        ("[", "is not TOML"),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(tmp_path: Path, text: str, named: str):
    with pytest.raises(FileRefused) as caught:
        read_queues(written(tmp_path, text))
    assert named in str(caught.value)


def test_a_secret_is_made_once_and_for_nobody_else(tmp_path: Path):
    path = tmp_path / "data" / "queue-secret"
    with pytest.raises(FileRefused, match="can not be read"):
        read_secret(path, make=False)
    first = read_secret(path, make=True)
    assert len(first) == 64
    assert read_secret(path, make=True) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"short")
    with pytest.raises(FileRefused, match="5 bytes, at least 32"):
        read_secret(path, make=True)


def test_tokens_are_read_by_whoever_has_the_secret_and_the_ledger():
    tokens = PlaceTokens(b"s" * 32, "ledger-1")
    longest = PlaceToken("q" * 32, "ö" * 32, (1 << 62) + 5, 253_402_300_799_999)
    for token in (PlaceToken("q", "", 0, 0), longest):
        text = tokens.write(token)
        assert len(text) <= 256
        assert PlaceTokens(b"s" * 32, "ledger-1").read(text) == token
        assert PlaceTokens(b"t" * 32, "ledger-1").read(text) is None
        assert PlaceTokens(b"s" * 32, "ledger-2").read(text) is None
    assert tokens.reservation_id("q", 1) != tokens.reservation_id("q", 2)
    assert tokens.reservation_id("q", 1) != tokens.reservation_id("r", 1)


def test_no_changed_token_is_read():
    tokens = PlaceTokens(b"s" * 32, "ledger-1")
    text = tokens.write(PlaceToken("console", "cart-17", 1 << 41, 0))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for at in range(len(text) - 1):  # the last character has bits that mean nothing
        changed = alphabet[(alphabet.index(text[at]) + 1) % 64]
        assert tokens.read(text[:at] + changed + text[at + 1 :]) is None, at
    for other in ("", "A", text[:-4], text + "AAAA", "é" + text, text.replace("A", "*", 1)):
        assert tokens.read(other) is None
