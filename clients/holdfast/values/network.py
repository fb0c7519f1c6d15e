"""Network: nodes, items, carriers, channels and routing rules. An upsert replaces the whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.codec import WireEnum
from holdfast.values.inventory import RowError


class NodeType(WireEnum):
    """What kind of place a node is."""

    UNSPECIFIED = "UNSPECIFIED"
    WAREHOUSE = "WAREHOUSE"
    STORE = "STORE"
    DARK_STORE = "DARK_STORE"
    THIRD_PARTY = "THIRD_PARTY"


class NodeStatus(WireEnum):
    """Whether a node takes new reservations."""

    UNSPECIFIED = "UNSPECIFIED"
    ACTIVE = "ACTIVE"
    FROZEN = "FROZEN"
    INACTIVE = "INACTIVE"


class Weekday(WireEnum):
    """A day of the week."""

    UNSPECIFIED = "UNSPECIFIED"
    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in whole minor units (cents) of an ISO 4217 currency."""

    minor_units: int
    currency_code: str


@dataclass(frozen=True, slots=True)
class Place:
    """A place on earth; latitude and longitude in degrees, from the postal code where None."""

    country_code: str = ""
    postal_code: str = ""
    latitude: float | None = None
    longitude: float | None = None
    time_zone: str = ""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days work is done; `holidays` as YYYY-MM-DD."""

    working_days: tuple[Weekday, ...] = ()
    holidays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A place that ships."""

    node: str
    display_name: str = ""
    type: NodeType = NodeType.UNSPECIFIED
    place: Place | None = None
    priority: int = 0
    status: NodeStatus = NodeStatus.UNSPECIFIED
    calendar: Calendar | None = None
    cutoff_minute: int | None = None
    processing_time: timedelta | None = None
    parcel_handling_cost: Money | None = None
    unit_handling_cost: Money | None = None
    pick_capacity_per_day: int | None = None
    reliability_ppm: int | None = None
    pickup: bool = False
    flags: tuple[str, ...] = ()
    etag: int = 0


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that a line may be taken from, first choice first."""

    node_group: str
    nodes: tuple[str, ...] = ()
    display_name: str = ""
    etag: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """What is sold; weight in grams, sizes in millimetres, 0 where not known."""

    sku: str
    display_name: str = ""
    weight_grams: int = 0
    length_mm: int = 0
    width_mm: int = 0
    height_mm: int = 0
    value: Money | None = None
    flags: tuple[str, ...] = ()
    purchase_limit: int | None = None
    etag: int = 0


@dataclass(frozen=True, slots=True)
class Carrier:
    """Who brings parcels."""

    carrier: str
    display_name: str = ""
    inactive: bool = False
    etag: int = 0


@dataclass(frozen=True, slots=True)
class Lane:
    """Which zone of a service leads from here to there."""

    zone: str = ""
    origin_country_code: str = ""
    origin_postal_prefix: str = ""
    destination_country_code: str = ""
    destination_postal_prefix: str = ""
    distance_km_max: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """Price of a parcel by zone and weight."""

    zone: str
    weight_grams_max: int
    price_minor_units: int


@dataclass(frozen=True, slots=True)
class Transit:
    """Time on the road by zone, in working days."""

    zone: str
    days_min: int
    days_max: int
    reliability_ppm: int | None = None


@dataclass(frozen=True, slots=True)
class Surcharge:
    """What is added to the price of a parcel."""

    display_name: str
    flag: str = ""
    zone: str = ""
    amount_minor_units: int = 0
    share_ppm: int = 0


@dataclass(frozen=True, slots=True)
class Pickup:
    """When a carrier calls at a node; `minute` of the node's day."""

    node: str
    minute: int
    days: tuple[Weekday, ...] = ()
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class CarrierService:
    """One way a carrier brings parcels."""

    carrier_service: str
    carrier: str
    currency_code: str
    display_name: str = ""
    lanes: tuple[Lane, ...] = ()
    rates: tuple[Rate, ...] = ()
    transits: tuple[Transit, ...] = ()
    surcharges: tuple[Surcharge, ...] = ()
    pickups: tuple[Pickup, ...] = ()
    dimensional_divisor: int = 0
    parcel_weight_grams_max: int = 0
    parcel_length_mm_max: int = 0
    refused_flags: tuple[str, ...] = ()
    calendar: Calendar | None = None
    reliability_ppm: int | None = None
    co2e_grams_per_parcel: int = 0
    co2e_milligrams_per_kg_km: int = 0
    inactive: bool = False
    etag: int = 0


@dataclass(frozen=True, slots=True)
class Channel:
    """A sales channel; neither nodes nor node groups: it sells from every node."""

    channel: str
    display_name: str = ""
    nodes: tuple[str, ...] = ()
    node_groups: tuple[str, ...] = ()
    delivery_time_max: timedelta | None = None
    etag: int = 0


@dataclass(frozen=True, slots=True)
class RoutingRules:
    """Rules of routing, in one YAML text."""

    routing_rules: str
    yaml: str
    inactive: bool = False
    version: int = 0
    create_time: datetime | None = None
    etag: int = 0


@dataclass(frozen=True, slots=True)
class BatchUpsert:
    """What a batch of upserts did: good rows are applied, bad ones reported by index from 0."""

    applied_rows: int
    errors: tuple[RowError, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class FrozenNode:
    """A node after freezing, and the reservations that still have units to ship there."""

    node: Node
    open_reservations: int
    revision: int
