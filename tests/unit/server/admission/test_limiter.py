"""The limiter: who is let in, whatever else is under way, on a clock the test moves."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from server.admission.classes import CLASS_SHARES, WorkClass
from server.admission.gradient_limit import GradientLimit, LimitSettings
from server.admission.limiter import Limiter, Shed
from server.admission.loop_time import wanted_s

LOWER = [work for work in WorkClass if work is not WorkClass.SETTLE]


class World:
    """A limiter of 100 that does not move by itself, and its clock."""

    def __init__(self, limit: int = 100, limit_min: int | None = None) -> None:
        self.now_s = 1_000.0
        self.age_s = 0.0
        self.busy_s = 0.0
        self.limiter = Limiter(
            GradientLimit(LimitSettings(limit_min=limit_min or limit, limit_max=limit)),
            age_s=lambda: self.age_s,
            elapsed_s=lambda: self.now_s,
            busy_s=lambda: self.busy_s,
        )

    def fill(self, work: WorkClass, caller: str = "a") -> int:
        """Let in until one is refused; how many."""
        count = 0
        while self.limiter.enter(work, caller) is None:
            count += 1
        return count

    def answer(self, work: WorkClass, took_s: float | None, caller: str = "a") -> None:
        self.limiter.leave(work, caller, took_s)


@pytest.mark.parametrize("work", WorkClass)
def test_each_class_fills_its_share(work: WorkClass) -> None:
    assert World().fill(work) == int(100 * CLASS_SHARES[work])


def test_shares_fall_with_urgency() -> None:
    assert list(CLASS_SHARES) == sorted(CLASS_SHARES, reverse=True)
    assert len(set(CLASS_SHARES)) == len(CLASS_SHARES) == len(WorkClass)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_else_keeps_out_a_confirmation(seed: int) -> None:
    """Whatever mix of other work came before, from whomever."""
    chance = random.Random(seed)
    world = World()
    for _ in range(500):
        world.limiter.enter(chance.choice(LOWER), chance.choice("abc"))
    assert world.limiter.in_flight > 0
    assert world.fill(WorkClass.SETTLE, chance.choice("abc")) == 100


def test_what_is_less_urgent_leaves_room_for_what_is_more() -> None:
    world = World()
    for work in reversed(WorkClass):
        assert world.fill(work) >= 1, f"no room was left for {work.name}"


def test_refusals_name_the_limit_and_a_time() -> None:
    world = World()
    world.fill(WorkClass.RESERVE)
    assert world.limiter.enter(WorkClass.RESERVE, "a") == Shed("admission_limit", retry_ms=10)


def test_those_who_come_back_are_told_to_wait_longer_the_more_they_are() -> None:
    world = World(100)
    waits = []
    for crowd in (10, 100, 1_000):
        for _ in range(85):
            assert world.limiter.enter(WorkClass.RESERVE, "a") is None
        for _ in range(crowd):
            world.limiter.enter(WorkClass.RESERVE, "a")
        for _ in range(85):
            world.answer(WorkClass.RESERVE, 0.02)
        world.now_s += 0.2
        world.fill(WorkClass.RESERVE)
        shed = world.limiter.enter(WorkClass.RESERVE, "a")
        assert shed is not None
        waits.append(shed.retry_ms)
        while world.limiter.in_flight:
            world.answer(WorkClass.RESERVE, 0.02)
        world.now_s += 0.2
        world.limiter.enter(WorkClass.RESERVE, "a")
        world.answer(WorkClass.RESERVE, 0.02)
    assert waits == sorted(waits)
    assert waits[-1] >= 5 * waits[0]


def test_one_caller_gets_an_even_part_while_others_want_theirs() -> None:
    world = World()
    assert world.fill(WorkClass.RESERVE, "greedy") == 85
    assert world.limiter.enter(WorkClass.RESERVE, "modest") is not None
    let_in: Counter[str] = Counter()
    under_way = ["greedy"] * 85
    chance = random.Random(3)
    for _ in range(4_000):
        done = under_way.pop(chance.randrange(len(under_way)))
        world.answer(WorkClass.RESERVE, None, done)
        world.now_s += 0.001
        for caller in ("greedy", "greedy", "greedy", "modest"):
            if world.limiter.enter(WorkClass.RESERVE, caller) is None:
                under_way.append(caller)
                let_in[caller] += 1
    assert under_way.count("modest") >= 35
    assert let_in["modest"] >= 0.4 * let_in.total()


def test_a_caller_that_is_alone_gets_everything() -> None:
    world = World()
    world.limiter.enter(WorkClass.RESERVE, "gone")
    world.answer(WorkClass.RESERVE, None, "gone")
    world.now_s += 3
    assert world.fill(WorkClass.RESERVE, "alone") == 85
    assert world.limiter.callers == 1


def test_callers_that_are_gone_are_forgotten() -> None:
    world = World()
    for number in range(1_000):
        world.limiter.enter(WorkClass.READ, str(number))
        world.answer(WorkClass.READ, None, str(number))
    world.now_s += 5
    world.limiter.enter(WorkClass.READ, "last")
    assert len(world.limiter._callers) == 1


@pytest.mark.parametrize("seed", range(10))
def test_in_flight_is_what_came_less_what_went(seed: int) -> None:
    chance = random.Random(seed)
    world = World(50)
    inside: list[tuple[WorkClass, str]] = []
    for _ in range(3_000):
        world.now_s += chance.random() / 100
        if inside and chance.random() < 0.5:
            work, caller = inside.pop(chance.randrange(len(inside)))
            world.answer(work, chance.choice([None, 0.003, 0.5]), caller)
        else:
            work, caller = chance.choice(list(WorkClass)), chance.choice("abcd")
            if world.limiter.enter(work, caller) is None:
                inside.append((work, caller))
        assert world.limiter.in_flight == len(inside)
        counts = Counter(work for work, _ in inside)
        assert world.limiter.class_in_flight == [counts[work] for work in WorkClass]


def slow_windows(world: World, windows: int, took_s: float) -> None:
    """Windows of 1.1 s in which up to 50 are under way and each takes so long."""
    for _ in range(windows):
        let_in = sum(world.limiter.enter(WorkClass.RESERVE, "a") is None for _ in range(50))
        for _ in range(let_in):
            world.answer(WorkClass.RESERVE, took_s)
        world.now_s += 1.1
        if world.limiter.enter(WorkClass.RESERVE, "a") is None:
            world.answer(WorkClass.RESERVE, None)


def test_a_stall_is_forgotten_although_everybody_is_dropped_for_it() -> None:
    world = World()
    assert world.limiter.enter(WorkClass.RESERVE, "a") is None
    world.answer(WorkClass.RESERVE, 5.0)
    world.now_s += 1.1
    assert world.limiter.enter(WorkClass.RESERVE, "a") is None
    assert world.limiter.shortest_s == 5.0
    world.answer(WorkClass.RESERVE, None)
    # Whoever waits for less than five seconds is dropped before the limiter hears of it.
    world.now_s += 0.9
    assert world.limiter.shortest_s == 5.0
    world.now_s += 0.2
    assert world.limiter.shortest_s == 0.0


def test_slow_answers_lower_the_limit_and_fast_ones_raise_it() -> None:
    world = World(1_000, limit_min=8)
    slow_windows(world, 40, took_s=1.0)
    low = world.limiter.limit
    assert low <= 20
    slow_windows(world, 40, took_s=0.001)
    assert world.limiter.limit > low


def test_a_ledger_that_does_not_answer_lowers_it_too() -> None:
    """The journal stalls: no answer tells of it, but the oldest one that waits does."""
    world = World(1_000, limit_min=8)
    for _ in range(300):
        world.limiter.enter(WorkClass.RESERVE, "a")
    for second in range(10):
        world.age_s = second + 1.0
        world.now_s += 1.0
        world.limiter.enter(WorkClass.RESERVE, "a")
    assert world.limiter.limit < 300


def test_after_an_idle_hour_nobody_is_dropped_for_the_last_answer_before() -> None:
    world = World()
    assert world.limiter.enter(WorkClass.RESERVE, "a") is None
    world.answer(WorkClass.RESERVE, 5.0)
    world.now_s += 3_600.0
    assert world.limiter.shortest_s == 0.0
    assert world.limiter.enter(WorkClass.RESERVE, "a") is None  # ends the window of an hour
    assert world.limiter.shortest_s == 0.0


@pytest.mark.parametrize("work", [WorkClass.ROUTE, WorkClass.READ, WorkClass.REPORT])
def test_who_tells_nothing_of_the_ledger_does_not_suffer_for_ever_from_a_stall(
    work: WorkClass,
) -> None:
    """Only commands tell how the ledger fares. After a stall in a sale nobody buys any more, but
    hundreds at a time ask for what they have bought."""
    world = World(1_000, limit_min=100)
    slow_windows(world, 20, took_s=1.0)
    assert world.limiter.limit < 120
    for _ in range(20):
        let_in = world.fill(work)
        world.now_s += 1.1
        for _ in range(let_in):
            world.answer(work, None)
    assert world.limiter.limit == 1_000


def test_while_the_ledger_stands_nobody_raises_the_limit() -> None:
    world = World(1_000, limit_min=100)
    slow_windows(world, 20, took_s=1.0)
    world.age_s = 3.0
    for _ in range(20):
        world.fill(WorkClass.READ)
        world.now_s += 1.1
    assert world.limiter.limit < 120


@pytest.mark.parametrize("limit_min", range(100, 110))
def test_the_least_urgent_alone_raise_the_limit_again(limit_min: int) -> None:
    """Half of the limit is all that they may fill, and it is no whole number."""
    world = World(1_000, limit_min=limit_min)
    slow_windows(world, 20, took_s=1.0)
    for _ in range(40):
        let_in = world.fill(WorkClass.REPORT)
        world.now_s += 1.1
        for _ in range(let_in - 1):
            world.answer(WorkClass.REPORT, None)
        world.answer(WorkClass.REPORT, 0.001)
    assert world.limiter.limit == 1_000


def test_overload_is_told_after_two_bad_windows_and_a_while_after_the_last() -> None:
    world = World()
    slow_windows(world, 1, took_s=1.0)
    assert not world.limiter.is_overloaded
    slow_windows(world, 1, took_s=1.0)
    assert world.limiter.is_overloaded
    slow_windows(world, 1, took_s=0.001)
    assert world.limiter.is_overloaded
    slow_windows(world, 2, took_s=0.001)
    assert not world.limiter.is_overloaded


def test_overload_is_over_when_nobody_comes_any_more() -> None:
    world = World()
    slow_windows(world, 3, took_s=1.0)
    assert world.limiter.is_overloaded
    world.now_s += 2.1
    assert not world.limiter.is_overloaded


def test_a_loop_without_a_pause_counts_as_overloaded() -> None:
    """What gRPC's core sheds, Python never hears of."""
    world = World()
    for _ in range(3):
        for _ in range(20):
            world.limiter.enter(WorkClass.RESERVE, "a")
            world.answer(WorkClass.RESERVE, 0.001)
        world.now_s += 0.11
        world.busy_s += 0.109
        world.limiter.enter(WorkClass.RESERVE, "a")
        world.answer(WorkClass.RESERVE, None)
    assert world.limiter.busy_share == pytest.approx(0.99, abs=0.01)
    assert world.limiter.is_overloaded


