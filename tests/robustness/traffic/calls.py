"""One call through the real client library, recorded."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, Final

from engine.outcomes import REASON_NAMES
from holdfast import aio
from holdfast.errors import HoldfastError
from holdfast.retry import RetryPolicy
from holdfast.values.inventory import Adjustment, Count, CountChange, PositionChange
from holdfast.values.reservations import Reservation
from tests.robustness.traffic.history import OK, Answer, History, Read, Write

# As long as it takes: what a caller does not hear, it asks again under the same request id.
PATIENT: Final = RetryPolicy(
    attempts_max=1_000, backoff_s_max=0.2, budget_tokens_max=1e9, budget_per_call=1.0
)
ONCE: Final = RetryPolicy(attempts_max=1, attempt_share=1.0)
LEDGER_REASONS: Final = frozenset(REASON_NAMES.values())
"""Reasons that are the ledger's decision; every other one says that there was none."""


def milliseconds(moment: datetime | None) -> int | None:
    """A moment as the ledger counts it."""
    return None if moment is None else round(moment.timestamp() * 1_000)


def answer_of(reply: Reservation | PositionChange | CountChange) -> Answer:
    """What a reply says."""
    if not isinstance(reply, Reservation):
        return Answer(OK, reply.revision)
    return Answer(
        OK,
        reply.revision,
        reply.reservation_id,
        reply.state.value,
        milliseconds(reply.expire_time),
        tuple(take.quantity for line in reply.lines for take in line.takes),
    )


def refusal_of(error: HoldfastError) -> Answer:
    """What a refusal by the ledger says."""
    short = tuple(sorted(line.requested_quantity for line in error.short_lines))
    return Answer(error.reason, quantities=short or None)


async def send(client: aio.Client, write: Write) -> Answer | str:
    """Send `write`: the answer, or why there is none. Nothing is recorded."""
    intent = dict(write.intent)
    if write.kind == "adjust":
        intent = {"adjustments": [Adjustment(**row) for row in intent["adjustments"]]}
    elif write.kind == "count":
        intent = {"counts": [Count(**row) for row in intent["counts"]]}
    try:
        method: Any = getattr(client, write.kind)
        return answer_of(await method(**intent, request_id=write.request_id))
    except HoldfastError as error:
        if error.reason in LEDGER_REASONS:
            return refusal_of(error)
        return f"{type(error).__name__}: {error}"


async def perform(client: aio.Client, write: Write, history: History) -> Answer | None:
    """Send `write` and record it."""
    history.writes.append(write)
    write.sent_s = time.monotonic()
    told = await send(client, write)
    if isinstance(told, str):
        write.fault = told
        return None
    write.answered_s = time.monotonic()
    write.answer = told
    return told


async def look(
    client: aio.Client, number: int, skus: list[str], nodes: list[str], history: History
) -> None:
    """Read balances, and record them."""
    sent_s = time.monotonic()
    try:
        found = await client.availability(skus, nodes=nodes, max_staleness=0)
    except HoldfastError:
        return
    balances = {
        (row.sku, row.node): (row.on_hand, row.held, row.committed) for row in found.positions
    }
    history.reads.append(Read(number, sent_s, time.monotonic(), found.revision, balances))
