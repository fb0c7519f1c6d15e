"""Routing: orders, plans and explanations. Money in minor units of `currency_code`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.codec import WireEnum
from holdfast.errors import HoldfastError
from holdfast.values.network import Place
from holdfast.values.reservations import Reservation


class RoutingStrategy(WireEnum):
    """How a plan is found."""

    UNSPECIFIED = "UNSPECIFIED"
    EXACT = "EXACT"
    NEAREST = "NEAREST"
    PRIORITY = "PRIORITY"
    FEWEST_SPLITS = "FEWEST_SPLITS"


class FulfillmentType(WireEnum):
    """How the customer gets a shipment."""

    UNSPECIFIED = "UNSPECIFIED"
    DELIVERY = "DELIVERY"
    SHIP_FROM_STORE = "SHIP_FROM_STORE"
    PICKUP = "PICKUP"


class PlanStatus(WireEnum):
    """What the solver can say of a plan."""

    UNSPECIFIED = "UNSPECIFIED"
    OPTIMAL = "OPTIMAL"
    FEASIBLE = "FEASIBLE"
    HEURISTIC = "HEURISTIC"
    WAVE = "WAVE"


class WaveSource(WireEnum):
    """Where the answer of a wave is from: a solver that finished, one that was interrupted, or one
    order after another."""

    UNSPECIFIED = "UNSPECIFIED"
    SOLVER = "SOLVER"
    INTERRUPTED = "INTERRUPTED"
    SEQUENTIAL = "SEQUENTIAL"


class NotChosenReason(WireEnum):
    """Why a node or service is not in a plan; UNSPECIFIED: it is."""

    UNSPECIFIED = "UNSPECIFIED"
    NO_STOCK = "NO_STOCK"
    CAPACITY = "CAPACITY"
    CUTOFF_PASSED = "CUTOFF_PASSED"
    RULE = "RULE"
    DOMINATED = "DOMINATED"
    COST = "COST"
    NO_LANE = "NO_LANE"
    NOT_CARRIED = "NOT_CARRIED"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class RoutingLine:
    """Units of a SKU; lines of the same group ship from one node, whole."""

    sku: str
    quantity: int
    keep_together_group: str = ""


@dataclass(frozen=True, slots=True)
class RoutingOrder:
    """An order to be routed. `destination` may be left out where the customer collects."""

    lines: tuple[RoutingLine, ...]
    destination: Place | None = None
    reservation_id: str = ""
    owner: str = ""
    channel: str = ""
    deliver_by_time: datetime | None = None
    late_cost_per_day_minor_units: int | None = None
    days_late_max: int = 0
    fulfillment_type: FulfillmentType = FulfillmentType.UNSPECIFIED
    pickup_node: str = ""
    ship_complete: bool = False
    shipments_max: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    excluded_nodes: tuple[str, ...] = ()
    excluded_carrier_services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CostTerms:
    """What the parts of a cost are; they add up to it."""

    parcels_minor_units: int
    co2e_minor_units: int
    handling_minor_units: int
    opportunity_minor_units: int
    service_minor_units: int
    lateness_minor_units: int
    split_minor_units: int


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """Units of an order's line in a shipment or parcel."""

    line: int
    sku: str
    quantity: int
    reservation_line: int


@dataclass(frozen=True, slots=True)
class PlannedParcel:
    """One parcel."""

    lines: tuple[PlannedLine, ...]
    charged_weight_grams: int
    rate_minor_units: int
    co2e_grams: int


@dataclass(frozen=True, slots=True)
class DeliveryWindow:
    """When it arrives: by `end_time` with the probability, in parts per million."""

    start_time: datetime | None
    end_time: datetime | None
    probability_ppm: int


@dataclass(frozen=True, slots=True)
class PlannedShipment:
    """What one node ships."""

    node: str
    fulfillment_type: FulfillmentType
    carrier: str
    carrier_service: str
    zone: str
    distance_km: int
    lines: tuple[PlannedLine, ...]
    parcels: tuple[PlannedParcel, ...]
    pick_date: str
    ready_time: datetime | None
    slot: str
    delivery_window: DeliveryWindow
    days_late: int
    cost_minor_units: int


