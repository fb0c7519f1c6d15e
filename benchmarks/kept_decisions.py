"""Promises as a ledger keeps them, made without a server: for prices that follow from decisions.

Owns: `DecisionBook`. It writes the documents that `server.transport` writes with a promise, into a
state that has nothing else, and gives what prices ask for of an assembled order.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from engine.routing.plan import Plan
from engine.routing.problem import Problem
from engine.routing.waves.wave import WaveOrder
from engine.state import Capacity, State
from holdfast.v1 import routing_service_pb2 as messages
from server.documents import ROUTING_DECISION, ROUTING_DIRECTORY, ROUTING_TARIFF
from server.routing.decision_log import name_of
from server.routing.decisions import (
    Decision,
    Key,
    Room,
    digest_of,
    pack_directory,
    pack_problem,
    pack_tariff,
    text_of,
)


class DecisionBook:
    """Decisions over some nodes and SKUs, one after another."""

    def __init__(
        self, nodes: Sequence[str], skus: Sequence[str], state: State | None = None
    ) -> None:
        """`state`: of a ledger that has these positions; else of one that has nothing."""
        self.state = state or State.create(Capacity.small())
        self._network = SimpleNamespace(node_names=list(nodes))
        self._skus = list(skus)
        self._room = Room()
        self._revision = self.state.revision

    def assembly(self, order: WaveOrder, now_ms: int) -> Any:
        """What of an `Assembly` prices look at. Positions are numbered node by node."""
        return SimpleNamespace(
            network=self._network,
            order=SimpleNamespace(skus=[self._skus[item] for item in order.item]),
            problem=order.problem,
            nodes=order.node,
            positions=order.node[:, None] * len(self._skus) + order.item[None, :],
            now_ms=now_ms,
        )

    def promise(
        self,
        order: WaveOrder,
        plan: Plan,
        now_ms: int,
        *,
        problem: Problem | None = None,
        channel: str = "",
        name: str = "",
        command: bytes = b"",
    ) -> str:
        """Keep a decision; its name. `problem`: what it was decided with, where prices are in it.
        `command`: of an order planned anew, whose name does not end with 0."""
        name = name or name_of(f"order{self._revision}", 0)
        skus = [self._skus[item] for item in order.item]
        nodes = self._network.node_names
        reply = messages.PromiseOrderResponse()
        reply.plan.cost_minor_units = plan.cost
        for sent in plan.shipments:
            reply.plan.cost_terms.opportunity_minor_units += sent.opportunity_cost
            shown = reply.plan.shipments.add(node=nodes[int(order.node[sent.node])])
            for line, units in sent.units.items():
                shown.lines.add(line=line, sku=skus[line], quantity=units)
        asked = messages.RoutingOrder(
            channel=channel,
            lines=[
                messages.RoutingLine(sku=sku, quantity=int(units))
                for sku, units in zip(skus, order.problem.arrays.quantity, strict=True)
            ],
        )
        decision = Decision(
            key=Key((0, 0), (0, 0)),
            time_ms=now_ms,
            attempt=0,
            revision=self._revision,
            strategy=0,
            work_budget=0,
            order=asked.SerializeToString(),
            reply=reply.SerializeToString(),
            refusal=b"",
            command=command,
            problem=self._packed(problem or order.problem, order),
        )
        self.put(ROUTING_DECISION, name, decision.to_bytes())
        return name

    def put(self, kind: int, name: str, body: bytes) -> None:
        """A document, at a revision of its own."""
        self._revision += 1
        self.state.documents[kind, name] = (body, self._revision)

    def _packed(self, problem: Problem, order: WaveOrder) -> bytes:
        tariff = pack_tariff(problem.tariff)
        services = [f"service{number}" for number in range(problem.tariff.services - 1)]
        directory = pack_directory(self._network.node_names, services)
        for kind, shared in ((ROUTING_TARIFF, tariff), (ROUTING_DIRECTORY, directory)):
            if (kind, digest_of(shared)) not in self.state.documents:
                self.put(kind, digest_of(shared), shared)
        return pack_problem(
            problem.view,
            np.ascontiguousarray(order.node, np.int64),
            self._room,
            shape=(problem.nodes, problem.lines, problem.tariff.services),
            text=text_of(digest_of(tariff), digest_of(directory)),
        )