def pass_window(world: World, *, busy: bool, work: list[WorkClass]) -> Counter[str]:
    """A window of a second with so much work, each answered at once; what was shed, by limit."""
    shed: Counter[str] = Counter()
    for each in work:
        refused = world.limiter.enter(each, "a")
        if refused is None:
            world.answer(each, 0.001)
        else:
            shed[f"{each.name} {refused.limit}"] += 1
    world.now_s += 1.0
    world.busy_s += 1.0 if busy else 0.5
    return shed


def test_a_busy_loop_lets_in_less_and_less_routing_while_others_sell() -> None:
    world, both = World(), [WorkClass.ROUTE] * 50 + [WorkClass.RESERVE] * 20
    counts = [pass_window(world, busy=True, work=both) for _ in range(12)]
    shed = [each["ROUTE busy_loop"] for each in counts]
    assert shed[0] == 0
    assert shed[1:] == sorted(shed[1:])
    assert shed[-1] in (48, 49, 50)  # one in fifty is let in
    assert all(set(each) <= {"ROUTE busy_loop"} for each in counts)
    assert sum(50 - each for each in shed[-6:]) > 0
    assert world.limiter.is_overloaded
    for _ in range(40):
        last = pass_window(world, busy=False, work=both)
    assert not last


def test_a_busy_loop_that_only_routes_goes_on_routing() -> None:
    world = World()
    for _ in range(10):
        assert not pass_window(world, busy=True, work=[WorkClass.ROUTE] * 50)


def test_the_clock_of_a_thread_goes_on_while_it_works_and_stands_while_it_sleeps() -> None:
    clock = wanted_s()
    before, used = clock(), time.thread_time()
    while time.thread_time() - used < 0.02:
        pass
    assert clock() - before >= 0.015
    assert 0 < clock() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_the_share_of_the_loop_is_told_however_few_answers_tell_of_the_ledger() -> None:
    """Plans tell nothing of it, and whether they should wait for company depends on it."""
    world = World()
    shares = []
    for busy_s in (0.09, 0.02, 0.1):
        world.now_s += 0.1
        world.busy_s += busy_s
        world.limiter.enter(WorkClass.ROUTE, "a")
        shares.append(round(world.limiter.busy_share, 3))
        world.answer(WorkClass.ROUTE, None)
    assert shares == [0.9, 0.2, 1.0]
