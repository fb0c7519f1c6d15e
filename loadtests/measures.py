"""Everything a run may measure: its name, what it means, how it is shown.

A scenario's bars name these; a test holds docs/load.md to them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """One of them."""

    meaning: str
    form: str = ",.0f"
    is_invariant: bool = False
    """True of any machine at any scale: judged at the small scale too."""

    def show(self, value: float | None) -> str:
        """For people."""
        return "not measured" if value is None else f"{value:{self.form}}"


MEASURES: dict[str, Measure] = {
    "capacity": Measure(
        "calls answered a second while callers wait for each other, measured first; multiples "
        "count from its journeys"
    ),
    "peak_goodput": Measure(
        "calls answered a second in phases of the role peak, where shoppers come by themselves as "
        "in the overload; where there is none, the capacity"
    ),
    "goodput_2x": Measure(
        "calls answered a second at 2 times the capacity, as a share of the peak; not measured "
        "where the generators could not make that many",
        ".3f",
    ),
    "goodput_5x": Measure("the same at 5 times", ".3f"),
    "goodput_10x": Measure("the same at 10 times", ".3f"),
    "goodput_baseline": Measure("calls answered a second in phases of the role baseline"),
    "offered_multiple_max": Measure(
        "the most journeys a second that really began, as a multiple of the capacity", ".1f"
    ),
    "admitted_p99_ms": Measure(
        "99th percentile of holds that were served in phases of the role overload (in all, where "
        "there is none), from the moment they were due, ms; the witness' where there is one",
        ",.1f",
    ),
    "generators_p99_ms": Measure(
        "the same of all generators: with their own slowness where they are busy all the time, ms",
        ",.1f",
    ),
    "baseline_p99_ms": Measure("the same in phases of the role baseline, ms", ",.1f"),
    "p99_growth": Measure("admitted_p99_ms as a multiple of baseline_p99_ms", ".2f"),
    "recovery_seconds": Measure(
        "from the end of the last overload until three seconds in a row look like the baseline: "
        "99 % served, p99 at most twice the baseline's or 50 ms",
        ".0f",
    ),
    "confirm_success": Measure(
        "confirms that succeeded in the end, as a share of those whose hold had not expired when "
        "they were first sent",
        ".5f",
    ),
    "overload_hold_success": Measure(
        "holds that the ledger answered in phases of the role overload, as a share", ".5f"
    ),
    "failed_calls_share": Measure(
        "calls that ended in an error other than a decision of the ledger, as a share of all", ".5f"
    ),
    "refusals_explained": Measure(
        "calls the server turned away that got a reason and a time to come back, as a share; what "
        "gRPC's core refuses carries nothing on the wire, and our client adds both",
        ".4f",
    ),
    "memory_growth_mib": Measure(
        "the server's resident memory at its greatest, over that before the first arrival, MiB",
        ",.0f",
    ),
    "drain_seconds": Measure("the longest a server took from SIGTERM to its end", ".2f"),
    "feed_rows": Measure("rows of feeds that were applied"),
    "expired_holds": Measure("holds the server let go because their time had passed"),
    "expiry_late_ms_max": Measure("the most a hold was overdue at any look, ms", ",.0f"),
    "sold_units": Measure("units of the hot SKU sold: committed in the ledger at the end"),
    "sold_share": Measure("the same as a share of the units there were", ".4f"),
    "generator_lag_p99_ms": Measure(
        "99th percentile of how late the generators began a journey, ms", ",.1f"
    ),
    "oversold_units": Measure("units promised beyond what there is", is_invariant=True),
    "unsold_while_refused": Measure(
        "holds refused for lack of stock while there was enough all the time", is_invariant=True
    ),
    "lost_acknowledgements": Measure(
        "answers the ledger does not know of, or knows otherwise", is_invariant=True
    ),
    "verification_faults": Measure(
        "what the live verification, the replayed journal and the state's own checks found wrong",
        is_invariant=True,
    ),
    "server_deaths": Measure("servers that ended and were not told to", is_invariant=True),
}
INVARIANTS = frozenset(name for name, measure in MEASURES.items() if measure.is_invariant)

RESULT_KEYS = (
    *("peak_goodput", "goodput_2x", "goodput_5x", "goodput_10x", "admitted_p99_ms"),
    *("recovery_seconds", "confirm_success", "oversold_units", "unsold_while_refused"),
    "lost_acknowledgements",
)
"""What the last line of a run says, besides the scenario's name."""
