"""The file of quotas: what it says, and every way in which it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.admission.quotas import Quota, Quotas, read_quotas
from server.admission.settings_file import FileRefused


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "quotas.toml"
    path.write_text(text)
    return path


def test_callers_take_over_what_they_do_not_say(tmp_path: Path) -> None:
    quotas = read_quotas(
        written(
            tmp_path,
            """
            [default]
            requests_per_second = 100
            requests_burst = 300
            open_holds_max = 50

            [callers."spiffe://shop.example/checkout"]
            requests_per_second = 2000
            open_holds_max = 0

            [callers.feed]
            units_per_sku_max = 7
            """,
        )
    )
    assert quotas.of(b"stranger") == Quota(
        requests_per_second=100, requests_burst=300, open_holds_max=50
    )
    # Its own rate, and so not the default's burst.
    assert quotas.of(b"spiffe://shop.example/checkout") == Quota(requests_per_second=2000)
    assert quotas.of(b"feed") == Quota(
        requests_per_second=100, requests_burst=300, open_holds_max=50, units_per_sku_max=7
    )
    assert not quotas.are_none


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert read_quotas(written(tmp_path, "")).are_none
    assert Quotas().of(b"anyone") == Quota()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[defaults]\n", "defaults is unknown"),
        ("[default]\nrequests = 1\n", "default.requests is unknown; known: requests_per_second"),
        ("[default]\nopen_holds_max = -1\n", "default.open_holds_max = -1 is not allowed"),
        ("[default]\nopen_holds_max = 1.5\n", "default.open_holds_max = 1.5 is not allowed"),
        ("[default]\nopen_holds_max = true\n", "default.open_holds_max = True is not allowed"),
        ("default = 3\n", "default must be a table"),
        ("callers = 3\n", "callers must be a table of tables"),
        ("[callers]\nshop = 3\n", 'callers."shop" must be a table'),
        ("[callers.shop]\nunits_per_sku_max = 2000000000\n", "2000000000 is not allowed"),
        ("[default\n", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FileRefused) as caught:
        read_quotas(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "[default]\na = 1\nopen_holds_max = -1\n[callers.x]\nb = 2\n")
    with pytest.raises(FileRefused) as caught:
        read_quotas(path)
    assert len(str(caught.value).splitlines()) == 3


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="can not be read"):
        read_quotas(tmp_path / "none.toml")
