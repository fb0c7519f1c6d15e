"""Giving the tables other sizes: a command of the journal, so that a replay does it too.

How much room a table has decides what is refused and what is forgotten, so it is part of every
decision. RESIZE carries all sizes as its text. It uses no revision: nobody asked for it, and no
balance changes. A server gives it before it serves, when its configuration differs from the ledger.

Tables that only grow keep their rows. Of the rings (requests and their details, movements) the
newest rows stay that find room; a movement forgotten is folded into its position's base.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, outcomes, tables
from engine.commands import CommandBatch
from engine.reindex import rebuild_indices
from engine.state import Capacity, State, allocate

_RINGS = (
    "movements",
    "movement_text",
    "cause_text",
    "requests",
    "request_outcomes",
    "reply_details",
)
_TABLE_OF = {"name_bytes": "name_text"}


def resize_command(capacity: Capacity) -> CommandBatch:
    """The command that gives the tables these sizes."""
    text = capacity.numbers().view(np.uint8)
    headers = np.zeros(1, commands.HEADER)
    headers["kind"] = commands.RESIZE
    headers["text_bytes"] = len(text)
    return CommandBatch(headers, np.zeros(0, commands.LINE), text)


def too_small(state: State, capacity: Capacity) -> list[str]:
    """Why the ledger does not fit into these sizes, one sentence each; empty when it does."""
    used = state.used_rows()
    found = []
    for field in fields(Capacity):
        table = _TABLE_OF.get(field.name, field.name)
        room = getattr(capacity, field.name)
        if table not in _RINGS and used[table] > room:
            found.append(f"{field.name} is {room}, {used[table]} are in use")
    return found


def apply_resize(state: State, batch: CommandBatch) -> None:
    """Apply the RESIZE at the cursor and move the cursor past it."""
    cursor = state.cursor
    size = int(batch.headers["text_bytes"][cursor[0]])
    text = batch.text[cursor[2] : cursor[2] + size].tobytes()
    resize(state, Capacity.of(np.frombuffer(text, "<i8")))
    answer_unasked(state, batch, outcomes.OK)


def answer_unasked(state: State, batch: CommandBatch, code: int) -> None:
    """Answer the command at the cursor, that nobody asked for and that uses no revision, with
    `code`, and move the cursor past it; the answer is the first of `state.outcomes`."""
    cursor = state.cursor
    header = batch.headers[cursor[0]]
    state.outcomes[:1] = np.zeros(1, outcomes.OUTCOME)
    answer = state.outcomes[0]
    answer["code"] = code
    answer["kind"] = header["kind"]
    answer["reservation"] = tables.NONE
    answer["revision"] = state.revision
    answer["now_ms"] = state.now_ms
    cursor[0] += 1
    cursor[1] += int(header["line_count"])
    cursor[2] += int(header["text_bytes"])


def resize(state: State, capacity: Capacity) -> None:
    """Move everything into tables of these sizes. Raises ValueError when it does not fit. O(rows).

    For as long as it runs the ledger is twice in memory.
    """
    problems = too_small(state, capacity)
    if problems:
        raise ValueError("; ".join(problems))
    old = state.arrays
    new = allocate(capacity)
    for name, rows in state.used_rows().items():
        if name not in _RINGS:
            new[name][:rows] = old[name][:rows]
    _move_movements(old, new)
    _move_requests(old, new)
    state.resize(capacity, new)
    rebuild_indices(state.tables)


def _copy_ring(old: NDArray[Any], new: NDArray[Any], first: int, stop: int) -> None:
    """Copy the rows of the numbers [first, stop), each to where its number belongs."""
    numbers = np.arange(first, stop)
    new[numbers & (len(new) - 1)] = old[numbers & (len(old) - 1)]


def _move_movements(old: dict[str, NDArray[Any]], new: dict[str, NDArray[Any]]) -> None:
    meta = new["meta"][0]
    kept, moved = old["movements"], new["movements"]
    stop, before = int(meta["movement_next"]), int(meta["movement_oldest"])
    first = max(before, stop - len(moved))
    dropped = kept[np.arange(before, first) & (len(kept) - 1)]
    np.add.at(new["withheld"]["movement_base"], dropped["position"], dropped["delta"])
    _copy_ring(kept, moved, first, stop)
    account = new["format"][0]
    if account["number"] >= tables.KEEPS_CAUSES:
        rows_stop = int(account["cause_next"])
        oldest = max(int(account["cause_oldest"]), rows_stop - len(new["cause_text"]))
        _copy_ring(old["cause_text"], new["cause_text"], oldest, rows_stop)
        account["cause_oldest"] = oldest
    else:
        _copy_ring(old["movement_text"], new["movement_text"], first, stop)
    meta["movement_oldest"] = first

    def place(slots: NDArray[np.int32], owners: NDArray[np.int32]) -> NDArray[np.int32]:
        """Where the movements of these old slots are now; NONE: no longer kept, or reused."""
        rows = kept[np.maximum(slots, 0)]
        sequences = rows["sequence"]
        stays = (slots >= 0) & (sequences >= first) & (rows["position"] == owners)
        here = sequences & (len(moved) - 1)
        return np.where(stays, here, tables.NONE).astype(np.int32)

    numbers = np.arange(first, stop)
    slots = numbers & (len(moved) - 1)
    rows = moved[slots]
    previous = place(rows["previous"], rows["position"])
    # A slot may have been reused by a later movement of the same position: that is not before.
    later = (previous >= 0) & (moved["sequence"][np.maximum(previous, 0)] >= rows["sequence"])
    moved["previous"][slots] = np.where(later, tables.NONE, previous)
    count = int(meta["position_count"])
    positions = new["positions"][:count]
    positions["movement"] = place(positions["movement"], np.arange(count, dtype=np.int32))


def _move_requests(old: dict[str, NDArray[Any]], new: dict[str, NDArray[Any]]) -> None:
    meta = new["meta"][0]
    kept = old["requests"]
    stop, first = int(meta["request_next"]), int(meta["request_oldest"])
    first = max(first, stop - len(new["requests"]))
    detail_stop = int(meta["detail_next"])
    details_from = detail_stop - len(new["reply_details"])
    numbers = np.arange(first, stop)
    if len(numbers):
        first += int((kept["detail_at"][numbers & (len(kept) - 1)] < details_from).sum())
    for name in ("requests", "request_outcomes"):
        _copy_ring(old[name], new[name], first, stop)
    oldest_detail = max(0, details_from, detail_stop - len(old["reply_details"]))
    _copy_ring(old["reply_details"], new["reply_details"], oldest_detail, detail_stop)
    meta["request_oldest"] = first