@dataclass(frozen=True, slots=True)
class FulfillmentPlan:
    """One way to ship an order."""

    shipments: tuple[PlannedShipment, ...]
    cost_minor_units: int
    cost_terms: CostTerms
    co2e_grams: int
    delivery_window: DeliveryWindow


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What a rule did."""

    rule: str
    action: str
    reason: str


class OpportunityMode(WireEnum):
    """What opportunity prices do."""

    UNSPECIFIED = "UNSPECIFIED"
    SHADOW = "SHADOW"
    ON = "ON"


@dataclass(frozen=True, slots=True)
class OpportunityReport:
    """What opportunity prices said of an order. `other_nodes`: where the plans with and without
    them differ, those of the plan not given."""

    mode: OpportunityMode
    changes_plan: bool
    dearer_minor_units: int
    other_nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SolverReport:
    """How an answer is to be read: what is proven, and by which solver and network."""

    status: PlanStatus
    proven_optimal: bool
    bound_minor_units: int
    gap_ppm: int
    steps: int
    solve_nanoseconds: int
    solver_version: str
    network_version: int
    seed: int
    opportunity: OpportunityReport | None = None


@dataclass(frozen=True, slots=True)
class Plans:
    """Ranked plans of an order; nothing is held."""

    plans: tuple[FulfillmentPlan, ...]
    currency_code: str
    report: SolverReport
    pareto_plans: tuple[FulfillmentPlan, ...]
    rule_outcomes: tuple[RuleOutcome, ...]
    hold_for_review: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Promise:
    """A plan, and the reservation that holds it."""

    plan: FulfillmentPlan
    currency_code: str
    report: SolverReport
    reservation: Reservation
    rule_outcomes: tuple[RuleOutcome, ...]
    hold_for_review: bool
    replans: int
    revision: int


@dataclass(frozen=True, slots=True)
class ServiceExplanation:
    """Of one service at one node; without a forced cost it can not be used."""

    carrier_service: str
    chosen: bool
    reason: NotChosenReason
    rule: str
    forced_cost_minor_units: int | None


@dataclass(frozen=True, slots=True)
class NodeExplanation:
    """Of one node; without a forced cost no plan uses it."""

    node: str
    chosen: bool
    reason: NotChosenReason
    rule: str
    forced_cost_minor_units: int | None
    distance_km: int
    services: tuple[ServiceExplanation, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan, and what is to be said of the nodes and services that are not in it."""

    plan: FulfillmentPlan
    currency_code: str
    report: SolverReport
    nodes: tuple[NodeExplanation, ...]
    rule_outcomes: tuple[RuleOutcome, ...]
    replayed: bool
    planned_revision: int
    plan_time: datetime | None
    revision: int


@dataclass(frozen=True, slots=True)
class WaveProgress:
    """How far a wave is. Costs are 0 until there is an answer, the bound until one is known."""

    phase: str
    orders: int
    orders_planned: int
    cost_minor_units: int
    bound_minor_units: int
    gap_ppm: int
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class WaveOrderResult:
    """What became of one order of a wave."""

    order: int
    """Its place: new orders as they were given, then `reservation_ids`, then those found."""
    reservation_id: str
    plan: FulfillmentPlan | None
    """None where it has none, and where a promised order stays as it is."""
    error: HoldfastError | None
    """Why it has no plan, or no hold. Not raised."""
    rule_outcomes: tuple[RuleOutcome, ...]
    hold_for_review: bool
    held: bool
    kept: bool
    """A promised order that stays as it is, because moving it saves too little."""
    replans: int
    previous_cost_minor_units: int
    previous_shipments: int
    revision: int


@dataclass(frozen=True, slots=True)
class WaveSummary:
    """What became of a wave; costs in minor units of `currency_code`."""

    orders: int
    orders_planned: int
    orders_held: int
    orders_moved: int
    shipments: int
    cost_minor_units: int
    cost_terms: CostTerms
    currency_code: str
    status: PlanStatus
    source: WaveSource
    wave_cost_minor_units: int
    bound_minor_units: int
    gap_ppm: int
    sequential_cost_minor_units: int
    left_cost_minor_units: int
    orders_later: int
    conflicts: int
    saving_minor_units: int
    shipments_saved: int
    deterministic: bool
    seed: int
    elapsed_ms: int
    holding_ms: int
    solver_version: str
    network_version: int
    planned_revision: int


@dataclass(frozen=True, slots=True)
class WavePlans:
    """The answer to a wave."""

    results: tuple[WaveOrderResult, ...]
    summary: WaveSummary
    request_id: str
    """What makes its holds repeatable."""
