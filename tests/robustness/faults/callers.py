"""Faults 6, 7 and 8: answers are lost, requests come twice or changed, callers go away."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from holdfast import aio
from tests.robustness.failpoints.launcher import CANCEL_AT
from tests.robustness.failpoints.lossy_proxy import LossyProxy
from tests.robustness.faults.size import Size
from tests.robustness.session import Session
from tests.robustness.traffic.calls import ONCE, perform
from tests.robustness.traffic.history import Write
from tests.robustness.traffic.shoppers import NODES, SKUS, Habits

_AWAITS_MAX = 60


async def lose_answers(session: Session, size: Size) -> None:
    """Between callers and server, and between server and Redis where there is one."""
    chance = random.Random(session.chance.getrandbits(32))
    outer = LossyProxy(session.server.port, chance)
    await outer.start()
    proxies = [outer]
    if session.redis is not None:
        inner = LossyProxy(session.redis.port, chance)
        await inner.start()
        proxies.append(inner)
        session.at_the_end(inner.close)
        await session.server.kill()
        session.journal_port = inner.port
        await session.begin()
    losing = [asyncio.ensure_future(proxy.lose(0.1)) for proxy in proxies]
    target = f"127.0.0.1:{outer.port}"
    async with session.traffic(shoppers=size.shoppers, target=target) as traffic:
        await traffic.answers(size.answers * (size.rounds + 1))
        for task in losing:
            task.cancel()
    await asyncio.gather(*losing, return_exceptions=True)
    session.measured("answers_lost", sum(proxy.losses for proxy in proxies))
    await outer.close()
    # The server goes on through the inner one, which loses nothing more, until its next start.
    session.journal_port = None


async def repeat_and_steal(session: Session, size: Size) -> None:
    """Every third request comes twice, every fifth bears the id of another."""
    habits = Habits(duplicates=0.35, thefts=0.2)
    async with session.traffic(shoppers=size.shoppers, habits=habits) as traffic:
        await traffic.answers(size.answers * (size.rounds + 1))


async def cancel_everywhere(session: Session, size: Size) -> None:
    """At each await of each handler, one after the other, and at random moments besides."""
    leaving = Habits(cancels=0.5, cancel_s_max=0.006)
    async with session.traffic(shoppers=size.shoppers, habits=leaving) as traffic:
        cancelled = 0
        steps = [step for turn in range(size.rounds) for step in _steps(session, turn)]
        for number, (kind, intent) in enumerate(steps):
            cancelled += await _at_each_await(session, kind, intent, number)
        session.measured("cancelled_at_awaits", cancelled)
        session.findings.need(cancelled > 0, "no await of any handler was reached")
        await traffic.answers(size.answers)


def _steps(session: Session, turn: int) -> list[tuple[str, dict[str, Any]]]:
    """One call of each kind; `{}` in a reservation id is a number."""
    place = {"sku": SKUS[0], "node": NODES[0]}
    named = f"cancelled-{session.shared.turns}-{turn}-{{}}"
    line = (SKUS[1], NODES[1], 1)
    return [
        ("adjust", {"adjustments": [{**place, "delta": 1}]}),
        ("reserve", {"lines": [line], "reservation_id": named}),
        ("reserve", {"lines": [line, line], "ttl": 0.2}),
        ("extend", {"reservation_id": named, "ttl": 900.0}),
        ("confirm", {"reservation_id": named}),
        ("cancel", {"reservation_id": named}),
        ("count", {"counts": [{**place, "on_hand": 30}]}),
    ]


async def _at_each_await(session: Session, kind: str, intent: dict[str, Any], turn: int) -> int:
    """Call again and again, cancelled one await later each time, until it gets through."""
    for count in range(1, _AWAITS_MAX):
        given = {
            name: value.format(count) if isinstance(value, str) else value
            for name, value in intent.items()
        }
        request_id = f"await-{session.shared.turns}-{turn}-{count}"
        write = Write(-2, kind, request_id, given, 0.0)
        client = aio.Client(
            session.server.target, timeout=10.0, retry=ONCE, metadata=((CANCEL_AT, str(count)),)
        )
        async with client:
            if await perform(client, write, session.history) is not None:
                return count - 1
    session.findings.need(False, f"{kind} was never answered, however late it was cancelled")
    return _AWAITS_MAX
