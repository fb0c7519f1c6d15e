"""A problem that cannot be posed: which field, and what is wrong with it.

`ProblemError` is a ValueError. A problem that can be posed but has no feasible plan is not an
error: it is an answer (`engine.routing.infeasible`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class ProblemError(ValueError):
    """A field of a problem or a tariff is not what it must be."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


def whole(
    field: str,
    values: Any,
    *,
    shape: tuple[int, ...] | None = None,
    dimensions: int = 1,
    least: int = 0,
    most: int = 1 << 60,
) -> NDArray[np.int64]:
    """`values` as whole numbers of the given shape within bounds, or ProblemError saying where not.

    Fractions and NaN are refused rather than rounded.
    """
    array = np.asarray(values)
    if array.dtype.kind == "f":
        broken = ~np.isfinite(array) | (array != np.floor(array))
        if broken.any():
            raise ProblemError(field, f"is {array[broken][0]} at {_place(broken)}, not whole")
    elif array.dtype.kind not in "iub":
        raise ProblemError(field, f"holds {array.dtype}, not whole numbers")
    if shape is not None and array.shape != shape:
        raise ProblemError(field, f"has the shape {array.shape}, not {shape}")
    if shape is None and array.ndim != dimensions:
        raise ProblemError(field, f"has {array.ndim} dimensions, not {dimensions}")
    outside = (array < least) | (array > most)
    if outside.any():
        raise ProblemError(
            field, f"is {array[outside][0]} at {_place(outside)}, not from {least} to {most}"
        )
    return np.asarray(array, dtype=np.int64, order="C")


def _place(where: NDArray[np.bool_]) -> str:
    return str(tuple(int(index) for index in np.argwhere(where)[0]))
