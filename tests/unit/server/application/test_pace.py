"""Long work gives way after every step, and rests after every stretch."""

from __future__ import annotations

import pytest

from server.application.pace import REST_SHARE, STRETCH_S, Pace


async def test_a_rest_comes_after_a_stretch_and_is_a_part_of_it() -> None:
    now = [100.0]
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(lambda: now[0], sleep)
    worked = 0.0
    for _ in range(1_000):
        now[0] += STRETCH_S / 3
        worked += STRETCH_S / 3
        await pace.turn()
    assert slept[:2] == [0, 0]
    assert slept[2] == pytest.approx(REST_SHARE * STRETCH_S)
    assert worked / (now[0] - 100.0) == pytest.approx(1 / (1 + REST_SHARE), rel=0.01)
