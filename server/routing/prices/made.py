"""The source of prices that settings ask for."""

from __future__ import annotations

from server.routing.prices.duals import DualOpportunity
from server.routing.prices.paced import PacedOpportunity
from server.routing.prices.source import PriceSettings, Source


def prices_of(settings: PriceSettings) -> PacedOpportunity | DualOpportunity:
    """Nobody asks them for anything where the mode is OFF."""
    if settings.source is Source.DUALS:
        return DualOpportunity(settings)
    return PacedOpportunity(settings)
