"""The promises among the decisions that the ledger keeps, in the order in which it took them.

The order is that of the revisions of their documents: it is the same for whoever reads the ledger,
and for the process that made the promises as they were answered.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine import commands
from engine.commands import CommandBatch
from engine.state import State
from server.documents import ROUTING_DECISION
from server.routing.decisions import Decision, index_of

EVERYTHING: Final = -1
"""In place of a revision: before all of them."""


class Promise(NamedTuple):
    """A decision with a plan."""

    revision: int
    """Of its document."""
    time_ms: int
    """When it was planned."""
    name: str


def kept_after(state: State, revision: int) -> list[Promise]:
    """What was decided after a revision, in the order of revisions. O(documents put since).

    A document put anew keeps its place among the others, and is found again only by a look at
    EVERYTHING: its decision is known from the first time, by the plan that met a conflict.
    """
    found = []
    # What was put last comes first: before it is nothing that came later for the first time.
    for (kind, name), (body, put_at) in reversed(state.documents.items()):
        if put_at <= revision:
            break
        if kind != ROUTING_DECISION:
            continue
        time_ms, _, has_plan = index_of(body)
        if has_plan:
            found.append(Promise(put_at, time_ms, name))
    return sorted(found)


def is_new_order(state: State, name: str) -> bool:
    """Whether a decision is the promise of an order that came, not one of an order planned anew."""
    if name.rpartition("\0")[2] == "0":
        return True
    body, _ = state.documents[ROUTING_DECISION, name]
    batch = CommandBatch.from_bytes(Decision.from_bytes(body).command)
    return bool(batch.headers["kind"][-1] == commands.CREATE)
