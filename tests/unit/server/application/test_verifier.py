"""When the ledger is verified, in which slices, and what is believed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from engine import invariants
from engine.state import State
from engine.verification import Verification
from server.application import verifier as verifying
from server.application.sequencer import Status
from server.application.sequencer_errors import NotServing
from server.application.verifier import (
    SLICE_S,
    VerificationNotDone,
    VerificationReport,
    Verifier,
    state_of,
)
from server.journal.errors import JournalUnavailable
from tests.unit.server.application.test_sequencer import Shard, codes, pears


class Stopwatch:
    """Moves on by as much as a step takes, whenever it is read."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row at a time, and no rest: even the smallest ledger takes many slices."""
    monkeypatch.setattr(verifying, "ROWS_OF_STEP", 1)
    monkeypatch.setattr(verifying, "_HASHED_BYTES", 64)
    monkeypatch.setattr(verifying, "_REST", 0.0)
    monkeypatch.setattr(verifying, "_REST_HURRIED", 0.0)


def slow(shard: Shard, **options: Any) -> Verifier:
    """One whose every step uses up a slice."""
    return Verifier(
        partial(state_of, shard.sequencer),
        elapsed_s=Stopwatch(SLICE_S),
        **{"interval_ms": 0, **options},
    )


async def test_a_slice_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_steps(monkeypatch)
    shard = await Shard().stocked()
    for number in range(5):
        await shard.sequencer.submit(pears(1, reservation_id=f"r-{number}"))
    slices: list[float] = []
    quick = Verifier(
        partial(state_of, shard.sequencer),
        interval_ms=0,
        elapsed_s=Stopwatch(SLICE_S / 4),
        on_slice=slices.append,
    )
    assert (await quick.now()).differences == ()
    assert len(slices) > 3
    assert max(slices) <= SLICE_S * 1.25


async def test_commands_have_their_turn_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_steps(monkeypatch)
    shard = await Shard().stocked()
    for number in range(5):
        await shard.sequencer.submit(pears(1, reservation_id=f"r-{number}"))
    began = shard.sequencer.state.revision
    running = asyncio.ensure_future(slow(shard).now())
    done = 0
    while not running.done():
        # A refusal is a command like any other: it is applied, journaled and answered.
        assert codes(await shard.sequencer.submit(pears(1))) != []
        done += 1
    report = running.result()
    assert report.differences == ()
    assert done > 3
    assert report.revision > began
    assert (report.positions, report.reservations) == (1, 5)


@pytest.mark.parametrize(("behind_max", "rest"), [(0, 19.0), (-1, 1.0)])
async def test_rests_are_long_unless_there_is_too_much_to_catch_up_with(
    monkeypatch: pytest.MonkeyPatch, behind_max: int, rest: float
) -> None:
    shard = await Shard().stocked()
    for number in range(5):
        await shard.sequencer.submit(pears(1, reservation_id=f"r-{number}"))
    monkeypatch.setattr(verifying, "ROWS_OF_STEP", 1)
    monkeypatch.setattr(verifying, "_BEHIND_MAX", behind_max)
    rests: list[float] = []
    over = asyncio.Event()
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if not over.is_set():
            rests.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    verifier = slow(shard, interval_ms=60_000, on_report=lambda report: over.set())
    verifier.start()
    await over.wait()
    await verifier.close()
    # The first rest is taken before anything is known of what came meanwhile.
    assert len(rests) > 5
    assert rests[1:] == [pytest.approx(SLICE_S * rest)] * (len(rests) - 1)


async def test_those_who_ask_meanwhile_share_the_next_pass() -> None:
    shard = await Shard().stocked()
    reports: list[VerificationReport] = []
    verifier = Verifier(partial(state_of, shard.sequencer), interval_ms=0, on_report=reports.append)
    first, second = await asyncio.gather(verifier.now(), verifier.now())
    assert first is second
    assert reports == [first]
    assert await verifier.now() is not first


