"""Which positions a query or watch is about: SKUs over nodes, node groups and a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, limits, reads
from server.transport.channel_nodes import ChannelNodes
from server.transport.errors import Case, Fault, Refused, refusal
from server.transport.ledger_view import LedgerView
from server.transport.validation import Checker


@dataclass(frozen=True, slots=True)
class Selection:
    """Name rows, each once, in the order asked for. `nodes` is None where every node counts."""

    skus: NDArray[np.int64]
    nodes: NDArray[np.int64] | None


def check_selection(check: Checker, request: Any, *, skus_required: bool) -> None:
    """Check the fields that queries and watches share."""
    check.count("skus", len(request.skus), "query_positions_max", required=skus_required)
    check.count("nodes", len(request.nodes), "query_positions_max", required=False)
    check.count(
        "node_groups", len(request.node_groups), "node_groups_per_query_max", required=False
    )
    for field, limit in (
        ("skus", "sku_bytes_max"),
        ("nodes", "node_bytes_max"),
        ("node_groups", "node_bytes_max"),
    ):
        for index, text in enumerate(getattr(request, field)[: limits.query_positions_max]):
            check.identifier(f"{field}[{index}]", text, limit, required=True)
    check.identifier("channel", request.channel, "channel_bytes_max")


def select(view: LedgerView, channels: ChannelNodes, request: Any) -> Selection:
    """The name rows a checked request speaks of. Raises Refused for names nobody knows."""
    state = view.state
    skus = _rows(view, "skus", commands.SKU, Fault.SKU_NOT_FOUND, request.skus)
    nodes = _rows(view, "nodes", commands.NODE, Fault.NODE_NOT_FOUND, request.nodes)
    groups = _rows(
        view, "node_groups", commands.GROUP, Fault.NODE_GROUP_NOT_FOUND, request.node_groups
    )
    for group in groups:
        nodes += reads.group_nodes(state, group)
    given = bool(request.nodes or request.node_groups)
    if request.channel:
        if reads.find_name(state, commands.CHANNEL, request.channel) < 0:
            raise Refused(
                refusal(
                    Fault.CHANNEL_NOT_FOUND,
                    Case(
                        message=f"no such channel: {request.channel!r}",
                        metadata={"channel": request.channel},
                    ),
                )
            )
        allowed = channels.nodes_of(request.channel)
        if not given and allowed is not None:
            found = (reads.find_name(state, commands.NODE, name) for name in sorted(allowed))
            nodes = [row for row in found if row >= 0]
            given = True
    return Selection(
        np.array(list(dict.fromkeys(skus)), np.int64),
        np.array(list(dict.fromkeys(nodes)), np.int64) if given else None,
    )


def _rows(view: LedgerView, field: str, kind: int, fault: Fault, texts: Any) -> list[int]:
    state = view.state
    rows = []
    for index, text in enumerate(texts):
        row = reads.find_name(state, kind, text)
        if row < 0:
            path = f"{field}[{index}]"
            key = field.removesuffix("s")
            raise Refused(
                refusal(
                    fault,
                    Case(
                        message=f"{path}: no such {key.replace('_', ' ')}: {text!r}",
                        metadata={"field": path, key: text},
                    ),
                )
            )
        rows.append(row)
    return rows


def too_many(field: str, count: int) -> Refused:
    """More positions than one query or watch may have."""
    check = Checker(0)
    most = limits.query_positions_max
    check.beyond(field, f"{count} positions", "query_positions_max", most)
    try:
        check.refuse()
    except Refused as refused:
        return refused
    raise AssertionError("a violation refuses")
