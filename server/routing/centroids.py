"""The centroids of US ZIP codes as columns, kept ready on disk.

They come with the package ``zipcodes``, whose file takes a second and a half to read: too long for
each start of a server. What was read is therefore kept beside the compiled kernels, by the
package's version; where nothing can be written, each start reads the package's own.
"""

from __future__ import annotations

import contextlib
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from engine.compiled import KEPT_IN

CODES = 100_000
"""ZIP codes there may be: five digits."""


class Centroids(NamedTuple):
    """By ZIP code as a number, `[CODES]` each."""

    latitude: NDArray[np.float64]
    """Degrees; NaN where there is no centroid."""
    longitude: NDArray[np.float64]
    time_zone: NDArray[np.uint8]
    """A place in `time_zones`."""
    time_zones: NDArray[np.str_]
    """IANA names; "" where it is not known."""


def read(kept_in: Path = KEPT_IN) -> Centroids:
    """From what is kept in a folder; else from the package, and kept for the next time."""
    path = kept_in / f"zipcodes-{version('zipcodes')}.npz"
    try:
        with path.open("rb") as file, np.load(file) as kept:
            return Centroids(**{name: kept[name] for name in Centroids._fields})
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        pass  # a file that is not there, or not whole, is made anew
    made = _from_package()
    with contextlib.suppress(OSError):
        _keep(made, path)
    return made


def _from_package() -> Centroids:
    import zipcodes  # a second of its own, that most starts need not

    every: list[dict[str, Any]] = zipcodes.list_all()
    zones = sorted({"", *(one["timezone"] for one in every)})
    made = Centroids(
        np.full(CODES, np.nan), np.full(CODES, np.nan), np.zeros(CODES, np.uint8), np.array(zones)
    )
    for one in every:
        code, north, east = int(one["zip_code"]), float(one["lat"]), float(one["long"])
        # Some have no centroid, and say zero for it; of those named twice the first counts.
        if (north or east) and np.isnan(made.latitude[code]):
            made.latitude[code], made.longitude[code] = north, east
            made.time_zone[code] = zones.index(one["timezone"])
    return made


def _keep(made: Centroids, path: Path) -> None:
    """Whole or not at all: several may start at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.npz")
    try:
        np.savez_compressed(beside, allow_pickle=False, **made._asdict())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
