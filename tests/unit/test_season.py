"""The simulated season: no policy is below the bound, and the page shows what was measured."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmarks.season.on_server import horizon
from benchmarks.season.page import plot, table
from benchmarks.season.policies import Pacer, Resolver, Stock, clairvoyant, one_by_one
from benchmarks.season.run import (
    MYOPIC,
    PACED,
    PACED_PERCENT,
    RESOLVED,
    SETTINGS,
    Mean,
    Season,
    simulate,
)
from benchmarks.season.settings import replica
from engine.routing.solver import Solver
from engine.routing.tariff import Integers
from engine.routing.waves.warmup import warm_up
from engine.routing.waves.wave import Wave
from server.routing.prices.source import Source


@pytest.fixture(scope="module")
def season() -> Season:
    warm_up()
    small = replace(SETTINGS[0], orders=60, stock=1.5)
    return simulate(small, 2, lambda line: None)


def test_no_policy_is_below_the_bound_and_each_routes_every_order(season: Season) -> None:
    for name, outcomes in season.outcomes.items():
        for outcome, bound in zip(outcomes, season.bounds, strict=True):
            assert outcome.cost >= bound, name
            assert outcome.orders == 60
    assert all(seen >= bound for seen, bound in zip(season.seen, season.bounds, strict=True))


def test_the_same_seed_is_the_same_season(season: Season) -> None:
    again = season.setting.make(1, orders=60, stock=1.5)
    assert one_by_one(again) == season.outcomes[MYOPIC][0]
    scale = season.setting.scale * PACED_PERCENT // 100
    pacer = Pacer(again, scale=scale, evenness=season.setting.evenness)
    assert one_by_one(again, costs=pacer.costs, took=pacer.took) == season.outcomes[PACED][0]
    resolver = Resolver(again, scale=season.setting.scale)
    assert one_by_one(again, costs=resolver.costs) == season.outcomes[RESOLVED][0]
    assert clairvoyant(again, 4.0).bound <= season.bounds[0]


def test_no_price_knows_an_order_before_it_comes(season: Season) -> None:
    wave = season.setting.make(1, orders=120, stock=0.8)
    coming = 80
    other = replace(wave, orders=wave.orders[:coming] + wave.orders[:40])

    def told(of: Wave, prices: Pacer | Resolver) -> list[bytes]:
        seen = []

        def costs(order: int, stock: Stock) -> Integers:
            due = prices.costs(order, stock)
            if order < coming:
                seen.append(due.tobytes())
            return due

        took = prices.took if isinstance(prices, Pacer) else lambda order, plan, stock: None
        one_by_one(of, costs=costs, took=took)
        return seen

    scale, evenness = season.setting.scale, season.setting.evenness
    paced, resolved = (
        [told(of, made(of)) for of in (wave, other)]
        for made in (
            lambda of: Pacer(of, scale=scale, evenness=evenness),
            lambda of: Resolver(of, scale=scale),
        )
    )
    for one, same in (paced, resolved):
        assert one == same
        assert any(any(due) for due in one)


def test_a_plan_of_what_is_not_there_is_an_error(season: Season) -> None:
    wave = season.setting.make(1, orders=60, stock=1.5)
    plan = Solver().solve(wave.orders[0].problem).plans[0]
    stock = Stock(wave)
    stock.free[:] = 0
    with pytest.raises(RuntimeError, match="order 0 took what was not there"):
        stock.take(0, plan)


def test_a_mean_has_its_confidence_interval() -> None:
    mean = Mean.of([1.0, 2.0, 3.0])
    # Student's 4.30 with two degrees of freedom, times a deviation of 1 over the root of 3.
    assert (mean.value, mean.half) == (2.0, pytest.approx(4.30 / 3**0.5))


def test_the_page_shows_every_policy(season: Season) -> None:
    rows = "\n".join(table(season))
    drawing = ElementTree.fromstring(plot([season, season]))
    shown = " ".join(drawing.itertext())
    for name in season.outcomes:
        assert f"| {name} |" in rows
        assert name == MYOPIC or name in shown


def test_a_server_without_prices_plans_as_the_season_does() -> None:
    wave = replica(3, orders=130, stock=1.2)
    plain, _ = horizon(SETTINGS[0], wave, None)
    assert plain == one_by_one(wave)
    # And with them it keeps to what there is, and is told what its solves took.
    for source, solves in ((Source.PACE, 0), (Source.DUALS, 3)):
        outcome, taken = horizon(SETTINGS[0], wave, source)
        assert (outcome.orders, len(taken.solves_s)) == (130, solves)
        assert outcome.cost != plain.cost
