"""The network as of the documents' last change: parsed once each, compiled when one has changed.

Whoever changes documents says so (`changed`); another state (a restart, a take-over) is read whole.
"""

from __future__ import annotations

from typing import Any, Final

from engine.state import State
from holdfast.v1 import network_service_pb2 as messages
from server.documents import (
    CARRIER,
    CARRIER_SERVICE,
    CHANNEL,
    NODE,
    NODE_GROUP,
    ROUTING_RULES,
)
from server.routing.items import Items
from server.routing.network import Documents, Network
from server.routing.rules.reading import Rules, RulesRefused, read_rules

_MESSAGES: Final[dict[int, Any]] = {
    NODE: messages.Node,
    NODE_GROUP: messages.NodeGroup,
    CARRIER: messages.Carrier,
    CARRIER_SERVICE: messages.CarrierService,
    CHANNEL: messages.Channel,
    ROUTING_RULES: messages.RoutingRules,
}


class Catalog:
    """The documents routing reads, and the network they make."""

    def __init__(self) -> None:
        self.items = Items()
        self._state: State | None = None
        self._documents_version = -1
        self._parsed: dict[int, dict[str, Any]] = {}
        self._network: Network | None = None

    def changed(self, state: State, kind: int, name: str) -> None:
        """A document was put or deleted. The network is compiled when next asked for."""
        if kind not in _MESSAGES or self._state is not state:
            return
        self._read(state, kind, name)
        self._network = None

    def network(self, state: State, documents_version: int) -> Network:
        """The network of this state. O(1) while nothing has changed."""
        if self._state is not state or self._documents_version != documents_version:
            self._parsed = {kind: {} for kind in _MESSAGES}
            for kind, name in list(state.documents):
                if kind in _MESSAGES:
                    self._read(state, kind, name)
            self._state = state
            self._documents_version = documents_version
            self._network = None
        if self._network is None:
            self._network = self._compile(state)
        return self._network

    def _read(self, state: State, kind: int, name: str) -> None:
        kept = state.documents.get((kind, name))
        parsed = self._parsed[kind]
        if kept is None:
            parsed.pop(name, None)
        else:
            parsed[name] = _MESSAGES[kind].FromString(kept[0])

    def _compile(self, state: State) -> Network:
        sorted_by_name = {
            kind: {name: parsed[name] for name in sorted(parsed)}
            for kind, parsed in self._parsed.items()
        }
        rules, findings = _rules_of(sorted_by_name[ROUTING_RULES])
        network = Network(
            state.revision,
            Documents(
                nodes=sorted_by_name[NODE],
                groups=sorted_by_name[NODE_GROUP],
                carriers=sorted_by_name[CARRIER],
                services=sorted_by_name[CARRIER_SERVICE],
                channels=sorted_by_name[CHANNEL],
                rules=rules,
            ),
        )
        network.findings += findings
        return network


def _rules_of(documents: dict[str, messages.RoutingRules]) -> tuple[dict[str, Rules], list[str]]:
    """Sets of rules that are in use; those that were kept before rules were checked may be bad."""
    rules: dict[str, Rules] = {}
    findings = []
    for name, document in documents.items():
        if document.inactive:
            continue
        try:
            rules[name] = read_rules(name, document.yaml)
        except RulesRefused as fault:
            findings.append(f"routing rules {name!r} are left out: {fault}")
    return rules, findings
