"""Every policy over every horizon, and what to say of it with how much confidence."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.measure import Say
from benchmarks.season.bound import clairvoyant_bound
from benchmarks.season.policies import (
    Outcome,
    Pacer,
    Resolver,
    clairvoyant,
    one_by_one,
    windows,
    with_duals,
)
from benchmarks.season.settings import replica, shop
from engine.routing.solver import Strategy
from engine.routing.waves.wave import Wave

WINDOW = 100
WINDOW_WORK_S = 0.4
CLAIRVOYANT_WORK_S = 4.0
PACED_PERCENT = 70
"""Of what shipping from elsewhere costs more: what no paced price goes above."""
MYOPIC = "cheapest"
PACED = "cheapest, paced prices"
PACED_WINDOWS = "windows of 100, paced prices"
RESOLVED = "cheapest, duals of what came"
RESOLVED_WINDOWS = "windows of 100, dual prices"

# Of Student's distribution, two-sided 95 %, by degrees of freedom; beyond them the normal's.
_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14)


@dataclass(frozen=True)
class Setting:
    """A network with its stock; `scale` of its prices, and `evenness` of the paced ones."""

    name: str
    make: Callable[..., Wave]
    orders: int
    stock: float
    scale: int
    """What shipping from elsewhere costs more at most, about, in minor units."""
    evenness: int
    minor_units: int
    """Of one unit of money."""
    is_plenty: bool = False


SETTINGS = (
    Setting("replica", replica, 1000, 1.2, 8000, 400, 1000),
    Setting("shop", shop, 600, 1.2, 300, 100, 100),
    Setting("replica, stock plenty", replica, 1000, 4.0, 8000, 400, 1000, is_plenty=True),
    Setting("shop, stock plenty", shop, 600, 4.0, 300, 100, 100, is_plenty=True),
)


@dataclass(frozen=True)
class Mean:
    """A mean with half the width of its 95 % confidence interval."""

    value: float
    half: float

    @staticmethod
    def of(values: Sequence[float]) -> Mean:
        """Of at least two values."""
        freedom = len(values) - 1
        factor = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else 1.96
        return Mean(
            statistics.fmean(values),
            factor * statistics.stdev(values) / math.sqrt(len(values)),
        )

    def show(self, form: str = ".1f") -> str:
        """Such as ``3.1 ± 0.4``."""
        return f"{self.value:{form}} ± {self.half:{form}}"


@dataclass
class Season:
    """Outcomes of a setting: by policy, horizon by horizon; what no policy can be below."""

    setting: Setting
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    bounds: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    """Cost of the clairvoyant's own answer."""

    def saving(self, policy: str) -> Mean:
        """Percent of the myopic optimum's cost."""
        pairs = zip(self.outcomes[policy], self.outcomes[MYOPIC], strict=True)
        return Mean.of([100 * (1 - one.cost / plain.cost) for one, plain in pairs])

    def closed(self, policy: str) -> Mean:
        """Percent of the gap between the myopic optimum and the clairvoyant's bound."""
        rows = zip(self.outcomes[policy], self.outcomes[MYOPIC], self.bounds, strict=True)
        return Mean.of(
            [100 * (plain.cost - one.cost) / (plain.cost - bound) for one, plain, bound in rows]
        )


def policies(setting: Setting, seed: int, wave: Wave) -> dict[str, Callable[[], Outcome]]:
    """What is compared in a setting."""

    def paced(horizon: float) -> Callable[[], Outcome]:
        def run() -> Outcome:
            pacer = _pacer(setting, wave, horizon)
            return one_by_one(wave, costs=pacer.costs, took=pacer.took)

        return run

    def resolved(horizon: float) -> Callable[[], Outcome]:
        def run() -> Outcome:
            return one_by_one(
                wave, costs=Resolver(wave, scale=setting.scale, horizon=horizon).costs
            )

        return run

    def other_orders() -> Wave:
        return setting.make(seed, orders=setting.orders, stock=setting.stock, forecast=True)

    def duals() -> Outcome:
        return with_duals(wave, clairvoyant(other_orders(), CLAIRVOYANT_WORK_S))

    def knowing_the_last() -> Outcome:
        prices = Resolver(wave, scale=setting.scale, before=other_orders())
        return one_by_one(wave, costs=prices.costs)

    found: dict[str, Callable[[], Outcome]] = {
        MYOPIC: lambda: one_by_one(wave),
        PACED: paced(1.0),
        "paced, told twice the horizon": paced(2.0),
        "paced, told half the horizon": paced(0.5),
        RESOLVED: resolved(1.0),
        "duals, told twice the horizon": resolved(2.0),
        "duals, told half the horizon": resolved(0.5),
    }
    if setting.is_plenty:
        return found
    return (
        {
            "nearest first": lambda: one_by_one(wave, strategy=Strategy.NEAREST),
            "fewest splits": lambda: one_by_one(wave, strategy=Strategy.FEWEST_SPLITS),
        }
        | found
        | {
            "duals, last horizon known": knowing_the_last,
            "cheapest, duals of a forecast": duals,
            f"windows of {WINDOW}": lambda: windows(wave, WINDOW, WINDOW_WORK_S),
            PACED_WINDOWS: lambda: windows(wave, WINDOW, WINDOW_WORK_S, _pacer(setting, wave, 1.0)),
            RESOLVED_WINDOWS: lambda: windows(
                wave, WINDOW, WINDOW_WORK_S, Resolver(wave, scale=setting.scale)
            ),
        }
    )


def _pacer(setting: Setting, wave: Wave, horizon: float) -> Pacer:
    scale = setting.scale * PACED_PERCENT // 100
    return Pacer(wave, scale=scale, evenness=setting.evenness, horizon=horizon)


def simulate(setting: Setting, seeds: int, say: Say) -> Season:
    """Horizons of seeds 1 to `seeds`."""
    season = Season(setting)
    for seed in range(1, seeds + 1):
        wave = setting.make(seed, orders=setting.orders, stock=setting.stock)
        if not setting.is_plenty:
            ahead = clairvoyant(wave, CLAIRVOYANT_WORK_S)
            season.bounds.append(clairvoyant_bound(wave, ahead))
            season.seen.append(ahead.cost)
        for name, run in policies(setting, seed, wave).items():
            season.outcomes.setdefault(name, []).append(run())
        paced, resolved = (
            1 - season.outcomes[policy][-1].cost / season.outcomes[MYOPIC][-1].cost
            for policy in (PACED, RESOLVED)
        )
        say(
            f"{setting.name}, seed {seed}: paced prices save {paced:.2%}, "
            f"duals of what came {resolved:.2%}"
        )
    return season
