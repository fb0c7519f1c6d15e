"""The rounds, brought together: medians, spreads, and ratios of rounds that ran side by side."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.measure import Spread
from benchmarks.peers.driver import Round

UNIFORM, HOT = "uniform", "one hot SKU"
WORKLOADS = (UNIFORM, HOT)


@dataclass(slots=True)
class Results:
    """Every round of every contestant, by workload; index n of all of them ran side by side."""

    titles: dict[str, str] = field(default_factory=dict)
    described: dict[str, str] = field(default_factory=dict)
    rounds: dict[tuple[str, str], list[Round]] = field(default_factory=dict)

    def note(self, name: str, workload: str, round_: Round) -> None:
        """Keep one."""
        self.rounds.setdefault((name, workload), []).append(round_)

    def orders_per_second(self, name: str, workload: str) -> Spread:
        """Orders acknowledged a second, over the rounds."""
        return Spread.of([each.orders_per_second for each in self.rounds[name, workload]])

    def median(self, name: str, workload: str, number: str) -> float:
        """The median of one of a round's numbers."""
        return Spread.of([getattr(each, number) for each in self.rounds[name, workload]]).median

    def ratio(self, name: str, over: str, workload: str) -> Spread:
        """Throughput of one over that of another, round by round."""
        pairs = zip(self.rounds[name, workload], self.rounds[over, workload], strict=True)
        return Spread.of([one.orders_per_second / other.orders_per_second for one, other in pairs])

    def core_ratio(self, name: str, over: str, workload: str) -> Spread:
        """How many orders one makes of the processor time that one order takes the other."""
        pairs = zip(self.rounds[name, workload], self.rounds[over, workload], strict=True)
        return Spread.of([other.core_ms_per_order / one.core_ms_per_order for one, other in pairs])
