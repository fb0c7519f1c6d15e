"""Capacities: what else is countable beside stock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """What `node` can handle on `date` (YYYY-MM-DD in the node's time zone)."""

    node: str
    date: str


@dataclass(frozen=True, slots=True)
class CarrierSlot:
    """The pickup `slot` of a carrier at `node`."""

    slot: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Capacity:
    """A capacity and its use, in units. `available` falls below 0 when it was set below its use."""

    quantity: int
    held: int
    committed: int
    available: int
    node_capacity: NodeCapacity | None = None
    carrier_slot: CarrierSlot | None = None


@dataclass(frozen=True, slots=True)
class ChannelFence:
    """Units of a position set aside for a channel, and their use."""

    channel: str
    sku: str
    node: str
    quantity: int
    held: int
    committed: int
    available: int


@dataclass(frozen=True, slots=True)
class PurchaseLimit:
    """Units of a SKU that one owner may have; None: no limit."""

    sku: str
    quantity: int | None
    revision: int
