"""REPLAN: what a shortfall has left without units moves to nodes that have them.

After the step that found the shortfall, while a position promises more than there is, the newest
reservation that takes from it moves: an order of PromiseOrder is planned anew, as ReplanOrder does;
of any other reservation the lines go to the node that can give the most. Each is an atomic step of
its own, and one that finds no better place stays where it is. Nobody's promise is taken away.
Since what is looked at is the shortfall and not the step, repeating the step goes on with what an
outage left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from engine import commands, outcomes, reads
from engine.outcomes import Outcomes
from holdfast.v1 import reservation_service_pb2 as messages
from holdfast.v1 import routing_service_pb2 as routing
from server.application.gateway import NotDone
from server.metrics import Metrics
from server.transport import render, scan
from server.transport.calls import Call
from server.transport.channel_nodes import ChannelNodes
from server.transport.errors import Refused
from server.transport.ledger_view import LedgerView
from server.transport.node_rows import NodeRows
from server.transport.position_columns import find_rows, read_positions
from server.transport.services.promises import PromiseService
from server.transport.services.reservations import STEPS, ReservationService

MOVES_MAX: Final = 1_000
"""Reservations that one step may move."""


class ShortfallMoves:
    """Moves reservations away from positions that are short."""

    def __init__(
        self,
        view: LedgerView,
        channels: ChannelNodes,
        nodes: NodeRows,
        metrics: Metrics,
        reservations: ReservationService,
        promises: PromiseService,
    ) -> None:
        self._view = view
        self._channels = channels
        self._nodes = nodes
        self._metrics = metrics
        self._reservations = reservations
        self._promises = promises

    async def cover(self, short: Iterable[int], call: Call) -> dict[int, list[str]]:
        """Make these positions (rows) short no more, as far as other nodes can. The reservations
        that moved, by position; the newest first.

        Ends early, without an error, where the ledger takes no more or the caller waits no longer.
        """
        state = self._view.state
        left = {row for row in short if reads.available(state, row) < 0}
        moved: dict[int, list[str]] = {row: [] for row in left}
        if not left:
            return moved
        for reservation in scan.holders(state, np.array(sorted(left), np.int64))[:MOVES_MAX]:
            if not left:
                break
            before = self._units(reservation)
            taken = before.keys() & left
            left -= {row for row in taken if reads.available(state, row) >= 0}
            taken &= left
            if not taken:
                continue
            name = reads.reservation_id(state, reservation)
            try:
                await self._move(reservation, name, taken, call)
            except Refused:
                continue
            except NotDone:
                break
            after = self._units(reservation)
            gone = [row for row in taken if after.get(row, 0) < before[row]]
            for row in gone:
                moved[row].append(name)
            self._metrics.shortfall_moves += bool(gone)
        return moved

    def _units(self, reservation: int) -> dict[int, int]:
        """Open units of a reservation, by position (row)."""
        state = self._view.state
        takes = [state.takes[row] for row in reads.takes_of(state, reservation)]
        return {int(take["position"]): int(take["quantity"]) for take in takes if take["quantity"]}

    async def _move(self, reservation: int, name: str, taken: set[int], call: Call) -> None:
        """Plan one anew, or move its lines. Raises Refused, NotDone."""
        if self._is_promised(name):
            await self._promises.replan(routing.ReplanOrderRequest(reservation_id=name), call)
            return
        request = messages.ReassignReservationRequest(reservation_id=name)
        request.reassignments.extend(self._elsewhere(reservation, taken))
        if request.reassignments:
            await self._reservations.apply_step(STEPS["ReassignReservation"], request, call)

    def _is_promised(self, name: str) -> bool:
        try:
            self._promises.promised(name)
        except Refused:
            return False
        return True

    def _elsewhere(self, reservation: int, taken: set[int]) -> list[messages.LineReassignment]:
        """Where the lines that take from these positions could go."""
        state = self._view.state
        channel = reads.reservation_channel(state, reservation)
        shown, takes = reads.reservation_outcome(state, reservation)
        made = render.reservation(
            shown[0], takes, self._view.names, reservation_id="", owner="", channel=channel
        )
        called = [self._view.names.position(row) for row in taken]
        short = {(position.sku, position.node) for position in called}
        found = []
        given: Counter[tuple[str, str]] = Counter()
        for number, line in enumerate(made.lines):
            for node in dict.fromkeys(take.node for take in line.takes):
                if (line.sku, node) not in short:
                    continue
                best, free = self._best(line.sku, channel, given)
                units = min(free, sum(take.quantity for take in line.takes if take.node == node))
                if units > 0:
                    given[line.sku, best] += units
                    move = messages.LineReassignment(
                        line=number, source_node=node, destination_node=best, quantity=units
                    )
                    found.append(move)
        return found

    def _best(self, sku: str, channel: str, given: Counter[tuple[str, str]]) -> tuple[str, int]:
        """(node, units it can give), of the node that can give the most; ("", 0): none."""
        state = self._view.state
        key = state.names["key"][[reads.find_name(state, commands.SKU, sku)]]
        rows = find_rows(state, key, self._nodes.keys())[0]
        there = read_positions(state, rows[rows >= 0], channel=channel)
        allowed = self._channels.nodes_of(channel) if channel else None
        best, most = "", 0
        for position in there:
            free = int(position["available_to_sell"])
            if free <= most or reads.node_is_frozen(state, int(position["node"])):
                continue
            node = reads.name_text(state, int(position["node"]))
            free -= given[sku, node]
            if free > most and (allowed is None or node in allowed):
                best, most = node, free
        return best, most


def short_rows(answer: Outcomes) -> list[tuple[int, int]]:
    """(line, position) of what a step has left short."""
    details: Any = answer.details
    found = details[(details["kind"] == outcomes.SHORTFALL) & (details["shortfall"] > 0)]
    return [(int(row["line"]), int(row["position"])) for row in found]
