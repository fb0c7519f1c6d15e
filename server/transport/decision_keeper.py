"""Decisions as documents of the ledger: written with what they decide, the oldest deleted for them.

A tariff, and the names that a problem's numbers stand for, are documents of their own under their
digests: thousands of decisions share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.routing.tariff import Tariff
from engine.state import State
from server.documents import ROUTING_DECISION, ROUTING_DIRECTORY, ROUTING_TARIFF
from server.routing.assembly import Assembly
from server.routing.decision_log import DecisionLog
from server.routing.decisions import (
    Decision,
    Key,
    Names,
    Room,
    Rulings,
    digest_of,
    pack_directory,
    pack_problem,
    pack_tariff,
    rulings_of,
    text_of,
)
from server.routing.metrics import RoutingMetrics
from server.routing.network import Network
from server.routing.rules.ruling import NO_RULE
from server.transport.columns import Columns
from server.transport.document_commands import delete_documents, put_document
from server.transport.ledger_view import LedgerView

_KEPT_MAX = 64


class DecisionKeeper:
    """Writes decisions into pieces for the ledger, and keeps the log of them."""

    def __init__(self, view: LedgerView, metrics: RoutingMetrics, log: DecisionLog) -> None:
        self._view = view
        self._metrics = metrics
        self.log = log
        self.room = Room()
        self._shared: dict[int, tuple[Any, str, bytes]] = {}

    def refresh(self) -> None:
        """Make the log that of the state as it stands."""
        gateway = self._view.gateway
        self.log.refresh(gateway.state, gateway.documents_version)

    def packed(self, assembly: Assembly) -> bytes:
        """The problem of a plan, to be kept."""
        problem, network = assembly.problem, assembly.network
        names = names_of(assembly)
        text = self.text(problem.tariff, network, rulings_of(names))
        shape = (problem.nodes, problem.lines, problem.tariff.services)
        return pack_problem(problem.view, assembly.nodes, self.room, shape=shape, text=text)

    def text(self, tariff: Tariff, network: Network, rules: Rulings = ()) -> bytes:
        """The texts of a problem to be kept."""
        return text_of(self._tariff(tariff)[0], self._directory(network)[0], rules)

    def add_shared(
        self, columns: Columns, state: State, tariff: Tariff, network: Network, caller: bytes
    ) -> None:
        """Put what a problem names by its digest, where the ledger does not have it."""
        for kind, (digest, packed) in (
            (ROUTING_TARIFF, self._tariff(tariff)),
            (ROUTING_DIRECTORY, self._directory(network)),
        ):
            if (kind, digest) not in state.documents:
                put_document(columns, kind, digest, packed, caller)

    def _tariff(self, tariff: Tariff) -> tuple[str, bytes]:
        return self._once(tariff) or self._keep(tariff, pack_tariff(tariff))

    def _directory(self, network: Network) -> tuple[str, bytes]:
        return self._once(network) or self._keep(
            network, pack_directory(network.node_names, network.service_names)
        )

    def _once(self, source: Any) -> tuple[str, bytes] | None:
        """Digest and bytes where they were worked out before."""
        known = self._shared.get(id(source))
        return known[1:] if known is not None and known[0] is source else None

    def _keep(self, source: Any, packed: bytes) -> tuple[str, bytes]:
        if len(self._shared) >= _KEPT_MAX:
            self._shared.clear()
        digest = digest_of(packed)
        self._shared[id(source)] = (source, digest, packed)
        return digest, packed

    def put(self, columns: Columns, name: str, decision: Decision, caller: bytes) -> list[str]:
        """Write a decision, and delete those that go for it; their names."""
        gone = self.make_room(columns, 0 if name in self.log else 1, caller)
        self.write(columns, name, decision, caller)
        return gone

    def make_room(self, columns: Columns, coming: int, caller: bytes) -> list[str]:
        """Delete the oldest decisions where so many new ones are too many; their names."""
        gone = self.log.beyond(coming)
        if gone:
            delete_documents(columns, ROUTING_DECISION, gone, caller)
        return gone

    def write(self, columns: Columns, name: str, decision: Decision, caller: bytes) -> None:
        """Write a decision for which there is room."""
        put_document(columns, ROUTING_DECISION, name, decision.to_bytes(), caller)

    def note(self, name: str, decision: Decision, gone: Sequence[str]) -> None:
        """The ledger has what `put` wrote."""
        self.removed(gone)
        self.added(name, decision.key, has_plan=bool(decision.reply))

    def removed(self, gone: Sequence[str]) -> None:
        """The ledger has these no longer."""
        for old in gone:
            self.log.removed(old)

    def added(self, name: str, key: Key, *, has_plan: bool) -> None:
        """The ledger has this one."""
        self.log.added(name, key.request, has_plan)
        self._metrics.decisions_kept = len(self.log)


def names_of(assembly: Assembly) -> Names:
    """What the numbers of an assembly's problem stand for."""
    network, ruling = assembly.network, assembly.ruling
    rules = network.rules
    return Names(
        nodes=[network.node_names[number] for number in assembly.nodes.tolist()],
        services=[*network.service_names],
        node_rules={
            place: rules.rule(int(number)).name
            for place, number in enumerate(ruling.node_rule[assembly.nodes].tolist())
            if number != NO_RULE
        },
        service_rules={
            place: rules.rule(int(number)).name
            for place, number in enumerate(ruling.service_rule.tolist())
            if number != NO_RULE
        },
    )
