"""Do movements say what made them? Each against the operation whose revision it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine import commands, reads, tables
from tests.ledger import Answer, Ledger
from tests.property.operations import Operation


def cause_differences(
    ledger: Ledger, first: int, operations: Sequence[Operation], answers: Sequence[Answer]
) -> Iterator[str]:
    """Where the movements written since `first` tell another cause than the operation they are of,
    or are of none."""
    made_by = {
        answer.revision: operation
        for operation, answer in zip(operations, answers, strict=True)
        if answer.ok and not answer.replayed
    }
    state = ledger.state
    for number in range(first, int(state.meta["movement_next"][0])):
        slot = number % len(state.movements)
        movement = state.movements[slot]
        operation = made_by.get(int(movement["revision"]))
        if operation is None:
            yield f"movement {number} is of revision {movement['revision']}, which is no operation"
            continue
        reason = int(movement["reason"])
        told = reads.movement_cause(state, slot)
        if (told.request_id, told.reference) != (operation.request_id, operation.reference):
            yield f"movement {number} of {operation.told()}: made by {told}"
        _, sku, node, _ = ledger.place(int(movement["position"]))
        supplies = _supplies(operation, reason, sku, node)
        if told.supply_id not in supplies:
            yield f"movement {number} of {operation.told()}: of supply {told.supply_id!r}"


def _supplies(operation: Operation, reason: int, sku: str, node: str) -> set[str]:
    """What the supply of a movement may be called: two lines of one SKU are not told apart."""
    if reason == tables.RECEIPT and operation.kind == commands.RECEIVE_SUPPLY:
        return {line.scope for line in operation.lines}
    if reason == tables.TRANSFER_OUT:
        return {line.text for line in operation.lines if (line.sku, line.node) == (sku, node)}
    return {""}
