"""What each caller may have: requests a second, open holds, units of one SKU. From a TOML file.

::

    [default]                    # every caller that is not named below
    requests_per_second = 500

    [callers."spiffe://shop.example/checkout"]
    requests_per_second = 5000
    requests_burst = 10000       # at once, after a pause; otherwise one second's worth
    open_holds_max = 200000
    units_per_sku_max = 1000     # in open holds, over all nodes

A value that a caller's table leaves out is that of ``[default]``; 0 means no quota.

Callers: `server.lifecycle` reads the file, the transport asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from server.admission.settings_file import read_callers

_VALUE_MAX: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one caller may have; 0: as much as it likes."""

    requests_per_second: int = 0
    requests_burst: int = 0
    open_holds_max: int = 0
    units_per_sku_max: int = 0

    @property
    def counts_holds(self) -> bool:
        """Whether holds have to be counted."""
        return bool(self.open_holds_max or self.units_per_sku_max)


@dataclass(frozen=True, slots=True)
class Quotas:
    """The quota of every caller."""

    default: Quota = Quota()
    callers: Mapping[bytes, Quota] = field(default_factory=dict)

    def of(self, caller: bytes) -> Quota:
        """The quota of the caller of this name."""
        return self.callers.get(caller, self.default)

    @property
    def are_none(self) -> bool:
        """Whether nobody has a quota."""
        return not self.callers and self.default == Quota()


_KEYS: Final = tuple(item.name for item in fields(Quota))


def read_quotas(path: Path) -> Quotas:
    """The quotas in `path`. Raises FileRefused with every problem found."""
    return Quotas(*read_callers(path, Quota(), _quota))


def _quota(where: str, values: Any, base: Quota, problems: list[str]) -> Quota:
    if not isinstance(values, dict):
        problems.append(f"{where} must be a table")
        return base
    found: dict[str, int] = {}
    for key, value in values.items():
        if key not in _KEYS:
            problems.append(f"{where}.{key} is unknown; known: {', '.join(_KEYS)}")
        elif type(value) is not int or not 0 <= value <= _VALUE_MAX:
            problems.append(
                f"{where}.{key} = {value!r} is not allowed; allowed: a whole number, "
                f"0 to {_VALUE_MAX}"
            )
        else:
            found[key] = value
    if "requests_per_second" in found and "requests_burst" not in found:
        found["requests_burst"] = 0  # of its own rate, not of the default's
    return replace(base, **found)
