"""Faults 10 and 17: the clock jumps; very many holds are due in the same second."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter

from holdfast import aio
from holdfast.values.inventory import Count
from holdfast.values.network import Item
from holdfast.values.reservations import Hold, ReservationState
from tests.robustness.faults.size import Size
from tests.robustness.session import Session
from tests.robustness.traffic.calls import PATIENT
from tests.robustness.traffic.history import OK, History, Write
from tests.robustness.traffic.shoppers import NODES

HOUR_MS = 3_600_000
# Whole milliseconds are told, and the two clocks are read one after the other.
_ROUNDING_MS = 2
_EXPIRY_S_MAX = 30.0
_PER_MESSAGE = 1_000
# Where this machine stood still for so long that all should be due by now.
_TTL_S_MIN = 0.1
EXPIRED_AT_ONCE_MAX = 2_000


async def jump_the_clock(session: Session, size: Size) -> None:
    """An hour forward, two back, one forward again, under traffic; then back over a restart."""
    for jump_ms in (HOUR_MS, -HOUR_MS, 0) * size.rounds:
        first = len(session.history.writes)
        async with session.traffic(shoppers=size.shoppers) as traffic:
            await traffic.answers(size.answers // 4)
            session.set_clock(jump_ms)
            await traffic.answers(size.answers // 4)
        for complaint in ledger_time_complaints(session.history.writes[first:]):
            session.findings.need(False, f"clock {jump_ms} ms wrong: {complaint}")
        if not await _expires(session, f"clock {jump_ms} ms wrong"):
            return
    session.set_clock(-HOUR_MS)
    await session.server.kill()
    await session.begin()
    await _expires(session, "the clock went back over a restart")
    session.set_clock(0)


async def _expires(session: Session, when: str) -> bool:
    """Whether a short hold is let go; and a long one is not."""
    async with aio.Client(session.server.target, timeout=10.0, retry=PATIENT) as client:
        lines = [("plum", NODES[0], 1)]
        await client.count([Count("plum", NODES[0], 200)])
        short = await client.reserve(lines, ttl=0.3)
        long = await client.reserve(lines, ttl=1_800)
        began_s = time.monotonic()
        while (await client.get(short.reservation_id)).state is ReservationState.HELD:
            if time.monotonic() > began_s + _EXPIRY_S_MAX:
                session.findings.need(False, f"{when}: a hold of 0.3 s is held after 30 s")
                return False
            await asyncio.sleep(0.02)
        session.measured("released_after_s", time.monotonic() - began_s)
        found = await client.get(long.reservation_id)
        session.findings.need(
            found.state is ReservationState.HELD, f"{when}: half an hour was over at once"
        )
        await client.cancel(long.reservation_id)
    return True


def ledger_time_complaints(writes: list[Write]) -> list[str]:
    """Whether the ledger's time went as fast as this process' monotonic clock.

    Each hold that was made tells the ledger's time at some moment between its sending and its
    answer, so it bounds how far the two clocks are apart; all bounds must agree.
    """
    at_least, at_most = float("-inf"), float("inf")
    for write in writes:
        answer = write.answer
        if write.kind != "reserve" or write.steals or answer is None or answer.code != OK:
            continue
        assert answer.expire_ms is not None
        assert write.answered_s is not None
        ledger_ms = answer.expire_ms - round(write.intent["ttl"] * 1_000)
        at_least = max(at_least, ledger_ms - write.answered_s * 1_000)
        at_most = min(at_most, ledger_ms - write.sent_s * 1_000)
    if at_least > at_most + _ROUNDING_MS:
        return [f"ledger time moved by {at_least - at_most:.0f} ms against the monotonic clock"]
    return []


async def expire_in_one_second(session: Session, size: Size) -> None:
    """Released in bounded batches, while others go on reserving."""
    holds = size.holds
    async with aio.Client(session.server.target, timeout=60.0, retry=PATIENT) as client:
        await client.items.upsert(Item("many"))
        await client.count([Count("many", NODES[0], holds + _PER_MESSAGE)])
        # Far enough away that all are made before the first is due, however slow this machine is.
        message_s = await _hold_many(session, client, 0.5)
        messages = holds // _PER_MESSAGE
        began_s, all_due_s = time.monotonic(), 1.0 + 3.0 * messages * message_s
        for _ in range(messages):
            left_s = all_due_s - (time.monotonic() - began_s)
            await _hold_many(session, client, max(_TTL_S_MIN, left_s))
        due_s = began_s + all_due_s
        async with session.traffic(shoppers=size.shoppers) as traffic:
            while (await _held(client)) > 0:
                await traffic.answers(1)
            over_s = time.monotonic()
            await traffic.answers(size.answers)
    session.measured("released_within_s", over_s - due_s)
    before = [time_s for sent_s, time_s in _reserves(session.history) if sent_s < due_s - 0.1]
    amid = [time_s for sent_s, time_s in _reserves(session.history) if due_s <= sent_s <= over_s]
    if len(before) > 10 and len(amid) > 10:
        session.measured("reserve_p99_before_s", statistics.quantiles(before, n=100)[98])
        session.measured("reserve_p99_amid_s", statistics.quantiles(amid, n=100)[98])
    told = await session.judge()
    session.findings.need(
        1 < told.model.expired_at_once_max <= EXPIRED_AT_ONCE_MAX,
        f"{told.model.expired_at_once_max} holds were released in one step",
    )


async def _hold_many(session: Session, client: aio.Client, ttl_s: float) -> float:
    """One message of holds; how long it took."""
    sent_s = time.monotonic()
    made = await client.bulk_reserve(
        [Hold(lines=[("many", NODES[0], 1)], ttl=ttl_s)] * _PER_MESSAGE
    )
    refused = Counter(outcome.reason for outcome in made.outcomes if not outcome.held)
    session.findings.need(not refused, f"holds of the many were refused: {dict(refused)}")
    return time.monotonic() - sent_s


async def _held(client: aio.Client) -> int:
    return (await client.position("many", NODES[0])).held


def _reserves(history: History) -> list[tuple[float, float]]:
    return [
        (write.sent_s, write.answered_s - write.sent_s)
        for write in history.acknowledged
        if write.kind == "reserve" and write.answered_s is not None
    ]
