"""What carrier services charge, how long they take and what they emit: one table for all of them.

Owns: `Tariff`, made once for a version of the configuration and used by every order.

Invariants
1. All services share one grid of weight steps: a parcel of charged weight ``w`` pays the first step
   ``k`` with ``w <= step_g[k]``.
2. ``charge`` never falls with weight: whoever ships may declare more than a parcel weighs, so a
   cheaper heavier step replaces a dearer lighter one.
3. ``charge[s, z, k] == NO_RATE`` where service ``s`` does not carry that weight to zone ``z``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.routing import limits
from engine.routing.errors import ProblemError, whole

Integers = NDArray[np.int64]

NO_RATE: Final = 1 << 56
"""No such lane, or too heavy. Far above any cost, and small enough for a `@kernel` to add to."""

_GRAMS_PER_TONNE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Tariff:
    """Rates of S services over Z zones and K weight steps."""

    step_g: Integers
    """(K,) upper ends of the weight steps in grams, rising."""
    rate: Integers
    """(S, Z, K) money for one parcel, surcharges included, or NO_RATE."""
    co2e_g: Integers
    """(S, Z, K) grams of CO2 equivalent of one parcel."""
    charge: Integers
    """(S, Z, K) what a parcel counts for in the objective: rate and priced CO2e."""
    volume_divisor: Integers
    """(S,) cubic centimetres that count as a kilogram; 0: volume does not count."""
    parcels_max: Integers
    """(S,) parcels one shipment may have."""
    transit_days: Integers
    """(S, Z) days from pickup to delivery."""
    limit_step: Integers
    """(S, Z) heaviest step that is carried, -1 where none is."""
    limit_g: Integers
    """(S,) charged weight of the heaviest parcel the service takes to any zone."""

    @staticmethod
    def of(
        *,
        step_g: Any,
        rate: Any,
        transit_days: Any,
        co2e_g: Any = None,
        co2e_price_per_tonne: int = 0,
        volume_divisor: Any = None,
        parcels_max: Any = None,
    ) -> Tariff:
        """Check and derive. Raises ProblemError naming the field and index of what is wrong."""
        steps = whole("step_g", step_g, least=1, most=limits.weight_g_max)
        rates = whole("rate", rate, dimensions=3, least=0, most=NO_RATE)
        services, zones, count = rates.shape
        _sizes(services, zones, count)
        if steps.shape != (count,) or np.any(np.diff(steps) <= 0):
            raise ProblemError("step_g", "must rise and have one entry for each step of rate")
        dear = (rates > limits.cost_max) & (rates < NO_RATE)
        if dear.any():
            raise ProblemError("rate", f"is above {limits.cost_max} at {_first(dear)}")
        emitted = whole(
            "co2e_g", np.zeros_like(rates) if co2e_g is None else co2e_g, shape=rates.shape
        )
        if not 0 <= co2e_price_per_tonne <= limits.cost_max:
            raise ProblemError("co2e_price_per_tonne", "must not be negative")
        divisor = whole(
            "volume_divisor",
            np.zeros(services, np.int64) if volume_divisor is None else volume_divisor,
            shape=(services,),
        )
        parcels = whole(
            "parcels_max",
            np.ones(services, np.int64) if parcels_max is None else parcels_max,
            shape=(services,),
            least=1,
            most=limits.parcels_per_shipment_max,
        )
        days = whole("transit_days", transit_days, shape=(services, zones), most=10_000)
        carried = rates < NO_RATE
        priced = (emitted * co2e_price_per_tonne + _GRAMS_PER_TONNE // 2) // _GRAMS_PER_TONNE
        charge = np.where(carried, rates + priced, NO_RATE)
        # The cheapest of a step and all heavier ones: invariant 2.
        charge = np.minimum.accumulate(charge[:, :, ::-1], axis=2)[:, :, ::-1]
        last = np.where(carried.any(axis=2), count - 1 - np.argmax(carried[:, :, ::-1], axis=2), -1)
        limit_g = np.where(last.max(axis=1) >= 0, steps[last.max(axis=1)], 0)
        return Tariff(
            step_g=steps,
            rate=rates,
            co2e_g=emitted,
            charge=np.ascontiguousarray(charge),
            volume_divisor=divisor,
            parcels_max=parcels,
            transit_days=days,
            limit_step=last.astype(np.int64),
            limit_g=limit_g.astype(np.int64),
        )

    @property
    def services(self) -> int:
        """How many services there are."""
        return int(self.rate.shape[0])


def _sizes(services: int, zones: int, steps: int) -> None:
    for name, size, most in (
        ("services_max", services, limits.services_max),
        ("zones_max", zones, limits.zones_max),
        ("weight_steps_max", steps, limits.weight_steps_max),
    ):
        if not 1 <= size <= most:
            raise ProblemError("rate", f"has {size} of what {name} allows {most}")


def _first(where: NDArray[np.bool_]) -> str:
    return str(tuple(int(index) for index in np.argwhere(where)[0]))
