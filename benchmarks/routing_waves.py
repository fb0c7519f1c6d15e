"""How far a wave's answer is from the least there could be, within a budget of seconds.

Waves of `benchmarks.wave_orders`: 100, 1,000 and 5,000 orders over 50 nodes. The clock is this
process's processor time: on a machine that others use too it is what one core would take. The gap
is to the certified bound, which is what no answer can be below. Several waves of the two smaller
sizes; a figure is the median of them.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.core_budget import CoreBudget
from benchmarks.measure import Say, cores, pin
from benchmarks.wave_orders import wave_of
from engine.routing.waves.pool import NONE
from engine.routing.waves.solver import Progress, solve_wave

BUDGETS_S = {100: 2.0, 1_000: 10.0, 5_000: 60.0}
WAVES = {100: 5, 1_000: 3, 5_000: 1}


def run(say: Say) -> dict[str, float]:
    """Measure every size."""
    pin(cores()[-1] if cores() else None)
    # The solver's libraries load and the first wave is read before anything is timed.
    solve_wave(wave_of(20), CoreBudget(0.5))
    result = {}
    for orders, budget_s in BUDGETS_S.items():
        gaps = [100 * _gap(orders, budget_s, seed, say) for seed in range(1, 1 + WAVES[orders])]
        result[f"wave_gap_percent_{orders}"] = statistics.median(gaps)
    return result


def _gap(orders: int, budget_s: float, seed: int, say: Say) -> float:
    wave = wave_of(orders, seed)
    first: list[Progress] = []
    started = time.process_time()
    answer = solve_wave(
        wave,
        CoreBudget(budget_s),
        progress=lambda progress: first.append(progress) if not first else None,
    )
    taken_s = time.process_time() - started
    if answer.cost > answer.sequential_cost or any((wave.capacity - answer.taken) < 0):
        raise RuntimeError("a wave is above sequential routing, or over what there is")
    assert sum(plan.cost for plan in answer.plans if plan) <= answer.cost
    over = answer.sequential_cost / answer.bound - 1
    say(
        f"{orders:,} orders, seed {seed}: {answer.gap:.2%} above the bound in {taken_s:.1f} s; "
        f"first answer after {budget_s - first[0].left_s:.2f} s, {over:.1%} above; "
        f"{int((answer.chosen == NONE).sum())} left unrouted"
    )
    return answer.gap
