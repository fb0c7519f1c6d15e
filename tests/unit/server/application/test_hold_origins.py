"""Who made a hold is known to the last one after a restart, with snapshots and without."""

from __future__ import annotations

import random

import numpy as np
import pytest

from engine import commands, machine, outcomes, reads
from engine.commands import CommandBatch
from engine.state import Capacity, State
from server.application.hold_origins import HoldOrigins, Noting
from server.application.piece_queue import REPORT
from server.application.recovery import Replayed, recover, take_snapshot
from server.application.sequencer import Sequencer
from server.journal.genesis import JournalIdentity
from tests.columns import Line, command
from tests.simulation.manual_clock import ManualClock
from tests.simulation.memory_journal import MemoryDisk, MemoryJournal
from tests.simulation.orders import count, define

CALLERS = ("", "a", "spiffe://shop.example/checkout", "b")


def hold(name: str, caller: str, *, ttl_ms: int = 5_000, request_id: str = "") -> CommandBatch:
    lines = [Line("pear", "berlin", quantity=1)]
    return command(
        commands.CREATE,
        lines,
        reservation_id=name,
        caller=caller,
        ttl_ms=ttl_ms,
        request_id=request_id,
    )


def told(state: State, origins: HoldOrigins) -> dict[str, str]:
    """The caller of each open hold, by what is known."""
    return {
        reads.reservation_id(state, int(row)): caller.decode()
        for caller in origins.callers
        for row in origins.rows_of(caller, state)
    }


@pytest.mark.parametrize("seed", range(5))
async def test_the_callers_of_holds_outlive_any_restart(seed: int):
    """Against a plain dictionary; rows are used again, and answers given again."""
    chance = random.Random(seed)
    disk, clock = MemoryDisk(), ManualClock()
    capacity = Capacity.small()
    made: dict[str, str] = {}
    for round_ in range(6):
        journal = await MemoryJournal.open(disk, JournalIdentity())
        ledger, _ = await recover(journal, capacity, holder="x", on_lost=lambda _: None)
        clock.advance(max(0, ledger.state.now_ms - clock.now_ms()))
        noting = Noting(ledger.origins)
        sequencer = Sequencer(ledger, clock, engine=noting)
        if not round_:
            await sequencer.submit(define(commands.SKU, ["pear"]), priority=REPORT)
            await sequencer.submit(define(commands.NODE, ["berlin"]), priority=REPORT)
            await sequencer.submit(count("pear", "berlin", 10_000), priority=REPORT)
        for turn in range(60):
            clock.advance(chance.randrange(400))
            batches = []
            for index in range(chance.randint(1, 4)):
                name, caller = f"{round_}-{turn}-{index}", chance.choice(CALLERS)
                batches.append(hold(name, caller, ttl_ms=chance.randint(1, 6_000)))
                made[name] = caller
            if made and chance.random() < 0.3:
                # The same reservation asked for by another: an answer, and nothing made.
                batches.append(hold(chance.choice(list(made)), "thief"))
            await sequencer.submit(CommandBatch.join(batches))
        state = sequencer.state
        open_now = {
            reads.reservation_id(state, row)
            for row in reads.reservations_from(state, 0)
            if state.reservations["state"][row] == outcomes.HELD
        }
        thefts = {name for name in open_now if name not in made}
        assert not thefts
        expected = {name: made[name] for name in open_now}
        found = told(state, noting.origins)
        stolen = {name for name in found if found[name] == "thief"}
        for name in stolen:  # its first hold had run out long ago: it was made anew
            made[name] = expected[name] = "thief"
        assert found == expected
        assert len(set(found.values())) > 1
        if chance.random() < 0.6:
            await take_snapshot(Replayed(state, await journal.tail(), noting.origins), journal)
        await sequencer.close()


def test_where_nobody_has_a_name_nothing_is_kept():
    state, origins = State.create(Capacity.small()), HoldOrigins()
    setup = CommandBatch.join([define(commands.SKU, ["pear"]), define(commands.NODE, ["berlin"])])
    for batch in (setup, count("pear", "berlin", 5), hold("x", "")):
        before = state.revision
        answer = machine.apply(state, 1_000, batch)
        origins.note(state, before, batch, answer)
    assert origins.sections(state) == []
    assert len(origins.rows_of(b"", state)) == 1
    taken, others = HoldOrigins.taken_from([("x", np.zeros(1))])
    assert taken.callers == [b""]
    assert [name for name, _ in others] == ["x"]
