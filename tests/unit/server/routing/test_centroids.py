"""The centroids of ZIP codes: what is kept is what the package says, and a bad file is no harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zipcodes

from server.routing import centroids
from server.routing.centroids import Centroids


@pytest.fixture(scope="module")
def read_first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Centroids]:
    """A folder where nothing was kept yet, and what was read there."""
    folder = tmp_path_factory.mktemp("kept") / "new"
    return folder, centroids.read(folder)


def test_what_is_kept_is_what_the_package_says(read_first: tuple[Path, Centroids]):
    folder, first = read_first
    again = centroids.read(folder)
    for before, after in zip(first, again, strict=True):
        np.testing.assert_array_equal(before, after)
    said: dict[int, tuple[float, float, str]] = {}
    for one in zipcodes.list_all():
        point = float(one["lat"]), float(one["long"])
        if any(point):
            said.setdefault(int(one["zip_code"]), (*point, one["timezone"]))
    rows = np.flatnonzero(~np.isnan(again.latitude))
    assert rows.tolist() == sorted(said)
    for row in rows.tolist():
        zone = again.time_zones[again.time_zone[row]]
        assert (again.latitude[row], again.longitude[row], zone) == said[row]


def test_it_is_kept_once_and_for_everyone(read_first: tuple[Path, Centroids]):
    folder, _ = read_first
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o044, "another user of the machine could not start from it"


def test_the_package_is_not_asked_again(
    read_first: tuple[Path, Centroids], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(zipcodes, "list_all", lambda: pytest.fail("the package was read"))
    centroids.read(read_first[0])


@pytest.mark.parametrize("spoil", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"no zip"])
def test_a_file_that_is_not_whole_is_made_anew(
    read_first: tuple[Path, Centroids], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil
):
    (file,) = read_first[0].iterdir()
    (tmp_path / file.name).write_bytes(spoil(file.read_bytes()))
    monkeypatch.setattr(centroids, "_from_package", lambda: read_first[1])
    assert centroids.read(tmp_path) is read_first[1]
    assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_where_nothing_can_be_written_it_is_read_all_the_same(
    read_first: tuple[Path, Centroids], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(centroids, "_from_package", lambda: read_first[1])
    assert centroids.read(tmp_path / "file") is read_first[1]