async def test_the_schedule_begins_at_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shard = await Shard().stocked()
    enough = asyncio.Event()
    reports: list[VerificationReport] = []

    def hear(report: VerificationReport) -> None:
        reports.append(report)
        if len(reports) == 3:
            enough.set()

    verifier = Verifier(partial(state_of, shard.sequencer), interval_ms=1, on_report=hear)
    verifier.start()
    await asyncio.wait_for(enough.wait(), 30)
    await verifier.close()
    seen = len(reports)
    assert all(report.differences == () for report in reports)
    assert (await verifier.now()).differences == ()
    assert len(reports) == seen + 1


async def test_no_schedule_where_none_is_wanted() -> None:
    shard = await Shard().stocked()
    reports: list[VerificationReport] = []
    verifier = Verifier(partial(state_of, shard.sequencer), interval_ms=0, on_report=reports.append)
    verifier.start()
    await verifier.close()
    assert reports == []


async def test_what_a_second_look_does_not_find_is_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault of the pass itself never stops a sound shard."""
    shard = await Shard().stocked()
    told: list[str] = []
    verifier = Verifier(partial(state_of, shard.sequencer), interval_ms=0, on_failure=told.append)

    class Wrong(Verification):
        def step(self, rows: int) -> bool:
            is_over = super().step(rows)
            if is_over:
                self._progress["difference_count"] = 1
            return is_over

    monkeypatch.setattr(verifying, "Verification", Wrong)
    assert (await verifier.now()).differences == ()
    assert "a second look" in told[0]


async def test_a_difference_is_told_whole() -> None:
    shard = await Shard().stocked()
    await shard.sequencer.submit(pears(2))
    state = shard.sequencer.state
    state.positions["held"][0] += 1
    report = await Verifier(partial(state_of, shard.sequencer), interval_ms=0).now()
    assert list(report.differences) == invariants.differences(state)
    assert [(each.field, each.stored, each.recomputed) for each in report.differences] == [
        ("held", 3, 2)
    ]


async def test_a_state_that_is_rebuilt_meanwhile_is_verified_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_small_steps(monkeypatch)
    shard = Shard()
    await shard.stocked(rebuild=shard.recover)
    old = shard.sequencer.state
    old.positions["held"][0] += 1  # of a state that is thrown away
    begun = asyncio.Event()
    verifier = slow(shard, on_slice=lambda seconds: begun.set())
    running = asyncio.ensure_future(verifier.now())
    await begun.wait()
    shard.sequencer._fail_journal(JournalUnavailable("gone"))
    with pytest.raises(NotServing):
        await running
    while shard.sequencer.status is not Status.SERVING:
        shard.clock.advance(1_000)
        await asyncio.sleep(0)
    report = await verifier.now()
    assert report.differences == ()
    assert report.state is shard.sequencer.state is not old


async def test_a_pass_that_is_overtaken_again_and_again_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shard = await Shard().stocked()
    monkeypatch.setattr(Verification, "is_lost", property(lambda self: True))
    with pytest.raises(VerificationNotDone, match="overtaken"):
        await Verifier(partial(state_of, shard.sequencer), interval_ms=0).now()


async def test_the_hash_is_that_of_one_revision_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_steps(monkeypatch)
    shard = await Shard().stocked()
    verifier = slow(shard)
    found = await verifier.state_hash()
    assert found == (invariants.state_hash(shard.sequencer.state).hex(), 3)
    running = asyncio.ensure_future(verifier.state_hash())
    while not running.done():
        await shard.sequencer.submit(pears(1))
    assert running.result()[0] == ""


async def test_a_shard_that_failed_a_check_stops_and_gives_the_journal_back() -> None:
    shard = await Shard().stocked()
    waiting = shard.sequencer.submit(pears(1))
    shard.sequencer.violate("held of pear@berlin is 1, recomputed 0")
    assert shard.sequencer.status is Status.STOPPED
    assert shard.sequencer.violation in shard.statuses[-1][1]
    with pytest.raises(NotServing):
        await waiting
    with pytest.raises(NotServing):
        shard.sequencer.submit(pears(1))
    with pytest.raises(NotServing):
        await Verifier(partial(state_of, shard.sequencer), interval_ms=0).now()
    again = await elsewhere(shard).recover()
    assert isinstance(again.state, State)
    await shard.sequencer.close()


def elsewhere(shard: Shard) -> Shard:
    """Another process on the same disk."""
    other = Shard()
    other.disk = shard.disk
    return other
