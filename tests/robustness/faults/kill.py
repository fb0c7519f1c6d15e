"""Faults 1 and 2: kill -9, of the server and of Redis, while callers are at it."""

from __future__ import annotations

import asyncio
import time

from tests.robustness.failpoints.trapped import Trapped
from tests.robustness.faults.size import Size
from tests.robustness.session import SQLITE, Session


async def kill_the_server(session: Session, size: Size) -> None:
    """At random moments; with SQLite every other time exactly between two of its system calls."""
    chance = session.chance
    async with session.traffic(shoppers=size.shoppers) as traffic:
        for turn in range(size.rounds + 1):
            await traffic.answers(chance.randint(size.answers // 4, size.answers))
            trapped = session.server.trapped
            if session.kind == SQLITE and turn % 2 == 0 and Trapped.has_trap:
                call = chance.choice(("write", "sync"))
                await trapped.order("cut_at", call=call, count=chance.randint(1, 40), seed=None)
                assert trapped.cut is not None
                await trapped.cut
                await trapped.forget()
            else:
                await asyncio.sleep(chance.uniform(0, 0.02))
                await session.server.kill()
            session.measured("start_s", await session.begin())
        await traffic.answers(size.answers // 4)


async def kill_redis(session: Session, size: Size) -> None:
    """No answer while it is down; served again once it is back."""
    assert session.redis is not None
    chance = session.chance
    async with session.traffic(shoppers=size.shoppers) as traffic:
        for _ in range(size.rounds):
            await traffic.answers(chance.randint(size.answers // 4, size.answers))
            await session.redis.trapped.kill()
            down_s = time.monotonic()
            while time.monotonic() < down_s + size.down_s:
                sent_s = time.monotonic()
                probe = await session.probe()
                session.findings.need(
                    probe.answer is None, f"answered {probe.answer} while Redis was dead"
                )
                session.findings.need(
                    "Unavailable" in probe.fault or "Recovering" in probe.fault,
                    f"while Redis was dead a caller heard {probe.fault}",
                )
                session.measured("unavailable_after_s", time.monotonic() - sent_s)
            begin_s = time.monotonic()
            for write in session.answered_between(down_s, begin_s):
                session.findings.need(False, f"{write.request_id} answered while Redis was dead")
            await session.redis.begin()
            back_s = time.monotonic()
            session.measured("serving_after_redis_s", await session.until_answered() - back_s)
        await traffic.answers(size.answers // 4)
