"""Each constraint and each cost in an order that can be checked by hand (tests/routing/shapes)."""

from __future__ import annotations

import pytest

from engine.routing.problem import NO_LANE
from engine.routing.solver import Solver, Strategy
from engine.routing.tariff import Tariff
from tests.routing.shapes import TWO_CARRIERS, problem


@pytest.fixture(scope="module")
def solver() -> Solver:
    return Solver()


def test_one_shipment_where_one_node_has_it_all(solver: Solver) -> None:
    # 1.2 kg in one parcel is 7.00; two parcels of 600 g would be 10.00.
    answer = solver.solve(problem([[1, 1], [1, 0]]))
    assert (answer.cost, answer.amounts) == (700, ({0: {0: 1, 1: 1}},))
    assert answer.proven_optimal
    assert answer.bound == 700


def test_a_line_is_split_where_no_node_has_enough(solver: Solver) -> None:
    answer = solver.solve(problem([[2], [1]], quantity=3))
    assert (answer.cost, answer.amounts) == (1200, ({0: {0: 2}, 1: {0: 1}},))


def test_each_shipment_after_the_first_costs_the_split(solver: Solver) -> None:
    assert solver.solve(problem([[1, 0], [0, 1]], split_cost=30)).cost == 1030


def test_two_shipments_are_chosen_where_they_are_cheaper(solver: Solver) -> None:
    # Node 0 could send both for 7.00 and 9.00 of handling; apart it is 5.00 + 5.00 and 1.00 each.
    far = problem([[1, 1], [0, 1], [1, 0]], shipment_cost=[900, 100, 100])
    assert solver.solve(far).cost == 1200
    assert solver.solve(problem([[1, 1]], shipment_cost=900)).cost == 1600


def test_pick_capacity_moves_a_unit_elsewhere(solver: Solver) -> None:
    answer = solver.solve(problem([[1, 1], [1, 1]], pick_capacity=[1, 1]))
    assert answer.cost == 1000
    assert len(answer.amounts[0]) == 2


def test_handling_is_for_each_shipment_and_each_unit(solver: Solver) -> None:
    assert solver.solve(problem([[3]], quantity=3, shipment_cost=50, unit_cost=7)).cost == 771


def test_opportunity_cost_sends_it_from_where_stock_is_plenty(solver: Solver) -> None:
    answer = solver.solve(problem([[1], [1]], opportunity_cost=[[40], [0]]))
    assert answer.amounts == ({1: {0: 1}},)


def test_a_closed_node_ships_nothing(solver: Solver) -> None:
    answer = solver.solve(problem([[1], [1]], node_open=[0, 1]))
    assert answer.amounts == ({1: {0: 1}},)


def test_shipments_are_limited(solver: Solver) -> None:
    # Three nodes would be 0.10 each to handle; with two allowed, the dear node 3 has to help.
    stock = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]
    cost = [10, 10, 10, 600]
    assert solver.solve(problem(stock, shipment_cost=cost)).cost == 1530
    assert solver.solve(problem(stock, shipment_cost=cost, shipments_max=2)).cost == 1810


def test_lines_of_a_group_ship_together(solver: Solver) -> None:
    stock = [[1, 0], [0, 1], [1, 1]]
    cost = [0, 0, 900]
    assert solver.solve(problem(stock, shipment_cost=cost)).cost == 1000
    together = solver.solve(problem(stock, shipment_cost=cost, group=[0, 0]))
    assert (together.cost, set(together.amounts[0])) == (1600, {2})


def test_a_group_of_one_line_is_not_split(solver: Solver) -> None:
    stock, cost = [[1], [1], [2]], [0, 0, 900]
    assert solver.solve(problem(stock, quantity=2, shipment_cost=cost)).cost == 1000
    whole = solver.solve(problem(stock, quantity=2, shipment_cost=cost, group=[0]))
    assert (whole.cost, set(whole.amounts[0])) == (1600, {2})


def test_an_order_that_ships_complete_ships_from_one_node(solver: Solver) -> None:
    stock, cost = [[1, 0], [0, 1], [1, 1]], [0, 0, 900]
    answer = solver.solve(problem(stock, shipment_cost=cost, ship_complete=True))
    assert (answer.cost, set(answer.amounts[0])) == (1600, {2})


def test_the_cheaper_carrier_takes_each_weight(solver: Solver) -> None:
    light = solver.solve(problem([[1]], TWO_CARRIERS))
    heavy = solver.solve(problem([[5]], TWO_CARRIERS, quantity=5))
    assert (light.cost, light.plans[0].shipments[0].service) == (500, 0)
    assert (heavy.cost, heavy.plans[0].shipments[0].service) == (990, 1)


def test_a_late_parcel_costs_for_each_day(solver: Solver) -> None:
    # Four days where two were promised: 5.00 + 2 x 1.00, or 2 x 2.50; then express is cheaper.
    assert (
        solver.solve(problem([[1]], TWO_CARRIERS, promised_day=2, late_cost_per_day=100)).cost
        == 700
    )
    assert (
        solver.solve(problem([[1]], TWO_CARRIERS, promised_day=2, late_cost_per_day=250)).cost
        == 900
    )


def test_too_late_is_not_allowed(solver: Solver) -> None:
    answer = solver.solve(problem([[1]], TWO_CARRIERS, promised_day=2, days_late_max=1))
    assert (answer.cost, answer.plans[0].shipments[0].service) == (900, 1)


