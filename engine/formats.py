"""From one format of the state to the next: a command of the journal, so that a replay does it too.

What a state keeps of its commands changes from version to version, and its hash with it. A journal
is replayed by the rules of the time: its genesis says in which format its ledger begins, and at
each SET_FORMAT it goes over to a later one. A server gives that command before it serves, when the
ledger it has read is of an older format than its own. It uses no revision: nobody asked for it, and
no balance changes.

To KEEPS_CAUSES: the references of the movements kept move from their own table, 64 bytes each, into
the ring of texts (`engine.causes`), and the table's memory is given back. Which request or supply a
movement was of, and where a transfer comes from, was not kept before: that stays empty.
"""

from __future__ import annotations

import numpy as np

from engine import commands, outcomes, tables
from engine.commands import CommandBatch
from engine.resize import answer_unasked
from engine.state import State, empty_like
from engine.tables import FORMAT


def format_command(number: int = FORMAT) -> CommandBatch:
    """The command that lets the state go over to this format."""
    headers = np.zeros(1, commands.HEADER)
    headers["kind"] = commands.SET_FORMAT
    headers["amount"] = number
    return CommandBatch(headers, np.zeros(0, commands.LINE), np.zeros(0, np.uint8))


def apply_format(state: State, batch: CommandBatch) -> None:
    """Apply the SET_FORMAT at the cursor and move the cursor past it.

    There is no way back, and none to a format that only a later version knows: refused with
    STATE_TRANSITION_NOT_ALLOWED, where a replay then differs from what was answered.
    """
    wanted = int(batch.headers["amount"][state.cursor[0]])
    found = state.format_number
    code = outcomes.OK
    if wanted > FORMAT or wanted < max(found, tables.KEEPS_CAUSES):
        code = outcomes.STATE_TRANSITION_NOT_ALLOWED
    elif found < tables.KEEPS_CAUSES:
        _keep_causes(state)
    answer_unasked(state, batch, code)


def _keep_causes(state: State) -> None:
    """To KEEPS_CAUSES. O(movements kept)."""
    arrays = dict(state.arrays)
    meta = state.meta[0]
    kept = arrays["movements"]
    slots = np.arange(int(meta["movement_oldest"]), int(meta["movement_next"])) & (len(kept) - 1)
    # The movements of a command have its revision and its reference in common.
    revisions = kept["revision"][slots]
    is_first = np.ones(len(slots), np.bool_)
    is_first[1:] = revisions[1:] != revisions[:-1]
    sizes = kept["reference_bytes"][slots[is_first]].astype(np.int64)
    rows = -(-sizes // tables.CAUSE_ROW_BYTES)
    begins = np.cumsum(rows) - rows
    kept["reserved2"][slots] = begins[np.cumsum(is_first) - 1]
    texts = arrays["movement_text"][slots[is_first]]
    places = np.arange(texts.shape[1])
    texts[places >= sizes[:, None]] = 0  # of longer references that were overwritten
    written = places < tables.CAUSE_ROW_BYTES * rows[:, None]
    ring = texts[written].reshape(-1, tables.CAUSE_ROW_BYTES)
    arrays["cause_text"][: len(ring)] = ring
    arrays["format"]["number"] = tables.KEEPS_CAUSES
    arrays["format"]["cause_next"] = len(ring)
    arrays["movement_text"] = empty_like(arrays["movement_text"])
    state.resize(state.capacity, arrays)
