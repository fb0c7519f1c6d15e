"""After a wave: orders on later days and by later pickups, each planned by itself.

A wave has one day and one pickup of each node and service (`server.routing.wave_draft`). What it
leaves is planned here beside it. Where such a day or pickup ran out, so are the orders that pay for
it with a dearer way; and all orders are planned once more one after another, as single calls would
be. The cheaper of both is the answer, so that a wave never costs more than those calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.routing.plan import Plan
from server.application.pace import Pace
from server.routing.assembly import Assembly
from server.routing.orders import Held
from server.routing.planning import Planner
from server.routing.wave_draft import Taken, WaveDraft
from server.transport.errors import Refusal, Refused
from server.transport.infeasible import no_plan
from server.transport.wave_orders import Entry

Choice = tuple[Assembly, Plan] | Refusal
"""What becomes of an order."""

_ADDED_IN_A_ROW = 4


class LaterPlans:
    """Of one wave, whose orders have its plans or none."""

    def __init__(
        self,
        entries: Sequence[Entry],
        draft: WaveDraft,
        posed: Callable[[Entry, Held], Assembly],
        *,
        planner: Planner,
        free: Held | None,
        pace: Pace,
        until_s: float,
    ) -> None:
        """`entries`: in the order of their places in the wave. `posed`: an order's problem beside
        what others take; raises Refused. `free`: what promised orders give back. `until_s`: on the
        loop's clock; only what the wave left is planned later than that."""
        self._entries = entries
        self._draft = draft
        self._posed = posed
        self._planner = planner
        self._free = free
        self._pace = pace
        self._until_s = until_s
        self._loop = asyncio.get_running_loop()

    async def plan(self, short: NDArray[np.bool_]) -> None:
        """Give every order its plan, or the reason why it has none. `short`: nodes of the wave of
        which a day or a pickup may have run out."""
        taken = Taken(self._free)
        choices: list[Choice | None] = []
        for place, entry in enumerate(self._entries):
            choices.append(None)
            if entry.plan is not None and entry.assembly is not None:
                choices[place] = entry.assembly, entry.plan
                taken.add(entry.assembly, entry.plan)
            if place % _ADDED_IN_A_ROW == 0:
                await self._pace.turn()
        chosen: list[Choice] = []
        for entry, choice in zip(self._entries, choices, strict=True):
            if choice is None:
                choice = self._beside(entry, taken)
                await self._pace.turn()
            chosen.append(choice)
        if short.any():
            await self._improve(chosen, taken, short)
            chosen = await self._in_turn(self._cost(chosen)) or chosen
        for entry, choice in zip(self._entries, chosen, strict=True):
            if isinstance(choice, Refusal):
                entry.refuse(choice)
            elif choice[1] is not entry.plan:
                entry.assembly, entry.plan = choice
                entry.is_later = True

    def _beside(self, entry: Entry, taken: Taken) -> Choice:
        """An order's best plan beside what is taken, which takes it."""
        try:
            beside = self._posed(entry, taken.beside([line.sku for line in entry.order.lines]))
            solved = self._planner.solve(beside)
            if not solved.answer.costs:
                raise no_plan(solved, entry.path)
        except Refused as refused:
            return refused.refusal
        plan = solved.answer.plans[0]
        taken.add(beside, plan)
        return beside, plan

    async def _improve(self, chosen: list[Choice], taken: Taken, short: NDArray[np.bool_]) -> None:
        """Where an order pays more than it would alone, and a node of its own ran out, let it look
        again, those first that pay the most more."""
        more = {
            place: choice[1].cost - self._draft.cost_alone(place)
            for place, choice in enumerate(chosen)
            if not isinstance(choice, Refusal) and short[self._draft.nodes_of(place)].any()
        }
        for place in sorted((place for place in more if more[place] > 0), key=lambda at: -more[at]):
            if self._loop.time() > self._until_s:
                return
            before = chosen[place]
            assert not isinstance(before, Refusal)
            taken.give_back(*before)
            found = self._beside(self._entries[place], taken)
            if isinstance(found, Refusal):
                taken.add(*before)
            elif found[1].cost < before[1].cost:
                chosen[place] = found
            else:
                taken.give_back(*found)
                taken.add(*before)
            await self._pace.turn()

    async def _in_turn(self, below: int) -> list[Choice] | None:
        """All orders one after another; None where that costs no less than `below`."""
        taken = Taken(self._free)
        chosen: list[Choice] = []
        cost = sum(self._draft.cost_alone(place) for place in range(len(self._entries)))
        for place, entry in enumerate(self._entries):
            if cost >= below or self._loop.time() > self._until_s:
                return None
            chosen.append(self._beside(entry, taken))
            cost += self._cost_of(place, chosen[place]) - self._draft.cost_alone(place)
            await self._pace.turn()
        return chosen if cost < below else None

    def _cost(self, chosen: Sequence[Choice]) -> int:
        return sum(self._cost_of(place, choice) for place, choice in enumerate(chosen))

    def _cost_of(self, place: int, choice: Choice) -> int:
        if isinstance(choice, Refusal):
            return self._draft.left_cost(place)
        return choice[1].cost
