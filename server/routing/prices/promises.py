"""The promises among the decisions that the ledger keeps, in the order in which it took them.

Owns: `Reading`, how far they were read.

The order is that of the revisions of their documents: it is the same for whoever reads the ledger,
and for the process that made the promises as they were answered.
"""

from __future__ import annotations

from collections.abc import Iterator
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


class Reading:
    """How far the promises of a state have been read: what comes next is what is new."""

    def __init__(self) -> None:
        self._at: tuple[State, int] | None = None
        self._newest = EVERYTHING

    def is_at(self, state: State, documents_version: int) -> bool:
        """Whether this state was read as it is."""
        return self._at == (state, documents_version)

    def move_to(self, state: State, documents_version: int, *, follows: bool) -> bool:
        """Read this state from now on; `follows`: as `OpportunityPrices.refresh`. Whether it is
        read from its first promise on."""
        known, self._at = self._at, (state, documents_version)
        is_anew = known is None or known[0] is not state or not follows
        if is_anew:
            self._newest = EVERYTHING
        return is_anew

    def new(self, state: State) -> Iterator[Promise]:
        """The promises that were not read yet."""
        for promise in kept_after(state, self._newest):
            self._newest = promise.revision
            yield promise

    def has(self, revision: int) -> bool:
        """Whether what was put at a revision was read."""
        return revision <= self._newest


def is_new_order(state: State, name: str) -> bool:
    """Whether a decision is the promise of an order that came, not one of an order planned anew."""
    if name.rpartition("\0")[2] == "0":
        return True
    body, _ = state.documents[ROUTING_DECISION, name]
    batch = CommandBatch.from_bytes(Decision.from_bytes(body).command)
    return bool(batch.headers["kind"][-1] == commands.CREATE)
