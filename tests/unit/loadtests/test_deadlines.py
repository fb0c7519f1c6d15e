"""Every number is called once, soon after its deadline and never before."""

from __future__ import annotations

import asyncio
import random

import pytest

from loadtests.light.deadlines import _STEP_S, Deadlines
from tests.simulation.virtual_loop import run_virtual


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_is_due_once_and_not_before_its_time(seed: int) -> None:
    chance = random.Random(seed)

    async def main() -> dict[int, tuple[float, float]]:
        loop = asyncio.get_running_loop()
        wanted: dict[int, float] = {}
        found: dict[int, tuple[float, float]] = {}

        def on_due(number: int) -> None:
            assert number not in found
            found[number] = (wanted[number], loop.time())

        deadlines = Deadlines(loop, on_due)
        for number in range(500):
            added_s = loop.time()
            # Some are due already, and there are times in which nothing is under way.
            deadline = added_s + chance.choice([-0.01, 0.0, 0.001, 0.5, 1.0])
            wanted[number] = max(deadline, added_s)
            deadlines.add(number, deadline)
            await asyncio.sleep(chance.choice([0, 0, 0.0005, 0.01, 3.0]))
        await asyncio.sleep(2)
        return found

    found = run_virtual(main())
    assert len(found) == 500
    for wanted_s, due_s in found.values():
        assert 0 <= due_s - wanted_s <= 2 * _STEP_S + 1e-9


def test_nothing_is_set_while_nothing_is_under_way() -> None:
    async def main() -> int:
        looks = 0
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(loop, lambda number: None)
        deadlines.add(1, loop.time() + 0.1)
        await asyncio.sleep(1)
        look = deadlines._look

        def counted() -> None:
            nonlocal looks
            looks += 1
            look()

        deadlines._look = counted  # type: ignore[method-assign]
        await asyncio.sleep(10)
        return looks

    assert run_virtual(main()) == 0
