"""Compile (or load from the cache) every kernel: ``python -m engine.warmup``."""

from __future__ import annotations

import numpy as np

from engine import commands
from engine.commands import CommandBatch
from engine.hashing import key_of
from engine.invariants import check, state_hash
from engine.machine import apply, expire_command
from engine.reads import (
    available,
    find_name,
    movements_of,
    owned_by,
    position_row,
    rerouted_units,
    reservation_outcome,
    reservation_row,
    sellable,
    supply_row,
)
from engine.state import Capacity, State
from engine.verification import Verification


def _one(command: int, **line: int) -> CommandBatch:
    headers = np.zeros(1, commands.HEADER)
    lines = np.zeros(1, commands.LINE)
    headers["kind"] = command
    headers["line_count"] = 1
    headers["fill_policy"] = commands.ALL_OR_NONE
    for field, value in line.items():
        lines[field] = value
    text = b"warm" if line.get("text_bytes") else b""
    headers["text_bytes"] = len(text)
    return CommandBatch(headers, lines, np.frombuffer(text, np.uint8).copy())


def warm_up() -> State:
    """Run every kernel once on a small ledger; the ledger."""
    state = State.create(Capacity.small())
    key = key_of(b"warm")
    CommandBatch.from_bytes(_one(commands.CREATE).to_bytes())
    for kind in (commands.SKU, commands.NODE):
        apply(state, 1, _one(commands.DEFINE_NAMES, sku_key=key, policy=kind, text_bytes=4))
    apply(state, 1, _one(commands.COUNT, sku_key=key, node_key=key, quantity=2))
    held = apply(
        state,
        1,
        _one(
            commands.CREATE,
            sku_key=key,
            node_key=key,
            quantity=1,
            kind=commands.AT_NODE,
            policy=commands.ON_HAND,
        ),
    )
    apply(state, 2, expire_command(1))
    reservation_outcome(state, int(held.rows["reservation"][0]))
    rerouted_units(state, int(held.rows["reservation"][0]))
    row = position_row(state, "warm", "warm")
    available(state, row)
    sellable(state, row)
    find_name(state, commands.SKU, "warm")
    reservation_row(state, "warm")
    supply_row(state, "warm")
    list(movements_of(state, row))
    list(owned_by(state, "warm"))
    broken = check(State.restore(state.sections()))
    if broken:
        raise RuntimeError(f"the ledger is not sound after its warm-up: {broken}")
    state_hash(state)
    verification = Verification(state)
    while not verification.step(1 << 10):
        pass
    return state


if __name__ == "__main__":
    warm_up()
