"""Faults 3 and 4: the power goes; a sync fails; the disk is full."""

from __future__ import annotations

import asyncio
import time

from holdfast import aio
from holdfast.calls.health import Health
from holdfast.errors import HoldfastError
from tests.robustness.failpoints.server_process import Refused
from tests.robustness.failpoints.trapped import Trapped
from tests.robustness.faults.size import Size
from tests.robustness.session import SQLITE, Session
from tests.robustness.traffic.calls import ONCE
from tests.robustness.traffic.shoppers import Habits
from tests.robustness.validate.answers import request_key
from tests.robustness.validate.findings import LOST, Findings
from tests.robustness.validate.journal import read_book, replay

_EVERYSEC_LOSS_S = 2.0


async def cut_power(session: Session, size: Size) -> None:
    """Whatever no sync had covered is gone, or torn, or only some of it is there."""
    chance = session.chance
    async with session.traffic(shoppers=size.shoppers) as traffic:
        for _ in range(size.rounds + 1):
            await traffic.answers(chance.randint(size.answers // 4, size.answers))
            disk = _disk_of(session)
            call = "sync" if session.kind != SQLITE else chance.choice(("write", "sync", "sync"))
            seed = chance.getrandbits(32)
            await disk.order("cut_at", call=call, count=chance.randint(1, 40), seed=seed)
            assert disk.cut is not None
            told = await disk.cut
            session.measured("bytes_not_synced_at_the_cut", told["bytes_not_synced"])
            await disk.forget()
            if session.redis is not None:
                # One machine: what runs beside Redis dies with it, every other time.
                if chance.random() < 0.5:
                    await session.server.kill()
                await session.redis.begin()
            if not session.server.trapped.is_running:
                await session.begin()
        await traffic.answers(size.answers // 4)


async def cut_power_of_a_relaxed_redis(session: Session, size: Size) -> None:
    """With ``everysec`` what is lost is younger than was stated; durable mode refuses it."""
    assert session.redis is not None
    await session.server.kill()
    with session.redis.client() as client:
        client.config_set("appendfsync", "everysec")
    session.options += "&durability=durable"
    try:
        await session.begin()
    except Refused as refused:
        session.findings.need("durable" in refused.reason, f"refused, but {refused.reason}")
    else:
        session.findings.need(False, "a durable server began on appendfsync everysec")
        await session.server.kill()
    session.options = session.options.replace("durability=durable", "durability=relaxed")
    await session.begin()
    impatient = Habits(timeout_s=1.0, retry=ONCE)
    async with session.traffic(shoppers=size.shoppers, habits=impatient) as traffic:
        await traffic.answers(size.answers)
        await asyncio.sleep(session.chance.uniform(0.1, 1.2))
        await session.redis.trapped.cut_power(session.chance.getrandbits(32))
        cut_s = time.monotonic()
        await session.server.kill()
    await session.redis.begin()
    told = replay(await read_book(session.url), Findings())
    lost = [
        write
        for write in session.history.acknowledged
        if not write.steals and request_key(write.request_id) not in told.model.seen
    ]
    session.measured("lost_relaxed", len(lost))
    for write in lost:
        assert write.answered_s is not None
        if write.answered_s < cut_s - _EVERYSEC_LOSS_S:
            session.findings.add(LOST, f"{write.request_id}, {cut_s - write.answered_s:.1f} s old")


async def fail_the_disk(session: Session, size: Size) -> None:
    """A sync fails, or the disk is full: nothing is answered until it works again."""
    chance = session.chance
    if session.redis is not None:
        # To be able to fail its writes, they have to be waited for, those to callers too.
        await session.redis.trapped.kill()
        session.redis.trapped.full_disk = True
        await session.redis.begin()
    async with session.traffic(shoppers=size.shoppers) as traffic:
        for call, error in (("sync", "EIO"), ("write", "ENOSPC")) * ((size.rounds + 1) // 2):
            await traffic.answers(chance.randint(size.answers // 4, size.answers))
            disk = _disk_of(session)
            await disk.order("fail", call=call, error=error)
            failed_s = time.monotonic()
            noticed_s = await _until_not_serving(session)
            session.measured("not_serving_after_s", noticed_s - failed_s)
            probe = await session.probe()
            session.findings.need(probe.answer is None, f"answered {probe.answer} after {error}")
            healed_s = time.monotonic()
            for write in session.answered_between(failed_s, healed_s):
                session.findings.need(False, f"{write.request_id} was answered after {error}")
            if session.redis is not None:
                assert disk.ended is not None
                await disk.ended  # with appendfsync always Redis ends itself
                await disk.forget()
                await session.redis.begin()
            else:
                await disk.order("heal")
            session.measured("serving_after_heal_s", await session.until_answered() - healed_s)
        if session.kind == SQLITE:
            # What the kernel calls clean since the failed sync is not on the disk.
            await traffic.answers(size.answers // 4)
            await session.server.trapped.cut_power(chance.getrandbits(32))
            await session.begin()
        await traffic.answers(size.answers // 4)


async def _until_not_serving(session: Session) -> float:
    """The moment health says that it does not serve."""
    async with aio.Client(session.server.target, timeout=1.0, retry=ONCE) as client:
        while True:
            try:
                if await client.health() is Health.NOT_SERVING:
                    return time.monotonic()
            except HoldfastError:
                return time.monotonic()
            await asyncio.sleep(0.002)


def _disk_of(session: Session) -> Trapped:
    """Whoever keeps the journal."""
    return session.redis.trapped if session.redis is not None else session.server.trapped
