"""What a wave is asked for: settings and orders of PlanOrders, held against their limits."""

from __future__ import annotations

from dataclasses import dataclass

from engine import limits
from engine.routing import limits as solver
from holdfast.v1 import routing_service_pb2 as messages
from server.routing import limits as routing
from server.transport.validation import Checker


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveAsked:
    """Settings that are right."""

    request_id: bytes = b""
    budget_ms: int = routing.wave_budget_ms_default
    work_ms: int = 0
    """0: as much as the budget allows."""
    hold: bool = False
    ttl_ms: int = limits.hold_ttl_ms_default
    seed: int = 0
    interval_ms: int = routing.progress_interval_ms_default
    gap_enough: float = 0.0
    saving_min: int = 1
    """Minor units."""


def settings_of(settings: messages.WaveSettings, now_ms: int) -> WaveAsked:
    """Raises Refused naming every field that is wrong."""
    check = Checker(now_ms)
    path = "settings."
    request_id = check.identifier(
        f"{path}request_id",
        settings.request_id,
        "wave_request_id_bytes_max",
        maximum=routing.wave_request_id_bytes_max,
    )
    spans = {"budget": routing.wave_budget_ms_default, "work": 0}
    for name in spans:
        if settings.HasField(name):  # type: ignore[arg-type]
            spans[name] = check.milliseconds(
                f"{path}{name}",
                getattr(settings, name),
                "wave_budget_ms_max",
                low=1,
                maximum=routing.wave_budget_ms_max,
            )
    interval_ms = routing.progress_interval_ms_default
    if settings.HasField("progress_interval"):
        interval_ms = check.milliseconds(
            f"{path}progress_interval",
            settings.progress_interval,
            "progress_interval_ms_max",
            low=routing.progress_interval_ms_min,
            maximum=routing.progress_interval_ms_max,
        )
    ttl_ms = limits.hold_ttl_ms_default
    if settings.HasField("ttl"):
        ttl_ms = check.milliseconds(f"{path}ttl", settings.ttl, "hold_ttl_ms_max", low=1)
    check.whole(f"{path}gap_enough_ppm", settings.gap_enough_ppm, "ppm_max")
    check.whole(f"{path}saving_min_minor_units", settings.saving_min_minor_units, "money_minor_max")
    check.refuse()
    return WaveAsked(
        request_id=request_id,
        budget_ms=spans["budget"],
        work_ms=spans["work"],
        hold=settings.hold,
        ttl_ms=ttl_ms,
        seed=settings.seed,
        interval_ms=interval_ms,
        gap_enough=settings.gap_enough_ppm / 1e6,
        saving_min=max(1, settings.saving_min_minor_units),
    )


def check_count(orders: int) -> None:
    """Raises Refused for more orders than a wave may have."""
    if orders > solver.orders_per_wave_max:
        check = Checker(0)
        check.beyond(
            "orders", f"{orders} orders", "orders_per_wave_max", solver.orders_per_wave_max
        )
        check.refuse()


def check_promised(check: Checker, orders: messages.WaveOrders, *, known: set[str]) -> None:
    """Names of promised orders, nodes and services. `known`: reservation_ids sent before, to which
    these are added."""
    for index, name in enumerate(orders.reservation_ids):
        field = f"orders.reservation_ids[{index}]"
        check.identifier(field, name, "reservation_id_bytes_max", required=True)
        if name in known:
            check.invalid(field, name, "is in the wave already")
        known.add(name)
    check.count(
        "orders.replan_nodes", len(orders.replan_nodes), "node_group_nodes_max", required=False
    )
    services = orders.replan_carrier_services
    if len(services) > routing.excluded_services_max:
        check.beyond(
            "orders.replan_carrier_services",
            f"{len(services)} entries",
            "excluded_services_max",
            routing.excluded_services_max,
        )
    for field, names, limit in (
        ("replan_nodes", orders.replan_nodes, "node_bytes_max"),
        ("replan_carrier_services", services, "carrier_bytes_max"),
    ):
        for index, name in enumerate(names):
            check.identifier(f"orders.{field}[{index}]", name, limit, required=True)
