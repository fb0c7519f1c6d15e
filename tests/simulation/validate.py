"""Judges a run: the journal is replayed into an independent model, then everybody is asked.

What must be true (faults.md): oversell 0, lost acknowledgements 0, one effect and one answer per
request_id, the state sound, the replayed state the live one's equal; and every operation in one
order that respects real time.
"""

from __future__ import annotations

from engine import invariants, outcomes
from engine.commands import CommandBatch
from engine.hashing import key_of
from engine.machine import apply
from engine.state import State
from server.journal.genesis import Genesis
from server.journal.record import COMMANDS, check_follows, unseal
from tests.simulation.history import Answer, History, Operation
from tests.simulation.memory_journal import MemoryDisk
from tests.simulation.orders import request_key
from tests.simulation.reference import Expected, Key, Ledger
from tests.simulation.world import CAPACITY

_TOLD_QUANTITIES = (outcomes.TAKE, outcomes.SHORTAGE)


def validate(disk: MemoryDisk, live: State, history: History) -> list[str]:
    """Everything that is wrong, each line beginning with what kind of wrong; empty when right."""
    findings: list[str] = []
    balances_at: dict[int, dict[Key, tuple[int, int, int]]] = {0: {}}
    genesis = Genesis.from_bytes(disk.genesis, place="memory")
    model = Ledger(ledger_seed=genesis.ledger_seed)
    replayed = State.create(CAPACITY, ledger_seed=genesis.ledger_seed)
    cursor = genesis.beginning
    for buffer in (*disk.trimmed, *disk.records):
        record = unseal(buffer)
        check_follows(cursor, record)
        cursor = record.cursor
        if record.kind != COMMANDS:
            continue
        batch = CommandBatch.from_bytes(record.payload)
        model.apply(record.now_ms, batch)
        apply(replayed, record.now_ms, batch)
        if model.revision != record.last_revision:
            findings.append(
                f"two effects: record {record.record_id} ended at revision "
                f"{record.last_revision}, by the model at {model.revision}"
            )
            return findings
        balances_at[model.revision] = _balances(model)
    findings += [f"oversell: {line}" for line in model.oversold]
    if invariants.state_hash(replayed) != invariants.state_hash(live):
        findings.append("replay: the journal gives another state than the live one")
    findings += [f"unsound: {line}" for line in invariants.check(live)]
    findings += _compare_balances(model, live)
    for operation in history.operations:
        findings += _judge(operation, model)
    findings += _judge_reads(history, balances_at)
    findings += _judge_order(history)
    return findings


def _balances(model: Ledger) -> dict[Key, tuple[int, int, int]]:
    return {
        place: (stock.on_hand, stock.held, stock.committed) for place, stock in model.stock.items()
    }


def _compare_balances(model: Ledger, live: State) -> list[str]:
    found = []
    count = int(live.meta["position_count"][0])
    rows = {
        (int(live.names["key"][row["sku"]]), int(live.names["key"][row["node"]])): row
        for row in live.positions[:count]
    }
    for place, expected in _balances(model).items():
        row = rows.get(place)
        actual = (0, 0, 0)
        if row is not None:
            actual = (int(row["on_hand"]), int(row["held"]), int(row["committed"]))
        if actual != expected:
            found.append(f"balance: {place} is {actual}, by the model {expected}")
    return found


def _judge(operation: Operation, model: Ledger) -> list[str]:
    """One operation's answers against each other and against the model."""
    found: list[str] = []
    honest = [answer for answer in operation.answers if not operation.steals_request_id]
    if len(set(honest)) > 1:
        found.append(f"two answers: to {operation.request_ids}: {_told(honest)}")
    for answer in honest[:1]:
        detail_at = 0
        for number, request_id in enumerate(operation.request_ids):
            key = request_key(request_id)
            code, revision = answer.codes[number], answer.revisions[number]
            stop = detail_at + answer.detail_counts[number]
            if code == outcomes.REQUEST_ID_REUSED:
                pass  # somebody else (a thief) came first with this id
            elif key not in model.seen:
                found.append(f"lost acknowledgement: {request_id}, revision {revision}")
            elif model.seen[key][1] != revision:
                found.append(
                    f"two effects: {request_id} was answered with revision {revision}, "
                    f"the journal has it at {model.seen[key][1]}"
                )
            else:
                found += _compare(request_id, answer, number, detail_at, stop, model)
            detail_at = stop
    return found


def _compare(
    request_id: str, answer: Answer, number: int, start: int, stop: int, model: Ledger
) -> list[str]:
    """One command's first answer against what the model says it must be."""
    import numpy as np

    row = np.frombuffer(answer.rows, outcomes.OUTCOME)[number]
    details = np.frombuffer(answer.details, outcomes.DETAIL)[start:stop]
    expected: Expected = model.expected[int(row["revision"])]
    told = {
        "code": int(row["code"]),
        "state": int(row["state"]),
        "expire_ms": int(row["expire_ms"]),
        "quantities": tuple(
            int(detail["quantity"]) for detail in details if detail["kind"] in _TOLD_QUANTITIES
        ),
    }
    return [
        f"wrong answer: {request_id}: {name} is {told[name]}, by the model {value}"
        for name, value in (
            ("code", expected.code),
            ("state", expected.state),
            ("expire_ms", expected.expire_ms),
            ("quantities", expected.quantities),
        )
        if value is not None and told[name] != value
    ]


def _judge_reads(
    history: History, balances_at: dict[int, dict[Key, tuple[int, int, int]]]
) -> list[str]:
    found = []
    for read in history.reads:
        known = balances_at.get(read.revision)
        if known is None:
            found.append(f"lost read: revision {read.revision} is no record's end")
            continue
        for (sku, node), told in read.balances.items():
            place = (key_of(sku.encode()), key_of(node.encode()))
            if known.get(place, (0, 0, 0)) != told:
                found.append(
                    f"wrong read: {sku} at {node} was {told} at revision {read.revision}, "
                    f"by the model {known.get(place)}"
                )
    return found


def _judge_order(history: History) -> list[str]:
    """What ended before something else began must come before it in the ledger too."""
    events: list[tuple[float, float, int, str]] = []
    for operation in history.operations:
        if operation.steals_request_id or operation.completed_s is None:
            continue
        answer = operation.answers[0]
        if outcomes.REQUEST_ID_REUSED in answer.codes:
            continue
        highest, lowest = max(answer.revisions), min(answer.revisions)
        events.append((operation.completed_s, -1.0, highest, operation.request_ids[0]))
        events.append((operation.invoked_s, 1.0, lowest, operation.request_ids[0]))
    for read in history.reads:
        events.append((read.completed_s, -1.0, read.revision, "a read"))
        events.append((read.invoked_s, 2.0, read.revision, "a read"))
    found = []
    newest, newest_name = 0, ""
    # At the same moment a beginning counts as before an end: they overlap.
    for _, what, revision, name in sorted(events, key=lambda event: (event[0], -event[1])):
        if what < 0:
            if revision > newest:
                newest, newest_name = revision, name
        elif revision < newest or (revision == newest and what == 1.0):
            found.append(
                f"order: {name} at revision {revision} began after {newest_name} had ended "
                f"at revision {newest}"
            )
    return found


def _told(answers: list[Answer]) -> str:
    return "; ".join(f"codes {a.codes} revisions {a.revisions}" for a in dict.fromkeys(answers))
