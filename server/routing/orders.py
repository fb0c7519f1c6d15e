"""An order as routing takes it: names resolved to numbers of a network version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.routing.items import ItemFacts
from server.routing.lanes import Destination

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order of L lines. Everything in it is checked; see `server.transport.codec.routing`."""

    skus: Sequence[str]
    items: Sequence[ItemFacts]
    quantities: Sequence[int]
    groups: Sequence[str] = ()
    """Name of the group each line is kept together in, "" for none; () for no groups at all."""
    channel: str = ""
    destination: Destination
    time_zone: str = ""
    """Of the destination; "" where it is not known: UTC."""
    deliver_by_ms: int | None = None
    late_cost_per_day: int | None = None
    """Minor units; None: not later than deliver_by_ms."""
    days_late_max: int = 0
    """0: any, where late_cost_per_day is given."""
    is_pickup: bool = False
    pickup_node: int | None = None
    ship_complete: bool = False
    shipments_max: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    excluded_nodes: Sequence[int] = ()
    excluded_services: Sequence[int] = ()

    @property
    def flags(self) -> frozenset[str]:
        """Flags of any of its items."""
        found: frozenset[str] = frozenset()
        for item in self.items:
            if item.flags:
                found |= item.flags
        return found

    def facts(self) -> dict[str, Any]:
        """What rules may ask about it."""
        units = list(zip(self.items, self.quantities, strict=True))
        return {
            "channel": self.channel,
            "country_code": self.destination.country_code,
            "postal_code": self.destination.postal_code,
            "value": sum(item.value * quantity for item, quantity in units),
            "weight_grams": sum(item.weight_g * quantity for item, quantity in units),
            "units": sum(self.quantities),
            "lines": len(self.quantities),
            "flags": sorted(self.flags),
            "attributes": dict(self.attributes),
            "pickup": self.is_pickup,
        }


@dataclass(frozen=True)
class Held:
    """What an order holds already and may use again when it is planned anew; negative: what it may
    not use although the ledger has it, because a wave gives it to others."""

    stock: Mapping[tuple[str, str], int]
    """Units by (node, SKU)."""
    pick: Mapping[tuple[str, int], int]
    """Units of pick capacity by (node, ordinal of the day)."""
    slots: Mapping[tuple[str, str], int]
    """Parcels by (node, slot)."""
    capacities_on: dict[Any, tuple[Integers, Integers]] = field(default_factory=dict, compare=False)
    """Its pick capacity and slots on a schedule, where it was worked out: a wave asks for them
    thousands of times. Kept by `server.routing.assembly`."""

    @cached_property
    def by_sku(self) -> Mapping[str, Sequence[tuple[str, int]]]:
        """(node, units) by SKU."""
        found: dict[str, list[tuple[str, int]]] = {}
        for (node, sku), units in self.stock.items():
            found.setdefault(sku, []).append((node, units))
        return found
