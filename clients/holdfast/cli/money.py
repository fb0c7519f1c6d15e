"""Money and shares as people read them."""

from __future__ import annotations

_PPM = 1_000_000


def money(minor_units: int | None, currency: str) -> str:
    """An amount; "" for None."""
    if minor_units is None:
        return ""
    sign = "-" if minor_units < 0 else ""
    whole, rest = divmod(abs(minor_units), 100)
    return f"{sign}{whole:,}.{rest:02d} {currency}"


def share(ppm: int) -> str:
    """Parts per million as per cent."""
    return f"{100 * ppm / _PPM:.2f} %"
