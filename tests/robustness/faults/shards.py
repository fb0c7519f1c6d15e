"""Fault 12: a crash between the shards of one order, for callers who keep two ledgers themselves.

One server keeps one shard, and none of them knows of another. What a caller can do today, with the
hold itself as its prepare, is this protocol; every step may be repeated, by anybody who knows the
order's name, since reservation and request ids follow from it:

1. hold the lines at every shard, under the order's name; where one is refused, cancel the others;
2. extend the holds at all shards but the first, so that each has its whole time to live before it;
3. confirm at the first shard: this is the decision;
4. confirm at the others.

Who takes up an order whose caller died asks the first shard. CONFIRMED: do step 4, and where a hold
has run out by then, cancel at the first shard too. Anything else: cancel everywhere. An order that
was not decided needs nobody: its holds run out.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

from holdfast import aio
from holdfast.errors import ReservationNotFound
from holdfast.values.reservations import ReservationState
from tests.robustness.faults.size import Size
from tests.robustness.session import Session
from tests.robustness.traffic.calls import PATIENT, perform, send
from tests.robustness.traffic.history import OK, Answer, Write
from tests.robustness.traffic.shoppers import NODES, SKUS

_TTL_S = 4.0
_STEPS = 5  # after which a caller may die; the last: not at all
_SETTLED_S_MAX = 60.0


@dataclass(slots=True)
class Shard:
    """One ledger, and a client to it."""

    session: Session
    client: aio.Client
    begun: dict[str, Write] = field(default_factory=dict)
    """Every step that anybody took, by its request id."""

    async def do(self, kind: str, order: str, **intent: Any) -> Answer:
        """One step of an order, asked until it is answered, perhaps not for the first time."""
        intent["reservation_id"] = order
        request_id = f"{order}-{kind}"
        known = self.begun.get(request_id)
        if known is None:
            write = self.begun[request_id] = Write(-3, kind, request_id, intent, 0.0)
            answer = await perform(self.client, write, self.session.history)
            told: Answer | str = answer if answer is not None else write.fault
        else:
            told = await send(self.client, known)
            if not isinstance(told, str):
                known.again.append(told)
        if isinstance(told, str):
            raise RuntimeError(f"{request_id} was not answered: {told}")
        return told

    async def state(self, order: str) -> ReservationState:
        """Where the order stands here; CANCELLED where it never was."""
        try:
            return (await self.client.get(order)).state
        except ReservationNotFound:
            return ReservationState.CANCELLED


class Caller:
    """Places one order over some shards, and dies after `steps` steps."""

    def __init__(self, shards: list[Shard], order: str, lines: list[list[Any]], steps: int) -> None:
        self._shards = shards
        self._order = order
        self._lines = lines
        self._steps = steps
        self.decided = False

    async def run(self) -> None:
        """As far as it gets."""
        for number, step in enumerate((self._hold_first, self._hold, self._extend, self._decide)):
            if self._steps == number or not await step():
                return
        if self._steps > 4:
            await take_up(self._shards, self._order)

    async def _hold_first(self) -> bool:
        """The first of the holds alone: a caller may die between two of them."""
        return await self._held(0)

    async def _hold(self) -> bool:
        return all([await self._held(number) for number in range(1, len(self._shards))])

    async def _held(self, number: int) -> bool:
        answer = await self._shards[number].do(
            "reserve", self._order, lines=self._lines[number], ttl=_TTL_S
        )
        if answer.code != OK:
            await take_up(self._shards, self._order)
        return answer.code == OK

    async def _extend(self) -> bool:
        for shard in self._shards[1:]:
            if (await shard.do("extend", self._order, ttl=_TTL_S)).code != OK:
                await take_up(self._shards, self._order)
                return False
        return True

    async def _decide(self) -> bool:
        self.decided = (await self._shards[0].do("confirm", self._order)).code == OK
        if not self.decided:
            await take_up(self._shards, self._order)
        return self.decided


async def take_up(shards: list[Shard], order: str) -> None:
    """Bring an order to its end, whoever began it."""
    first, *others = shards
    if await first.state(order) is ReservationState.CONFIRMED:
        for shard in others:
            if (await shard.do("confirm", order)).code != OK:
                break
        else:
            return
    for shard in shards:
        await shard.do("cancel", order)


async def crash_between_shards(session: Session, size: Size) -> None:
    """Callers die after each of the steps, and servers in between; all lines or none, soon."""
    chance = session.chance
    async with Session(session.kind, session.seed + 1) as second:
        sessions = [session, second]
        clients = [aio.Client(each.server.target, timeout=60.0, retry=PATIENT) for each in sessions]
        shards = [Shard(each, client) for each, client in zip(sessions, clients, strict=True)]
        for _ in range(size.rounds):
            await _round(shards, chance, orders=4 * (_STEPS + 1))
        for client in clients:
            await client.close()
        await second.judge()
        session.findings.found += second.findings.found


async def _round(shards: list[Shard], chance: random.Random, *, orders: int) -> None:
    session = shards[0].session
    session.shared.turns += 1
    callers = {}
    for number in range(orders):
        order = f"across-{session.shared.turns}-{number}"
        lines = [
            [(chance.choice(SKUS), chance.choice(NODES), chance.randint(1, 3))] for _ in shards
        ]
        callers[order] = Caller(shards, order, lines, number % (_STEPS + 1))

    async def later(caller: Caller) -> None:
        await asyncio.sleep(chance.uniform(0, 0.3))
        await caller.run()

    running = [asyncio.ensure_future(later(caller)) for caller in callers.values()]
    await asyncio.sleep(chance.uniform(0.02, 0.2))
    crashed_s = time.monotonic()
    victim = chance.choice(shards).session
    await victim.server.kill()
    await victim.begin()
    await asyncio.gather(*running)
    for order, caller in callers.items():
        # Nobody is needed for what was not decided; half of it is taken up all the same.
        if caller.decided or chance.random() < 0.5:
            await take_up(shards, order)
    for order in callers:
        states = await _settled(shards, order)
        confirmed = [state is ReservationState.CONFIRMED for state in states]
        session.findings.need(
            states != [] and len(set(confirmed)) == 1,
            f"{order} ended as {[str(state) for state in states]}",
        )
    session.measured("orders_settled_s", time.monotonic() - crashed_s)


async def _settled(shards: list[Shard], order: str) -> list[ReservationState]:
    """Where the order stands once it is held nowhere; empty when it stays held."""
    began_s = time.monotonic()
    while time.monotonic() < began_s + _SETTLED_S_MAX:
        states = [await shard.state(order) for shard in shards]
        if ReservationState.HELD not in states:
            return states
        await asyncio.sleep(0.05)
    return []
