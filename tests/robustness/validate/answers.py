"""Every answer a caller was given, against the journal and the independent model.

A write that was answered is in the journal, once, at the revision it was told, and was decided and
filled as the model says. The same request got the same answer every time. A read shows the balances
of the revision it names. A stolen request id was refused by name.
"""

from __future__ import annotations

from typing import Final

from engine import outcomes
from engine.hashing import key_of, wide_key_of
from tests.robustness.traffic.history import OK, Answer, History, Read, Write
from tests.robustness.validate.findings import (
    LOST,
    LOST_READ,
    TWO_ANSWERS,
    TWO_EFFECTS,
    WRONG_ANSWER,
    WRONG_READ,
    Findings,
)
from tests.robustness.validate.journal import Replayed

_STATES: Final = {
    outcomes.HELD: "HELD",
    outcomes.CONFIRMED: "CONFIRMED",
    outcomes.FULFILLED: "FULFILLED",
    outcomes.CANCELLED: "CANCELLED",
    outcomes.EXPIRED: "EXPIRED",
}
REUSED: Final = "REQUEST_ID_REUSED"


def request_key(request_id: str, caller: bytes = b"") -> tuple[int, int]:
    """Under which the ledger remembers the request; without certificates nobody has a name."""
    return wide_key_of(caller + b"\0" + request_id.encode())


def judge_answers(history: History, told: Replayed, findings: Findings) -> None:
    """Compare every answer there is."""
    for write in history.writes:
        if write.steals:
            _judge_theft(write, findings)
            continue
        _judge_repeats(write, findings)
        if write.answer is not None:
            _judge_write(write, write.answer, told, findings)
    for read in history.reads:
        _judge_read(read, told, findings)


def _judge_theft(write: Write, findings: Findings) -> None:
    if write.answer is not None and write.answer.code != REUSED:
        findings.add(
            TWO_EFFECTS,
            f"{write.request_id}, with another body, was answered {write.answer.code}",
        )


def _judge_repeats(write: Write, findings: Findings) -> None:
    """The first answer is the only one; where the caller gave up, the first it was given later."""
    answers = [write.answer, *write.again] if write.answer is not None else write.again
    for again in answers[1:]:
        if again != answers[0]:
            findings.add(
                TWO_ANSWERS, f"{write.kind} {write.request_id}: first {answers[0]}, later {again}"
            )


def _judge_write(write: Write, answer: Answer, told: Replayed, findings: Findings) -> None:
    name = f"{write.kind} {write.request_id}"
    known = told.model.seen.get(request_key(write.request_id))
    if known is None:
        findings.add(LOST, f"{name}, answered {answer.code}, is not in the journal")
        return
    _, revision = known
    if answer.revision is not None and answer.revision != revision:
        findings.add(
            TWO_EFFECTS,
            f"{name} was answered with revision {answer.revision}, "
            f"the journal has it at {revision}",
        )
        return
    expected = told.model.expected[revision]
    _compare(name, "code", answer.code, outcomes.REASON_NAMES[expected.code], findings)
    _compare(name, "quantities", answer.quantities, expected.quantities, findings)
    if answer.code != OK or answer.state is None:
        return
    if expected.state is not None:
        _compare(name, "state", answer.state, _STATES[expected.state], findings)
    if answer.state == "HELD":
        _compare(name, "expire_ms", answer.expire_ms, expected.expire_ms, findings)
    made = told.model.made_by.get(revision)
    if made is not None:
        _compare(name, "id", wide_key_of(answer.reservation_id.encode()), made, findings)


def _compare(name: str, what: str, was: object, meant: object, findings: Findings) -> None:
    if was is not None and meant is not None and was != meant:
        findings.add(WRONG_ANSWER, f"{name}: {what} was {was}, by the model {meant}")


def _judge_read(read: Read, told: Replayed, findings: Findings) -> None:
    known = told.balances_at.get(read.revision)
    if known is None:
        findings.add(LOST_READ, f"revision {read.revision} was read and is no record's end")
        return
    for (sku, node), balances in read.balances.items():
        meant = known.get((key_of(sku.encode()), key_of(node.encode())), (0, 0, 0))
        if balances != meant:
            findings.add(
                WRONG_READ,
                f"{sku} at {node} was {balances} at revision {read.revision}, by the model {meant}",
            )


def revision_of(write: Write, told: Replayed) -> int | None:
    """Where the journal has a write that was answered; None when nowhere, or the id is stolen."""
    if write.answer is None or write.steals:
        return None
    known = told.model.seen.get(request_key(write.request_id))
    return known[1] if known is not None else None