def test_a_later_pickup_is_a_later_parcel(solver: Solver) -> None:
    late = problem(
        [[1], [1]],
        promised_day=2,
        late_cost_per_day=30,
        ready_day=[[1], [0]],
        shipment_cost=[0, 20],
    )
    assert solver.solve(late).amounts == ({1: {0: 1}},)


def test_no_slot_no_lane_no_service(solver: Solver) -> None:
    for closed in (
        {"slots": [[0, 5]]},
        {"zone": [[NO_LANE, 0]]},
        {"service_open": [[0, 1]]},
        {"carried_by": [2]},
    ):
        answer = solver.solve(problem([[1]], TWO_CARRIERS, **closed))
        assert (answer.cost, answer.plans[0].shipments[0].service) == (900, 1), closed


def test_a_service_that_carries_one_line_only_does_not_get_both(solver: Solver) -> None:
    # The cheap service may not carry line 1: both together go express for 9.50.
    answer = solver.solve(problem([[1, 1]], TWO_CARRIERS, carried_by=[3, 2]))
    assert answer.cost == 950
    apart = problem([[1, 0], [0, 1]], TWO_CARRIERS, carried_by=[3, 2])
    assert solver.solve(apart).cost == 1400


def test_a_bulky_parcel_is_charged_by_volume() -> None:
    tariff = Tariff.of(
        step_g=[1000, 5000], rate=[[[500, 900]]], transit_days=[[1]], volume_divisor=[5000]
    )
    # 600 g, but 10 litres count as 2 kg.
    assert Solver().solve(problem([[1]], tariff)).cost == 500
    assert Solver().solve(problem([[1]], tariff, unit_volume_cm3=10_000)).cost == 900
    assert Solver().solve(problem([[1]], tariff, unit_volume_cm3=5_000)).cost == 500
    assert Solver().solve(problem([[1]], tariff, unit_volume_cm3=5_001)).cost == 900


def test_a_heavy_shipment_goes_in_several_parcels(solver: Solver) -> None:
    tariff = Tariff.of(step_g=[1000], rate=[[[500]]], transit_days=[[1]], parcels_max=[3])
    # 600 g each: one in a parcel. Three parcels are the most.
    three = solver.solve(problem([[3]], tariff, quantity=3))
    assert three.cost == 1500
    assert [parcel.units for parcel in three.plans[0].shipments[0].parcels] == [{0: 1}] * 3
    assert not solver.solve(problem([[4]], tariff, quantity=4)).costs
    # Every parcel needs a slot.
    assert not solver.solve(problem([[3]], tariff, quantity=3, slots=2)).costs


def test_the_heaviest_unit_is_packed_first(solver: Solver) -> None:
    tariff = Tariff.of(step_g=[1000], rate=[[[500]]], transit_days=[[1]], parcels_max=[2])
    answer = solver.solve(problem([[2, 2]], tariff, quantity=[2, 2], unit_weight_g=[300, 700]))
    parcels = answer.plans[0].shipments[0].parcels
    assert (answer.cost, [parcel.charged_g for parcel in parcels]) == (1000, [1000, 1000])


def test_co2e_has_its_price() -> None:
    tariff = Tariff.of(
        step_g=[1000],
        rate=[[[500]], [[520]]],
        transit_days=[[1], [1]],
        co2e_g=[[[900]], [[100]]],
        co2e_price_per_tonne=50_000,
    )
    # 900 g at 500.00 a tonne are 0.45, 100 g are 0.05: the dearer service wins.
    answer = Solver().solve(problem([[1]], tariff))
    assert (answer.cost, answer.plans[0].co2e_g) == (525, 100)
    assert answer.plans[0].terms() == {
        "parcels": 520,
        "co2e": 5,
        "handling": 0,
        "opportunity": 0,
        "service": 0,
        "lateness": 0,
        "split": 0,
    }


def test_a_cheaper_heavier_step_is_declared() -> None:
    tariff = Tariff.of(step_g=[1000, 2000], rate=[[[500, 400]]], transit_days=[[1]])
    assert Solver().solve(problem([[1]], tariff)).cost == 400


def test_plans_are_ranked_and_use_different_nodes(solver: Solver) -> None:
    order = problem([[1, 1], [1, 0], [0, 1]], shipment_cost=[10, 0, 0])
    answer = solver.solve(order, plans_max=4)
    assert answer.costs == (710, 1000, 1010, 1010)
    assert len({frozenset(one) for one in answer.amounts}) == 4


def test_rules_of_thumb_go_by_their_rule(solver: Solver) -> None:
    order = problem(
        [[1, 0], [1, 1], [0, 1]], distance=[1, 3, 2], priority=[3, 2, 1], shipment_cost=[0, 400, 0]
    )
    chosen = {one: set(solver.solve(order, strategy=one).amounts[0]) for one in Strategy}
    assert chosen == {
        Strategy.EXACT: {0, 2},
        Strategy.NEAREST: {0, 2},
        Strategy.PRIORITY: {1, 2},
        Strategy.FEWEST_SPLITS: {1},
    }


def test_a_rule_that_finds_nothing_falls_back(solver: Solver) -> None:
    # Nearest first would need three shipments where two are allowed.
    order = problem(
        [[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], distance=[1, 2, 3, 4], shipments_max=2
    )
    answer = solver.solve(order, strategy=Strategy.NEAREST)
    assert (set(answer.amounts[0]), answer.status.value) == ({2, 3}, "HEURISTIC")
