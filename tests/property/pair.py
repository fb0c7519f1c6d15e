"""The engine and the model side by side: every batch goes to both and both are compared."""

from __future__ import annotations

from typing import Any

from engine import commands, invariants, machine, outcomes
from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from engine.state import Capacity, State
from tests import columns
from tests.ledger import START_MS, Answer, Ledger
from tests.property.causes import cause_differences
from tests.property.compare import answer_differences, differences
from tests.property.model import Model, Names
from tests.property.operations import Operation, pieces
from tests.property.traffic import CHANNELS, GROUPS, NODES, SKUS

ROOM = Capacity(
    positions=256,
    names=512,
    name_bytes=8192,
    group_members=32,
    reservations=512,
    takes=4096,
    supplies=128,
    requests=512,
    reply_details=4096,
    movements=2048,
)

SETUP = (
    columns.define(commands.SKU, *SKUS),
    columns.define(commands.NODE, *NODES),
    columns.define(commands.CHANNEL, *CHANNELS),
    *(columns.define_group(group, *members) for group, members in GROUPS.items()),
)


class Pair:
    """A ledger, its model, and all that was sent to them."""

    def __init__(self) -> None:
        self.ledger = Ledger(ROOM, checked=False)
        self.model = Model(Names(set(SKUS), set(NODES), set(CHANNELS), dict(GROUPS)))
        self.model.now_ms = START_MS
        for batch in SETUP:
            assert self.ledger.one(batch).ok
        self.model.revision = self.ledger.state.revision
        self.batches: list[tuple[int, list[Operation], Outcomes]] = []
        self.answers: list[Answer] = []
        self._known: dict[str, int] = {}

    def apply(self, operations: list[Operation]) -> None:
        """Apply a batch to both. Raises AssertionError where they differ."""
        moved = int(self.ledger.state.meta["movement_next"][0])
        outcome = self.ledger.apply(columns.join(*(each.batch() for each in operations)))
        self.batches.append((self.ledger.now_ms, operations, outcome))
        answers = self._answers_of(outcome)
        expected = self.model.apply(
            self.ledger.now_ms,
            operations,
            [(int(answer.row["reservation"]), answer.reservation_id) for answer in answers],
        )
        self.answers += answers
        assert invariants.check(self.ledger.state) == []
        for operation, answer, meant in zip(operations, answers, expected, strict=True):
            found = list(answer_differences(self.ledger, answer, meant))
            assert found == [], f"{found} of {operation.told()}"
            if meant.replay_of is not None:
                _assert_same_answer(self.answers[meant.replay_of], answer)
        assert differences(self.ledger, self.model, self._known) == []
        assert list(cause_differences(self.ledger, moved, operations, answers)) == []

    def _answers_of(self, outcome: Outcomes) -> list[Answer]:
        answers = []
        at = 0
        for row in outcome.rows:
            details = outcome.details[at : at + int(row["detail_count"])]
            at += int(row["detail_count"])
            answers.append(Answer(row.copy(), details.copy(), self.ledger.id_of(row)))
        assert at == len(outcome.details)
        return answers

    def restore(self) -> None:
        """Go on with a ledger restored from a snapshot."""
        restored = State.restore(self.ledger.state.sections())
        assert invariants.state_hash(restored) == self.ledger.hash()
        assert invariants.check(restored) == []
        self.ledger.state = restored

    def verify_replay(self) -> None:
        """Apply everything again: the same batches, and one command at a time."""
        assert differences(self.ledger, self.model) == []
        wanted = self.ledger.hash()
        together, single = Ledger(ROOM, checked=False), Ledger(ROOM, checked=False)
        for fresh in (together, single):
            for batch in SETUP:
                fresh.apply(batch)
        for now_ms, operations, first in self.batches:
            together.now_ms = single.now_ms = now_ms
            _assert_same_outcomes([together.apply(_joined(operations))], first)
            _assert_same_outcomes(
                [single.apply(_joined(piece)) for piece in pieces(operations)], first
            )
        assert together.hash() == wanted
        assert single.hash() == wanted
        assert machine.next_expiry_ms(single.state) == machine.next_expiry_ms(self.ledger.state)

    def told(self) -> str:
        """All batches in words, a line an operation."""
        return "\n".join(
            f"{now_ms - START_MS:>7} {'' if number else '*'}\t{operation.told()}"
            for now_ms, operations, _ in self.batches
            for number, operation in enumerate(operations)
        )


def _joined(operations: list[Operation]) -> CommandBatch:
    return columns.join(*(each.batch() for each in operations))


def _assert_same_outcomes(pieces: list[Outcomes], first: Outcomes) -> None:
    assert b"".join(piece.rows.tobytes() for piece in pieces) == first.rows.tobytes()
    assert b"".join(piece.details.tobytes() for piece in pieces) == first.details.tobytes()


def _assert_same_answer(first: Answer, again: Answer) -> None:
    before: Any = first.row.copy()
    assert again.row["flags"] & outcomes.REPLAYED
    before["flags"] |= outcomes.REPLAYED
    assert again.row.tobytes() == before.tobytes()
    assert again.details.tobytes() == first.details.tobytes()
