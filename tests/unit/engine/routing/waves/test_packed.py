"""Packed orders are the orders they were packed from, for kernels and for Python alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.wave_orders import wave_of
from engine.routing.waves.budget import WorkBudget
from engine.routing.waves.packed import PackedOrders, laid_out, numbers_of
from engine.routing.waves.solver import solve_wave
from engine.routing.waves.wave import Wave


@pytest.fixture(scope="module")
def wave() -> Wave:
    return wave_of(30, seed=3)


def packed(wave: Wave, **changes: Any) -> PackedOrders:
    laid = laid_out(wave.orders)
    fields: dict[str, Any] = {
        name: getattr(laid, name)
        for name in ("nodes", "lines", "node", "item", "unrouted_cost", "tariffs", "tariff")
    }
    fields["numbers"] = numbers_of(wave.orders)
    return PackedOrders(**(fields | changes))


def test_each_order_is_what_it_was(wave: Wave) -> None:
    orders = packed(wave)
    assert len(orders) == len(wave.orders)
    for one, other in zip(wave.orders, orders, strict=True):
        assert one.problem.tariff is other.problem.tariff
        assert one.unrouted_cost == other.unrouted_cost
        assert np.array_equal(one.node, other.node)
        assert np.array_equal(one.item, other.item)
        mine, theirs = one.problem.arrays._asdict(), other.problem.arrays._asdict()
        assert list(mine) == list(theirs)
        for name, array in mine.items():
            assert np.array_equal(array, theirs[name]), name
    assert orders[-1].unrouted_cost == wave.orders[-1].unrouted_cost
    assert [one.unrouted_cost for one in orders[3:6]] == [
        one.unrouted_cost for one in wave.orders[3:6]
    ]
    with pytest.raises(IndexError):
        orders[len(orders)]


def test_a_block_says_where_an_orders_own_view_looks(wave: Wave) -> None:
    orders = packed(wave)
    for block, order in zip(laid_out(orders).block, orders, strict=True):
        assert np.array_equal(block, order.problem.view.block.ravel())
    assert numbers_of(orders) is orders.numbers


def test_a_packed_wave_has_the_same_answer(wave: Wave) -> None:
    one, other = [
        solve_wave(each, WorkBudget(0.3), seed=5)
        for each in (wave, replace(wave, orders=packed(wave)))
    ]
    assert (one.cost, one.bound, one.work_s) == (other.cost, other.bound, other.work_s)
    assert one.plans == other.plans


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbers": np.zeros(5, np.int64)}, "numbers have 5"),
        ({"node": np.zeros(5, np.int64)}, "more or fewer nodes"),
        ({"item": np.zeros(5, np.int64)}, "more or fewer nodes or items"),
        ({"tariffs": ()}, "different services"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    wave: Wave, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        packed(wave, **changes)
