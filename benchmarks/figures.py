"""The figures there are, what each should reach, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One key of the result. `target` 0: it has no target of its own."""

    key: str
    benchmark: str
    meaning: str
    target: float = 0.0
    at_most: bool = False
    form: str = ",.0f"
    is_in_result: bool = True
    """Whether it is one of the keys of the JSON line; the others are only in the table."""

    def is_reached(self, value: float) -> bool:
        """Whether `value` is good enough."""
        return value <= self.target if self.at_most else value >= self.target

    def shown_target(self) -> str:
        """Such as ``>= 1,000,000``."""
        if not self.target:
            return "-"
        return f"{'<=' if self.at_most else '>='} {self.target:{self.form}}"

    def verdict(self, value: float | None) -> str:
        """In a word."""
        if value is None:
            return "not measured"
        if not self.target:
            return ""
        return "reached" if self.is_reached(value) else "NOT REACHED"


FIGURES = (
    Figure(
        "engine_reservations_per_second",
        "engine_columns",
        "three-line creates a second of one core, columns of 10,000, warm memory",
        1_000_000,
    ),
    Figure(
        "engine_single_us",
        "engine_single",
        "one three-line create through the Python call, us",
        6.0,
        at_most=True,
        form=".2f",
    ),
    Figure(
        "unary_over_empty_ratio",
        "unary",
        "CreateReservation, journaled: throughput over that of an empty call",
        0.70,
        form=".2f",
    ),
    Figure(
        "unary_core_ratio",
        "unary",
        "the same, by the server's processor time a call: an empty call's over a create's",
        0.70,
        form=".2f",
        is_in_result=False,
    ),
    Figure(
        "unary_p99_over_empty_ratio",
        "unary",
        "the same at half load: p99 over that of an empty call",
        3.0,
        at_most=True,
        form=".2f",
    ),
    Figure(
        "bulk_holds_per_second",
        "bulk",
        "BulkCreateReservations of 1,024 three-line holds, journaled: holds a second",
        300_000,
    ),
    Figure(
        "bulk_holds_per_second_one_core",
        "bulk",
        "the same with the server kept on one core",
        is_in_result=False,
    ),
    Figure(
        "bulk_holds_per_second_memory_not_claimed",
        "bulk",
        "the same without --claim-memory: each hold goes to memory that is new",
        is_in_result=False,
    ),
    Figure("load_rows_per_second", "load_rows", "holdfast load: stock rows a second", 200_000),
    Figure(
        "memory_total_gib",
        "memory",
        "the process with 10,000,000 positions and 1,000,000 open holds, GiB",
        3.0,
        at_most=True,
        form=".2f",
        is_in_result=False,
    ),
    Figure(
        "hot_sku_ratio",
        "hot_sku",
        "an operation on a SKU with 100,000 open holds over one on a SKU with none",
        1.1,
        at_most=True,
        form=".2f",
        is_in_result=False,
    ),
    Figure(
        "verify_slice_ms_max",
        "verify",
        "the longest slice of a verification of 1M positions and 1M open holds, ms",
        5.0,
        at_most=True,
        form=".2f",
        is_in_result=False,
    ),
    Figure(
        "verify_core_seconds",
        "verify",
        "processor time of that verification, seconds",
        form=".2f",
        is_in_result=False,
    ),
    Figure("bytes_per_position", "memory", "memory of a position", form=",.0f"),
    Figure("bytes_per_open_hold", "memory", "memory of an open three-line hold", form=",.0f"),
    Figure(
        "restart_seconds_1m",
        "restart",
        "kill -9 to SERVING with 1M positions and 1M open holds, seconds",
        10.0,
        at_most=True,
        form=".1f",
    ),
    Figure(
        "takeover_seconds_1m",
        "takeover",
        "kill -9 to the standby's first answer with 1M positions and 1M open holds, seconds",
        2.0,
        at_most=True,
        form=".2f",
        is_in_result=False,
    ),
    Figure(
        "handover_seconds_1m",
        "takeover",
        "the same from SIGTERM: the drained server gives its journal up",
        2.0,
        at_most=True,
        form=".2f",
        is_in_result=False,
    ),
    Figure(
        "snapshot_pause_ms",
        "snapshot_pause",
        "longest work in one go of the writer during a snapshot of 1M positions and holds, ms",
        5.0,
        at_most=True,
        form=".2f",
        is_in_result=False,
    ),
    *(
        Figure(
            f"plan_us_{share}_{nodes}",
            "routing",
            f"one order over {nodes} nodes planned, arrays to arrays, us of one core, {share}",
            target,
            at_most=True,
            form=",.0f",
        )
        for nodes, share, target in (
            (80, "p50", 40),
            (80, "p99", 300),
            (200, "p50", 130),
            (200, "p99", 900),
        )
    ),
    Figure("proven_share_80", "routing", "of them proven optimal", 0.999, form=".4f"),
    Figure("proven_share_200", "routing", "the same over 200 nodes", 0.995, form=".4f"),
    Figure("speedup_vs_cpsat", "routing", "CP-SAT's time over ours, same orders, median", 100),
    *(
        Figure(
            f"{call}_over_create_{by}",
            "routing_calls",
            f"{method} over CreateReservation of the same lines: {what}",
            target,
            form=".2f",
            is_in_result=by == "ratio",
        )
        for call, method, target in (
            ("plan", "PlanFulfillment", 0.60),
            ("promise", "PromiseOrder", 0.45),
        )
        for by, what in (
            ("ratio", "throughput"),
            ("core_ratio", "by the server's processor time a call"),
        )
    ),
    Figure(
        "greedy_over_optimal_percent",
        "routing",
        "cost of nearest-first over the optimum, percent",
        form=".1f",
    ),
    *(
        Figure(
            f"wave_gap_percent_{orders}",
            "routing_waves",
            f"{orders:,} orders routed together in {seconds} s: cost over the bound, percent",
            target,
            at_most=True,
            form=".2f",
        )
        for orders, seconds, target in ((100, 2, 1.0), (1000, 10, 1.5), (5000, 60, 2.0))
    ),
    *(
        Figure(
            f"wave_first_answer_core_s_{orders}",
            "routing_wave_calls",
            f"{orders:,} orders over the wire: processor time to the first answer, s of {seconds}",
            seconds / 10,
            at_most=True,
            form=".2f",
        )
        for orders, seconds in ((1000, 10), (5000, 60))
    ),
    Figure(
        "season_saving_percent",
        "routing_season",
        "dual prices of what came: saving on the myopic optimum, percent",
        form=".2f",
    ),
    Figure(
        "clairvoyant_gap_closed_percent",
        "routing_season",
        "dual prices of what came: part of the gap to a clairvoyant closed, percent",
        60,
        form=".0f",
    ),
    *(
        Figure(
            f"overload_{limits}_{who}_{what}_{factor}x",
            "overload",
            f"{what} at {factor} times the capacity, {limits.replace('_', ' ')}, {who} callers",
            form=".0%",
            is_in_result=False,
        )
        for limits in ("limits", "settle", "no_limits")
        for who in ("foreign", "ours")
        for factor in (1, 2, 5, 10)
        for what in ("goodput", "confirms")
    ),
)


def table(measured: Mapping[str, float | None]) -> list[str]:
    """The figures that were asked for, in lines."""
    lines = [f"{'figure':<42} {'measured':>12} {'target':>14}"]
    for figure in FIGURES:
        if figure.key not in measured:
            continue
        value = measured[figure.key]
        shown = "-" if value is None else f"{value:{figure.form}}"
        lines.append(
            f"{figure.key:<42} {shown:>12} {figure.shown_target():>14}  {figure.verdict(value)}"
        )
    return lines
