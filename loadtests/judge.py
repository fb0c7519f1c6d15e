"""What is true afterwards: the whole journal replayed, and everything callers were told held to it.

Reads only. The engine decides each command of the journal again; what is concluded from that is
plain arithmetic of this module.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import invariants, machine, outcomes, reads
from engine.commands import CommandBatch
from engine.state import Capacity, State
from loadtests.asking import node_name, sku_name
from server.application import journal_audit
from server.application.ledger import outcome_checksum
from server.journal.record import COMMANDS, JournalRecord

_CLOCK_SLACK_MS = 5
_STATES = {
    outcomes.HELD: "HELD",
    outcomes.CONFIRMED: "CONFIRMED",
    outcomes.FULFILLED: "FULFILLED",
    outcomes.CANCELLED: "CANCELLED",
    outcomes.EXPIRED: "EXPIRED",
}
# What a reservation may have become that was last acknowledged so. With a question mark: the last
# call about it was not answered, so it may have taken effect or not.
_MAY_BE = {
    "HELD": {"HELD", "EXPIRED"},
    "CONFIRMED": {"CONFIRMED"},
    "CANCELLED": {"CANCELLED"},
    "CONFIRMED?": {"HELD", "EXPIRED", "CONFIRMED"},
    "CANCELLED?": {"HELD", "EXPIRED", "CANCELLED", "CONFIRMED"},
}
_TOLD_MAX = 10


@dataclass(slots=True)
class Verdict:
    """What the journal says."""

    commands: int = 0
    revision: int = 0
    acknowledged: int = 0
    lost_acknowledgements: int = 0
    oversold_units: int = 0
    refused_for_stock: int = 0
    unsold_while_refused: int = 0
    sold_units: int = 0
    """Of the hot SKU at the first node: committed."""
    left_units: int = 0
    """Of it, still available."""
    faults: list[str] = field(default_factory=list)
    """What is wrong, for people; the first few of each kind."""
    fault_count: int = 0
    oversold_by_second: dict[int, int] = field(default_factory=dict)
    """Unix second -> most units oversold in it; seconds without a record are not there."""

    def find(self, text: str) -> None:
        """Note something that is wrong with the ledger itself."""
        self.fault_count += 1
        if len(self.faults) < _TOLD_MAX:
            self.faults.append(text)


@dataclass(slots=True)
class Stock:
    """How many units of one position were available, from each change to the next."""

    times_ms: list[int] = field(default_factory=list)
    available: list[int] = field(default_factory=list)

    def add(self, now_ms: int, units: int) -> None:
        """Another command has been applied."""
        self.times_ms.append(now_ms)
        self.available.append(units)

    def least(self, spans: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
        """The fewest there were in each span [first ms, last ms], the slack of clocks included."""
        times = np.array(self.times_ms)
        units = np.array(self.available)
        asked = np.array(list(spans), dtype=np.int64).reshape(-1, 2)
        if not len(times):
            return np.zeros(len(asked), np.int64)
        firsts = np.searchsorted(times, asked[:, 0] - _CLOCK_SLACK_MS, side="left") - 1
        lasts = np.searchsorted(times, asked[:, 1] + _CLOCK_SLACK_MS, side="right")
        return np.array(
            [
                units[max(first, 0) : max(last, first + 1, 1)].min()
                for first, last in zip(firsts, lasts, strict=True)
            ],
            dtype=np.int64,
        )


async def judge(url: str, evidence_files: Iterable[Path]) -> Verdict:
    """Read the journal at `url` and hold what callers were told against it."""
    verdict = Verdict()
    acknowledged: dict[str, str] = {}
    short: list[tuple[int, int, str, str, int]] = []
    for file in evidence_files:
        told = json.loads(file.read_text())
        acknowledged.update(told["acknowledged"])
        short += told["short"]
    hot = (sku_name(0), node_name(0))
    stock = Stock()
    # Only where somebody was refused has every single command to be looked at.
    state = await _replay(url, verdict, hot, stock if short else None)
    _judge_acknowledged(state, acknowledged, verdict)
    _judge_refusals(stock, [each for each in short if (each[2], each[3]) == hot], verdict)
    verdict.refused_for_stock = len(short)
    for line in invariants.check(state):
        verdict.find(f"after a replay: {line}")
    row = reads.position_row(state, *hot)
    if row >= 0:
        verdict.sold_units = int(state.positions["committed"][row])
        verdict.left_units = reads.available(state, row)
    return verdict


async def _replay(url: str, verdict: Verdict, hot: tuple[str, str], stock: Stock | None) -> State:
    state: State | None = None
    async for seed, record in _records(url):
        if state is None:
            state = State.create(Capacity.first(), ledger_seed=seed)
        if record.kind != COMMANDS:
            continue
        batch = CommandBatch.from_bytes(record.payload)
        if stock is None:
            answered = machine.apply(state, record.now_ms, batch)
            if outcome_checksum(answered) != record.outcome_checksum:
                verdict.find(f"record {record.record_id}: a replay decides otherwise")
        else:
            for one in _each(batch):
                machine.apply(state, record.now_ms, one)
                row = reads.position_row(state, *hot)
                if row >= 0:
                    stock.add(record.now_ms, reads.available(state, row))
        if state.revision != record.last_revision:
            verdict.find(
                f"record {record.record_id}: ends at {state.revision}, kept as "
                f"{record.last_revision}"
            )
        verdict.commands += len(batch)
        beyond = -np.minimum(invariants.available_column(state), 0).sum()
        if beyond:
            second = record.now_ms // 1_000
            most = max(int(beyond), verdict.oversold_by_second.get(second, 0))
            verdict.oversold_by_second[second] = most
            verdict.oversold_units = max(verdict.oversold_units, most)
    if state is None:
        raise RuntimeError(f"{url}: the journal has no record")
    verdict.revision = state.revision
    return state


async def _records(url: str) -> AsyncIterator[tuple[int, JournalRecord]]:
    journal = await journal_audit.open_existing(url)
    try:
        genesis = journal.genesis
        cursor = genesis.beginning
        while page := await journal.read(cursor):
            for record in page:
                yield genesis.ledger_seed, record
            cursor = page[-1].cursor
    finally:
        await journal.close()


def _each(batch: CommandBatch) -> Iterable[CommandBatch]:
    """The commands of a batch as batches of one. Requests of an atomic batch stay together."""
    lines = np.concatenate([[0], np.cumsum(batch.headers["line_count"])])
    texts = np.concatenate([[0], np.cumsum(batch.headers["text_bytes"])])
    first = 0
    while first < len(batch.headers):
        stop = first + max(1, _atomic(batch, first))
        yield CommandBatch(
            batch.headers[first:stop],
            batch.lines[lines[first] : lines[stop]],
            batch.text[texts[first] : texts[stop]],
        )
        first = stop


def _atomic(batch: CommandBatch, row: int) -> int:
    from engine import commands

    header = batch.headers[row]
    return int(header["amount"]) if header["kind"] == commands.CREATE else 1


def _judge_acknowledged(state: State, acknowledged: dict[str, str], verdict: Verdict) -> None:
    verdict.acknowledged = len(acknowledged)
    shown = 0
    for reservation_id, told in acknowledged.items():
        row = reads.reservation_row(state, reservation_id)
        found = _STATES.get(int(state.reservations["state"][row]), "?") if row >= 0 else "missing"
        if found in _MAY_BE[told]:
            continue
        verdict.lost_acknowledgements += 1
        if shown < _TOLD_MAX:
            shown += 1
            verdict.faults.append(f"{reservation_id} was told {told} and is {found}")


def _judge_refusals(
    stock: Stock, short: list[tuple[int, int, str, str, int]], verdict: Verdict
) -> None:
    """A refusal is right when at some moment while it was asked there was too little."""
    if not short:
        return
    wanted = np.array([each[4] for each in short])
    wrong = stock.least((each[0], each[1]) for each in short) >= wanted
    verdict.unsold_while_refused = int(wrong.sum())
    for at in np.flatnonzero(wrong)[:_TOLD_MAX]:
        sent, answered, sku, node, _ = short[at]
        verdict.faults.append(f"{sku} at {node} was refused between {sent} and {answered} ms")
