"""Whatever becomes of a solver, a wave has an answer in its time, and the next one a solver."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.wave_orders import wave_of
from engine.routing.plan import Status
from engine.routing.waves.answer import WaveAnswer
from engine.routing.waves.solver import IN_TURN
from engine.routing.waves.warmup import warm_up
from engine.routing.waves.wave import Wave
from server.application.solver_messages import HEAD, job_frame, numbers_of, wave_of_job
from server.application.solver_pool import PoolFullError, PoolLimits, SolverPool, Source, Told
from tests.unit.server.application import solver_with_faults as faults

COMMAND = (sys.executable, str(Path(faults.__file__)))
BUDGET_S = 1.5
"""For a solver that does not answer."""
PLENTY_S = 90.0
"""For one that does: it stops as soon as its answer is good enough."""
ENOUGH = 0.03


@pytest.fixture(scope="module")
def wave() -> Wave:
    warm_up()
    return wave_of(30)


def told(wave: Wave, fault: int) -> Wave:
    """The same wave with a fault for the solver."""
    first = replace(wave.orders[0], unrouted_cost=fault)
    return replace(wave, orders=(first, *wave.orders[1:]))


@pytest.fixture
async def pool() -> AsyncIterator[SolverPool]:
    made = SolverPool(PoolLimits(jobs_per_solver_max=3, waiting_max=2), command=COMMAND)
    await made.start()
    await made.ready()
    yield made
    await made.close()


def is_sound(answer: WaveAnswer) -> bool:
    """Its plans cost what it says, and take no more than there is."""
    plans = zip(answer.wave.orders, answer.plans, strict=True)
    cost = sum(plan.cost if plan else order.unrouted_cost for order, plan in plans)
    return cost == answer.cost and int((answer.wave.capacity - answer.taken).min()) >= 0


async def by_solver(pool: SolverPool, wave: Wave) -> bool:
    """Whether a solver answers."""
    solved = await pool.solve(wave, budget_s=PLENTY_S, gap_enough=ENOUGH)
    return solved.source is Source.SOLVER


def test_a_wave_goes_over_the_line_unchanged(wave: Wave) -> None:
    data = job_frame(wave, seconds=2.5, seed=7)
    numbers = numbers_of(data[HEAD.size :])
    again = wave_of_job(numbers)
    assert (int(numbers["ms"]), int(numbers["seed"])) == (2500, 7)
    assert job_frame(again, seconds=2.5, seed=7) == data
    for mine, theirs in zip(wave.orders, again.orders, strict=True):
        for name, array in mine.problem.arrays._asdict().items():
            assert (array == getattr(theirs.problem.arrays, name)).all(), name


async def test_a_solver_answers_better_than_one_after_another(pool: SolverPool, wave: Wave) -> None:
    heard: list[Told] = []
    solved = await pool.solve(wave, budget_s=PLENTY_S, gap_enough=ENOUGH, progress=heard.append)
    assert solved.source is Source.SOLVER
    assert is_sound(solved.answer)
    assert solved.answer.bound <= solved.answer.cost < solved.answer.sequential_cost
    assert not solved.is_deterministic
    assert heard[0].stage == IN_TURN
    assert all(is_sound(told.answer) for told in heard)
    assert pool.counts.solved == 1


@pytest.mark.parametrize(
    ("fault", "source", "counted"),
    [
        (faults.CRASH, Source.KERNELS, "crashed"),
        (faults.CRASH_LATE, Source.TOLD, "crashed"),
        (faults.GREED, Source.KERNELS, "crashed"),
        (faults.HANG, Source.KERNELS, "hung"),
        (faults.SPIN, Source.KERNELS, "hung"),
    ],
)
async def test_a_solver_that_fails_costs_neither_the_answer_nor_the_next(
    pool: SolverPool, wave: Wave, fault: int, source: Source, counted: str
) -> None:
    budget_s = BUDGET_S if counted == "hung" else PLENTY_S
    solved = await pool.solve(told(wave, fault), budget_s=budget_s, gap_enough=ENOUGH)
    assert solved.source is source
    assert is_sound(solved.answer)
    wanted = Status.HEURISTIC if source is Source.KERNELS else Status.FEASIBLE
    assert solved.answer.status in (wanted, Status.HEURISTIC)
    assert getattr(pool.counts, counted) == 1
    await pool.ready()
    again = await pool.solve(wave, budget_s=PLENTY_S, gap_enough=ENOUGH)
    assert again.source is Source.SOLVER
    assert pool.counts.started == 2


async def test_a_solver_that_ended_while_idle_is_passed_over(pool: SolverPool, wave: Wave) -> None:
    solver = await pool._idle.get()
    pool._idle.put_nowait(solver)
    await pool._tell_starter({"end": solver.pid})
    await solver.reader.read()
    solved = await pool.solve(wave, budget_s=PLENTY_S, gap_enough=ENOUGH)
    assert solved.source is Source.SOLVER
    assert (pool.counts.crashed, pool.counts.started) == (1, 2)


async def test_counted_work_has_one_answer_whatever_the_clock(pool: SolverPool, wave: Wave) -> None:
    answers = [
        await pool.solve(wave, budget_s=budget_s, work_s=0.2, seed=7)
        for budget_s in (PLENTY_S, 2 * PLENTY_S)
    ]
    assert all(one.is_deterministic for one in answers)
    assert answers[0].answer.plans == answers[1].answer.plans


async def test_solvers_come_with_the_first_wave_or_not_at_all(wave: Wave) -> None:
    lazy = SolverPool(PoolLimits(), command=COMMAND)
    await lazy.start()
    assert (lazy.counts.started, lazy.pids) == (0, [])
    assert await by_solver(lazy, wave)
    assert (lazy.counts.started, len(lazy.pids)) == (1, 1)
    await lazy.close()
    none = SolverPool(PoolLimits(solvers=0), command=COMMAND)
    await none.start()
    solved = await none.solve(wave, budget_s=BUDGET_S)
    assert (solved.source, solved.answer.status) == (Source.KERNELS, Status.HEURISTIC)
    await none.close()


async def test_a_first_caller_that_goes_away_leaves_solvers_to_the_next(wave: Wave) -> None:
    """It went while the solver was being started: nobody may take that for done."""
    lazy = SolverPool(PoolLimits(), command=COMMAND)
    await lazy.start()
    first = asyncio.ensure_future(lazy.solve(wave, budget_s=PLENTY_S))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    assert await by_solver(lazy, wave)
    assert (lazy.counts.started, len(lazy.pids)) == (1, 1)
    await lazy.close()


async def test_a_starter_that_was_killed_is_started_again(pool: SolverPool, wave: Wave) -> None:
    assert pool._starter is not None
    pool._starter.kill()
    await pool._starter.wait()
    solved = await pool.solve(told(wave, faults.CRASH), budget_s=PLENTY_S)
    assert solved.source is Source.KERNELS
    assert await by_solver(pool, wave)
    assert pool.counts.started == 2


async def test_a_solver_that_can_not_be_started_is_tried_again(wave: Wave, tmp_path: Path) -> None:
    """As when the system has no memory or no process to spare for a moment."""
    program = tmp_path / "solver"
    pool = SolverPool(PoolLimits(), command=(str(program), COMMAND[1]))
    await pool.start()
    solved = await pool.solve(wave, budget_s=BUDGET_S)
    assert (solved.source, pool.counts.started) == (Source.KERNELS, 0)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o700)
    assert await by_solver(pool, wave)
    await pool.close()


async def test_solvers_are_replaced_after_their_jobs(pool: SolverPool, wave: Wave) -> None:
    for _ in range(3):
        assert await by_solver(pool, wave)
    await pool.ready()
    assert await by_solver(pool, wave)
    assert (pool.counts.recycled, pool.counts.started, pool.counts.crashed) == (1, 2, 0)


async def test_more_waves_than_may_wait_are_refused(pool: SolverPool, wave: Wave) -> None:
    busy = asyncio.ensure_future(pool.solve(told(wave, faults.HANG), budget_s=BUDGET_S))
    waiting = [asyncio.ensure_future(pool.solve(wave, budget_s=BUDGET_S)) for _ in range(2)]
    await asyncio.sleep(0)  # each of them comes as far as its first wait
    assert pool.waiting == 2
    with pytest.raises(PoolFullError, match="2 waves wait, as many as waiting_max allows"):
        await pool.solve(wave, budget_s=BUDGET_S)
    answers = [(await one).answer for one in (busy, *waiting)]
    assert all(is_sound(answer) for answer in answers)
    assert pool.counts.refused == 1


async def test_a_brown_out_leaves_the_kernels_alone(pool: SolverPool, wave: Wave) -> None:
    solved = await pool.solve(wave, budget_s=BUDGET_S, is_browned_out=True)
    assert (solved.source, solved.answer.status) == (Source.KERNELS, Status.HEURISTIC)
    assert is_sound(solved.answer)
    assert await by_solver(pool, wave)
    assert (pool.counts.browned_out, pool.counts.by_kernels, pool.counts.started) == (1, 1, 1)


async def test_without_time_there_is_no_job(pool: SolverPool, wave: Wave) -> None:
    for budget_s in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="budget_s is"):
            await pool.solve(wave, budget_s=budget_s)
    assert pool.counts.jobs == 0
