"""What all sources of opportunity prices have in common, and how they are chosen."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.routing.plan import Plan
from engine.routing.prices.decide import Mode
from engine.state import State
from server.routing.assembly import Assembly

Integers = NDArray[np.int64]


class Source(enum.StrEnum):
    """Where prices are from."""

    PACE = "PACE"
    """How fast each position sells (`engine.routing.prices.pacing`)."""
    DUALS = "DUALS"
    """Dual prices of what came (`engine.routing.prices.duals`)."""


@dataclass(frozen=True, slots=True)
class PriceSettings:
    """How prices are used."""

    mode: Mode
    scale: int
    """Minor units that no price goes above."""
    period_ms: int
    """Between two replenishments."""
    source: Source = Source.PACE

    def begin_ms(self, time_ms: int) -> int:
        """When the period of a moment began."""
        return time_ms - time_ms % self.period_ms


class OpportunityPrices(Protocol):
    """The prices of this process, on the state as it stands."""

    @property
    def mode(self) -> Mode:
        """What they do."""
        ...

    def refresh(
        self, state: State, documents_version: int, now_ms: int, *, follows: bool = False
    ) -> None:
        """Make them those of this state, for orders to be planned on it. O(documents) for another
        state, O(1) for one that was read already.

        `follows`: the state is one that another process writes; then what its documents have more
        than when they were read last is all that is read, if it is the same state still.
        """
        ...

    def costs(self, assembly: Assembly) -> Integers:
        """(K, L) what a unit costs more than at the cheapest node of its line, minor units."""
        ...

    def took(
        self, state: State, documents_version: int, assembly: Assembly, plan: Plan, name: str
    ) -> None:
        """A plan is held, and its decision kept under this name. Prices that are still to be
        worked out for this state will know of it from there."""
        ...
