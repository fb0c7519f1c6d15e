"""Clients of the simulated server: shoppers and a stock system, all over a few hot positions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from engine import commands, reads
from engine.commands import CommandBatch
from engine.outcomes import OK, Outcomes
from server.application.piece_queue import EXTEND, REPORT, RESERVE, SETTLE
from server.application.sequencer_errors import SequencerError
from tests.simulation import orders
from tests.simulation.history import Answer, History, Operation, Read
from tests.simulation.world import World

SKUS = ("pear", "plum", "quince")
NODES = ("berlin", "lyon")
_ATTEMPTS = 12


class Client:
    """One client; it does one thing at a time, and sends it again until it is answered."""

    def __init__(self, number: int, world: World, history: History, seed: int) -> None:
        self._number = number
        self._world = world
        self._history = history
        self._chance = random.Random(seed * 1000 + number)
        self._made = 0
        self._known: list[orders.Id] = []

    async def run(self, operations: int) -> None:
        for _ in range(operations):
            await asyncio.sleep(self._chance.expovariate(1 / 0.02))
            if self._chance.random() < 0.1:
                await self._read()
            else:
                await self._perform(self._next_operation())

    # --- What to do --------------------------------------------------------------------------

    def _request_id(self) -> str:
        self._made += 1
        return f"{self._number}.{self._made}"

    def _next_operation(self) -> Operation:
        chance = self._chance
        roll = chance.random()
        stolen = chance.random() < 0.03 and self._made > 0
        request_id = f"{self._number}.1" if stolen else self._request_id()
        ids = [request_id]
        if roll < 0.45 or not self._known:
            priority = RESERVE
            batch = self._create(request_id)
            if chance.random() < 0.15:  # a bulk message
                more = [self._request_id() for _ in range(chance.randint(1, 4))]
                ids += more
                batch = CommandBatch.join([batch, *(self._create(one) for one in more)])
        elif roll < 0.80:
            priority = SETTLE
            target = chance.choice(self._known)
            make: Callable[[orders.Id, str], CommandBatch]
            make = orders.confirm if chance.random() < 0.5 else orders.cancel
            batch = make(target, request_id)
        elif roll < 0.87:
            priority = EXTEND
            batch = orders.extend(chance.choice(self._known), chance.randint(1, 500), request_id)
        else:
            priority = REPORT
            place = (chance.choice(SKUS), chance.choice(NODES))
            if chance.random() < 0.3:
                batch = orders.count(*place, chance.randint(0, 12), request_id)
            else:
                batch = orders.adjust(*place, chance.randint(-3, 5), request_id)
        return Operation(
            client=self._number,
            batch=batch,
            priority=priority,
            request_ids=ids,
            invoked_s=self._world.loop.time(),
            steals_request_id=stolen,
        )

    def _create(self, request_id: str) -> CommandBatch:
        chance = self._chance
        wanted = [
            (chance.choice(SKUS), chance.choice(NODES), chance.randint(1, 3))
            for _ in range(chance.randint(1, 3))
        ]
        named = chance.random() < 0.5
        reservation_id = f"r{self._number}.{len(self._known)}.{request_id}" if named else ""
        if named:
            self._known.append(reservation_id)
        ttl_ms = chance.choice((20, 200, 2_000, 20_000))
        return orders.create(
            wanted, ttl_ms=ttl_ms, request_id=request_id, reservation_id=reservation_id
        )

    # --- Doing it ----------------------------------------------------------------------------

    async def _perform(self, operation: Operation) -> None:
        self._history.operations.append(operation)
        for attempt in range(_ATTEMPTS):
            answered = self._world.loop.create_future()

            def reply(
                answer: Outcomes | Exception, answered: asyncio.Future[bool] = answered
            ) -> None:
                if isinstance(answer, Outcomes):
                    self._note(operation, answer)
                if not answered.done():
                    answered.set_result(isinstance(answer, Outcomes))

            operation.deadline_ms = None
            if self._chance.random() < 0.2 and self._world.sequencer is not None:
                operation.deadline_ms = self._world.clock.now_ms() + self._chance.randint(1, 50)
            self._world.send(operation, reply)
            try:
                done = await asyncio.wait_for(answered, self._chance.uniform(0.05, 0.3))
            except TimeoutError:
                done = False
            if done:
                if self._chance.random() < 0.1:  # a late duplicate of what was answered
                    self._world.send(operation, reply)
                return
            await asyncio.sleep(self._chance.uniform(0, min(0.5, 0.01 * 2**attempt)))

    def _note(self, operation: Operation, outcomes: Outcomes) -> None:
        operation.answers.append(Answer.of(outcomes))
        if operation.completed_s is None:
            operation.completed_s = self._world.loop.time()
            for row in outcomes.rows:
                if row["kind"] == commands.CREATE and row["code"] == OK:
                    self._known.append((int(row["reservation_hi"]), int(row["reservation_lo"])))

    async def _read(self) -> None:
        """Read balances, and tell nobody before what was read is durable."""
        sequencer = self._world.sequencer
        if sequencer is None:
            return
        invoked_s = self._world.loop.time()
        state = sequencer.state
        balances = {}
        for sku in SKUS:
            for node in NODES:
                row = reads.position_row(state, sku, node)
                if row >= 0:
                    position = state.positions[row]
                    balances[sku, node] = (
                        int(position["on_hand"]),
                        int(position["held"]),
                        int(position["committed"]),
                    )
        revision = state.revision
        try:
            await sequencer.barrier()
        except SequencerError:
            return
        if sequencer is self._world.sequencer:
            self._history.reads.append(Read(invoked_s, self._world.loop.time(), revision, balances))
