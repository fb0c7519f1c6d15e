"""Faults 5 and 9: Redis stands still; a writer stands still and another takes its place."""

from __future__ import annotations

import asyncio
import math
import random
import signal
import statistics
import time

from tests.redis_server import free_port
from tests.robustness.failpoints.lossy_proxy import LossyProxy
from tests.robustness.failpoints.server_process import Refused, ServerProcess
from tests.robustness.faults.size import Size
from tests.robustness.session import SQLITE, Session

_MEMORY_GROWTH_BYTES_MAX = 64 * 1024 * 1024
_EXIT_FENCED = 1
_EXIT_REFUSED = 2


async def stall_redis(session: Session, size: Size) -> None:
    """SIGSTOP: nothing is answered, nothing grows; afterwards it goes on as before."""
    assert session.redis is not None
    async with session.traffic(shoppers=size.shoppers) as traffic:
        for stall_s in size.stalls_s:
            await traffic.answers(size.answers)
            before = _resident_bytes(session.server.trapped.pid)
            session.redis.trapped.signal(signal.SIGSTOP)
            stalled_s = time.monotonic()
            await asyncio.sleep(stall_s)
            going_s = time.monotonic()
            session.redis.trapped.signal(signal.SIGCONT)
            for write in session.answered_between(stalled_s, going_s):
                session.findings.need(False, f"{write.request_id} answered by a stalled Redis")
            session.measured("serving_after_stall_s", await session.until_answered() - going_s)
            grown = _resident_bytes(session.server.trapped.pid) - before
            session.measured("memory_growth_mib", grown / 1024**2)
            session.findings.need(
                grown < _MEMORY_GROWTH_BYTES_MAX, f"memory grew by {grown} bytes in a stall"
            )
            await traffic.answers(size.answers)
            if size.calm_s:
                while time.monotonic() < going_s + 2.0 + size.calm_s:
                    await traffic.answers(1)
                session.measured("p99_before_stall_s", _p99_s(session, 0.0, stalled_s))
                after_s = going_s + 2.0
                session.measured("p99_from_2_s_after_stall_s", _p99_s(session, after_s))


async def depose_a_writer(session: Session, size: Size) -> None:
    """The old writer wakes up: its first append is refused, it answers nobody, it ends.

    With SQLite a second one is refused as long as the first one lives, stopped or not.
    """
    for _ in range(size.rounds):
        if session.kind == SQLITE:
            await _refuse_a_second(session, size)
        else:
            await _depose(session, size)


async def _refuse_a_second(session: Session, size: Size) -> None:
    async with session.traffic(shoppers=size.shoppers) as traffic:
        await traffic.answers(size.answers // 2)
        session.server.trapped.signal(signal.SIGSTOP)
        second = ServerProcess(data=session.server.data, port=free_port())
        try:
            await second.begin()
        except Refused as refused:
            session.findings.need(
                refused.status == _EXIT_REFUSED and "is held by" in refused.reason,
                f"the second server ended with {refused}",
            )
        else:
            session.findings.need(False, "two servers write one file")
            await second.end()
        session.server.trapped.signal(signal.SIGCONT)
        await traffic.answers(size.answers // 2)


async def _depose(session: Session, size: Size) -> None:
    proxy = LossyProxy(session.server.port, random.Random(session.seed))
    await proxy.start()
    old, new = session.server, ServerProcess(data=session.directory / "new", port=free_port())
    session.aim(new)
    target = f"127.0.0.1:{proxy.port}"
    async with session.traffic(shoppers=size.shoppers, target=target) as traffic:
        await traffic.answers(size.answers // 2)
        old.trapped.signal(signal.SIGSTOP)
        stopped_s = time.monotonic()
        while True:
            try:
                await new.begin()
                break
            except Refused as refused:  # the lease has not run out yet
                session.findings.need(
                    "is written by" in refused.reason, f"the new server ended with {refused}"
                )
        session.measured("taken_over_s", time.monotonic() - stopped_s)
        proxy.aim(new.port)
        await traffic.answers(size.answers // 4)
        late = [asyncio.ensure_future(session.probe(target=old.target)) for _ in range(4)]
        await asyncio.sleep(0)
        old.trapped.signal(signal.SIGCONT)
        woken_s = time.monotonic()
        for probe in await asyncio.gather(*late):
            session.findings.need(
                probe.answer is None, f"the deposed writer answered {probe.answer}"
            )
        status = await old.until_ended()
        session.measured("deposed_ended_s", time.monotonic() - woken_s)
        session.findings.need(
            status == _EXIT_FENCED and "must stop" in old.last_reason(),
            f"the deposed writer ended with {status}: {old.last_reason()}",
        )
        session.server = new
        await traffic.answers(size.answers // 4)
    await proxy.close()


def _resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status") as lines:
        for line in lines:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def _p99_s(session: Session, from_s: float, to_s: float = math.inf) -> float:
    """Of the time to an answer, of writes that were sent and answered in between."""
    times = [
        write.answered_s - write.sent_s
        for write in session.answered_between(from_s, to_s)
        if write.answered_s is not None
    ]
    return statistics.quantiles(times, n=100)[98]
