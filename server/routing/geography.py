"""Where places are: centroids of US ZIP codes, and distances on the sphere.

There are 42,000 of them, and nothing is downloaded (`centroids`). In other countries a place has to
say its latitude and longitude.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.routing.centroids import Centroids, read

EARTH_KM = 6371.0088
"""Mean radius (IUGG)."""

_ZIP_DIGITS = 5


class Location(NamedTuple):
    """A point, in degrees, and its IANA time zone ("" where it is not known)."""

    latitude: float
    longitude: float
    time_zone: str


@lru_cache(maxsize=1 << 16)
def locate(country_code: str, postal_code: str) -> Location | None:
    """The centroid of a postal code; None where it is not known."""
    digits = postal_code[:_ZIP_DIGITS]
    if country_code not in ("", "US") or len(digits) < _ZIP_DIGITS or not _is_number(digits):
        return None
    if postal_code[_ZIP_DIGITS:] and not _is_plus_four(postal_code[_ZIP_DIGITS:]):
        return None
    known, code = _centroids(), int(digits)
    north = float(known.latitude[code])
    if isnan(north):
        return None
    zone = str(known.time_zones[known.time_zone[code]])
    return Location(north, float(known.longitude[code]), zone)


@cache
def _centroids() -> Centroids:
    return read()


def _is_plus_four(text: str) -> bool:
    digits = text.removeprefix("-")
    return len(digits) == 4 and _is_number(digits)


def _is_number(digits: str) -> bool:
    return digits.isascii() and digits.isdecimal()


def distances_km(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64], north: Any, east: Any
) -> NDArray[np.int64]:
    """Whole kilometres on the great circle from points in degrees to others, which are numbers or
    arrays that broadcast: `north` and `east`; 0 for NaN."""
    here_north, here_east = np.radians(latitude), np.radians(longitude)
    there_north, there_east = np.radians(north), np.radians(east)
    half = (
        np.sin((here_north - there_north) / 2) ** 2
        + np.cos(here_north) * np.cos(there_north) * np.sin((here_east - there_east) / 2) ** 2
    )
    arc = 2 * np.arcsin(np.sqrt(np.minimum(np.maximum(half, 0.0), 1.0)))
    whole: NDArray[np.int64] = np.nan_to_num(np.rint(EARTH_KM * arc)).astype(np.int64)
    return whole
