"""Which nodes a channel sells from.

The ledger knows channels and their ring-fences; that a channel sells from some nodes only is said
in its document. Reservations through such a channel are held against it before they are queued;
one whose request the ledger has answered before passes, so that its answer stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine import commands, reads
from engine.hashing import key_of
from engine.requests import find_request
from engine.state import State
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as messages
from server.documents import CHANNEL, NODE_GROUP
from server.transport.errors import Case, Fault, Refusal, Refused, refusal
from server.transport.ledger_view import LedgerView


class ChannelNodes:
    """The restricted channels, as of the documents' last change."""

    def __init__(self, view: LedgerView) -> None:
        self._view = view
        self._version = -1
        self._state: State | None = None
        self._allowed: dict[int, frozenset[str]] = {}
        self._keys: NDArray[np.uint64] = np.zeros(0, np.uint64)

    def forget(self) -> None:
        """A channel or node group changed: read them again at the next use."""
        self._state = None

    def _refresh(self) -> None:
        state, version = self._view.state, self._view.gateway.documents_version
        if self._state is state and self._version == version:
            return
        self._allowed = {}
        for kind, name in list(state.documents):
            if kind == CHANNEL:
                nodes = _nodes_of(state, network.Channel.FromString(state.documents[kind, name][0]))
                if nodes is not None:
                    self._allowed[key_of(name.encode())] = nodes
        self._keys = np.array(sorted(self._allowed), np.uint64)
        self._state = state
        self._version = version

    def nodes_of(self, channel: str) -> frozenset[str] | None:
        """Names of the nodes a channel sells from; None: all."""
        self._refresh()
        return self._allowed.get(key_of(channel.encode()))

    def any_restricted(self, headers: NDArray[np.void]) -> bool:
        """Whether a command goes through a channel that does not sell from every node."""
        self._refresh()
        if not len(self._keys):
            return False
        return bool(np.isin(headers["channel_key"], self._keys).any())

    def check(
        self,
        headers: NDArray[np.void],
        requests: Sequence[messages.CreateReservationRequest],
    ) -> None:
        """Raise Refused where a line's node is not one of its channel's."""
        if not self.any_restricted(headers):
            return
        state = self._view.state
        for index, request in enumerate(requests):
            allowed = self._allowed.get(int(headers["channel_key"][index]))
            if allowed is None or _is_known(state, headers[index]):
                continue
            for number, line in enumerate(request.lines):
                nodes = [line.node] if line.node else _group_nodes(state, line.node_group)
                outside = next((node for node in nodes if node not in allowed), None)
                if outside is not None:
                    raise Refused(_not_in_channel(request.channel, outside, number))


def _is_known(state: State, header: np.void) -> bool:
    if not header["request_hi"] and not header["request_lo"]:
        return False
    return bool(find_request(state.tables, header["request_hi"], header["request_lo"]) >= 0)


def _not_in_channel(channel: str, node: str, number: int) -> Refusal:
    return refusal(
        Fault.NODE_NOT_IN_CHANNEL,
        Case(
            subject=node,
            message=f"channel {channel!r} does not sell from node {node!r} (lines[{number}])",
            metadata={"channel": channel, "node": node, "line": f"lines[{number}]"},
        ),
    )


def _group_nodes(state: State, group: str) -> list[str]:
    row = reads.find_name(state, commands.GROUP, group)
    if row < 0:
        return []
    return [reads.name_text(state, node) for node in reads.group_nodes(state, row)]


def _nodes_of(state: State, channel: network.Channel) -> frozenset[str] | None:
    if not channel.nodes and not channel.node_groups:
        return None
    nodes = set(channel.nodes)
    for group in channel.node_groups:
        found = state.documents.get((NODE_GROUP, group))
        if found is not None:
            nodes.update(network.NodeGroup.FromString(found[0]).nodes)
    return frozenset(nodes)
