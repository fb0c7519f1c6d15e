"""The validator finds nothing in an honest history, and each kind of lie in a doctored one.

The history is made by the real engine on a few commands; every test then changes one thing in the
journal or in what callers say they were told, and names what must be found.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from engine import commands, machine
from engine.commands import CommandBatch
from engine.outcomes import REASON_NAMES
from engine.state import Capacity, State
from server.application.ledger import outcome_checksum
from server.journal.genesis import FORMAT_VERSION, Genesis
from server.journal.record import Cursor, Entry, JournalRecord, RecordId, seal, unseal
from tests.columns import Line, command, define, expire, join
from tests.robustness.traffic.history import OK, Answer, History, Read, Write
from tests.robustness.validate.answers import judge_answers
from tests.robustness.validate.findings import (
    LOST,
    LOST_READ,
    ORDER,
    OVERSOLD,
    REPLAY,
    TOTALS,
    TWO_ANSWERS,
    TWO_EFFECTS,
    WRONG_ANSWER,
    WRONG_READ,
    Finding,
    Findings,
)
from tests.robustness.validate.journal import Book, replay
from tests.robustness.validate.order import judge_order, judge_readers

BEGAN_MS = 1_700_000_000_000
SEED = Genesis(format_version=FORMAT_VERSION, ledger_id="one", tenant="default", shard=0)
PLACE = ("pear", "berlin")


@dataclass
class Told:
    """A ledger that is written down as a server would, and what its callers were told."""

    state: State = field(
        default_factory=lambda: State.create(Capacity.first(), ledger_seed=SEED.ledger_seed)
    )
    records: list[JournalRecord] = field(default_factory=list)
    history: History = field(default_factory=History)
    tail: Cursor = field(default_factory=lambda: SEED.beginning)
    now_s: float = 0.0

    def keep(self, batch: CommandBatch) -> Any:
        """Apply a batch, and keep its record."""
        self.now_s += 1.0
        first, now_ms = self.state.revision + 1, BEGAN_MS + round(self.now_s * 1_000)
        outcomes = machine.apply(self.state, now_ms, batch)
        entry = Entry(
            first, self.state.revision, now_ms, outcome_checksum(outcomes), batch.to_bytes()
        )
        last = self.tail.record_id
        sealed = seal(self.tail, RecordId(1, last.sequence + 1), entry)
        self.tail = sealed.cursor
        self.records.append(unseal(sealed.buffer))
        return outcomes.rows[-1]

    def write(self, kind: str, batch: CommandBatch, request_id: str) -> Write:
        """One call: sent, applied, kept, answered."""
        sent_s = self.now_s + 0.1
        row = self.keep(batch)
        code = REASON_NAMES[int(row["code"])]
        answer = Answer(code, int(row["revision"]) if code == OK else None)
        done = Write(0, kind, request_id, {}, sent_s, self.now_s + 0.1, answer)
        self.history.writes.append(done)
        return done

    def reserve(self, name: str, units: int, ttl_ms: int = 600_000) -> Write:
        lines = [Line(*PLACE, quantity=units, policy=commands.ON_HAND)]
        batch = command(
            commands.CREATE,
            lines,
            request_id=name,
            reservation_id=f"id-{name}",
            ttl_ms=ttl_ms,
            caller="",
        )
        made = self.write("reserve", batch, name)
        assert made.answer is not None
        if made.answer.code == OK:
            expire_ms = self.records[-1].now_ms + ttl_ms
            made.answer = replace(
                made.answer,
                reservation_id=f"id-{name}",
                state="HELD",
                expire_ms=expire_ms,
                quantities=(units,),
            )
        return made

    def confirm(self, name: str) -> Write:
        batch = command(
            commands.CONFIRM, request_id=f"c-{name}", reservation_id=f"id-{name}", caller=""
        )
        return self.write("confirm", batch, f"c-{name}")

    def read(self, on_hand: int, held: int, committed: int) -> None:
        self.now_s += 1.0
        balances = {PLACE: (on_hand, held, committed)}
        sent_s = self.now_s - 0.2
        self.history.reads.append(Read(0, sent_s, self.now_s, self.state.revision, balances))

    def findings(self) -> list[Finding]:
        """What the validator says."""
        findings = Findings()
        told = replay(Book(SEED.ledger_seed, self.records), findings)
        judge_answers(self.history, told, findings)
        judge_order(self.history, told, findings)
        judge_readers(self.history, findings)
        return findings.found

    def kinds(self) -> set[str]:
        return {finding.kind for finding in self.findings()}


@pytest.fixture
def told() -> Told:
    """Ten pears: three holds of which one is refused, one confirmed, one expired."""
    made = Told()
    made.keep(join(define(commands.SKU, "pear"), define(commands.NODE, "berlin")))
    count = [Line(*PLACE, quantity=10, policy=commands.REPORT)]
    made.write("count", command(commands.COUNT, count, request_id="count", caller=""), "count")
    made.reserve("a", 4)
    made.reserve("b", 5, ttl_ms=2_500)
    made.reserve("c", 3)
    made.read(10, 9, 0)
    made.confirm("a")
    made.read(10, 5, 4)
    made.keep(expire())
    made.read(10, 0, 4)
    return made


def test_an_honest_history_has_no_findings(told: Told) -> None:
    assert told.findings() == []
    answers = [write.answer.code for write in told.history.writes if write.answer]
    assert answers == [OK, OK, OK, "INSUFFICIENT_STOCK", OK]


def test_a_record_that_is_gone_from_the_end_is_a_lost_acknowledgement(told: Told) -> None:
    told.records.pop()
    told.records.pop()
    assert {LOST, LOST_READ} <= told.kinds()


def test_a_record_that_is_gone_from_the_middle_is_noticed(told: Told) -> None:
    del told.records[3]
    assert {LOST, REPLAY} <= told.kinds()


def test_a_record_that_is_there_twice_is_noticed(told: Told) -> None:
    told.records.insert(3, told.records[2])
    assert told.kinds() & {REPLAY, TWO_EFFECTS}


def test_an_effect_without_its_request_id_counts_twice(told: Told) -> None:
    """What a ledger without memory of requests would write when it is asked again."""
    told.reserve("d", 1)
    row = told.records[-1]
    batch = CommandBatch.from_bytes(row.payload)
    batch.headers["reservation_lo"] += 1
    told.keep(CommandBatch(batch.headers, batch.lines, batch.text))
    told.records[-1] = replace(told.records[-1], last_revision=row.last_revision + 1)
    assert TWO_EFFECTS in told.kinds()


def test_an_answer_given_from_another_revision_is_a_second_effect(told: Told) -> None:
    write = told.history.writes[1]
    assert write.answer is not None
    assert write.answer.revision is not None
    write.answer = replace(write.answer, revision=write.answer.revision + 2)
    assert TWO_EFFECTS in told.kinds()


def test_another_answer_to_the_same_request_is_found(told: Told) -> None:
    write = told.history.writes[1]
    assert write.answer is not None
    write.again.append(replace(write.answer, quantities=(3,)))
    assert told.kinds() == {TWO_ANSWERS}


def test_two_different_late_answers_are_found_where_the_first_was_lost(told: Told) -> None:
    write = told.history.writes[1]
    assert write.answer is not None
    write.again = [write.answer, replace(write.answer, state="CONFIRMED")]
    write.answer = write.answered_s = None
    assert told.kinds() == {TWO_ANSWERS}


@pytest.mark.parametrize(
    "lie",
    [
        {"code": "INSUFFICIENT_STOCK"},
        {"state": "CONFIRMED"},
        {"expire_ms": BEGAN_MS},
        {"quantities": (2,)},
        {"reservation_id": "id-of-another"},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_an_answer_that_the_model_would_not_give_is_wrong(told: Told, lie: dict[str, Any]) -> None:
    write = told.history.writes[1]
    assert write.answer is not None
    write.answer = replace(write.answer, **lie)
    assert told.kinds() == {WRONG_ANSWER}


def test_a_hold_on_units_that_are_not_there_is_oversold(told: Told) -> None:
    """The engine is made to see more than the journal says: the model does not."""
    positions = told.state.positions
    positions["on_hand"][: int(told.state.meta["position_count"][0])] += 20
    told.reserve("d", 11)
    assert {REPLAY, WRONG_ANSWER} <= told.kinds()


def test_units_below_zero_are_counted_as_oversold(told: Told) -> None:
    """A model that is made to agree still counts what is held beyond what there is."""
    findings = Findings()
    made = replay(Book(SEED.ledger_seed, told.records), findings).model
    place = next(iter(made.stock))
    made._move(place, held=9)
    assert made.units_oversold == 3
    assert len(made.oversold) == 1


def test_what_began_after_an_end_comes_after_it(told: Told) -> None:
    first, second = told.history.writes[1], told.history.writes[2]
    first.sent_s, first.answered_s = 90.0, 91.0
    second.sent_s, second.answered_s = 80.0, 81.0
    assert ORDER in told.kinds()


def test_calls_that_overlap_may_come_in_either_order(told: Told) -> None:
    first, second = told.history.writes[1], told.history.writes[2]
    first.sent_s, second.sent_s = second.sent_s, first.sent_s
    assert second.answered_s is not None
    first.answered_s = second.answered_s
    assert told.findings() == []


def test_a_read_of_other_balances_is_wrong(told: Told) -> None:
    told.history.reads[1] = replace(told.history.reads[1], balances={PLACE: (10, 9, 0)})
    assert told.kinds() == {WRONG_READ}


def test_a_reader_never_goes_back(told: Told) -> None:
    last = told.history.reads[-1]
    old = told.history.reads[0]
    told.history.reads.append(
        replace(old, sent_s=last.answered_s + 1, answered_s=last.answered_s + 2)
    )
    assert told.kinds() == {ORDER}
    assert "caller 0 read revision" in "".join(str(each) for each in told.findings())


def test_a_read_of_what_no_record_ends_at_is_lost(told: Told) -> None:
    told.history.reads.append(replace(told.history.reads[-1], revision=told.state.revision + 5))
    assert LOST_READ in told.kinds()


def test_a_stolen_request_id_must_be_refused_by_name(told: Told) -> None:
    thief = replace(told.history.writes[1], steals=True, kind="adjust")
    thief.answer = Answer("REQUEST_ID_REUSED")
    told.history.writes.append(thief)
    assert told.findings() == []
    thief.answer = Answer(OK, 9)
    assert told.kinds() == {TWO_EFFECTS}


def test_ledger_time_that_goes_back_is_found(told: Told) -> None:
    told.records[4] = replace(told.records[4], now_ms=BEGAN_MS)
    assert REPLAY in told.kinds()


def test_every_kind_counts_towards_exactly_one_total() -> None:
    findings = Findings()
    kinds = [kind for kinds in TOTALS.values() for kind in kinds]
    assert len(kinds) == len(set(kinds))
    for kind in kinds:
        findings.add(kind, "one")
    findings.add(OVERSOLD, "three units", 3)
    totals = findings.totals()
    assert totals == {name: len(kinds) + 3 * (OVERSOLD in kinds) for name, kinds in TOTALS.items()}
