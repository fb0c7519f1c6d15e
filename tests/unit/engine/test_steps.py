"""What an operation costs is counted in steps, not in time: open holds add none.

The kernels run as plain Python (`tests.interpreted`) on two ledgers that differ only in how many
holds are open on one SKU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from engine import commands, reads
from engine.state import Capacity
from tests import columns
from tests.columns import Line
from tests.interpreted import interpreted
from tests.ledger import MINUTE_MS, Answer, Ledger

MANY = 100_000
FEW = 10

ROOM = Capacity(
    positions=64,
    names=64,
    name_bytes=1 << 10,
    group_members=16,
    reservations=1 << 17,
    takes=1 << 18,
    supplies=16,
    requests=64,
    reply_details=1 << 10,
    movements=64,
)


def _ledger_with(holds: int) -> Ledger:
    """Pears in Berlin, with so many open holds of one pear each, and one order of ann's."""
    ledger = Ledger(ROOM, checked=False)
    ledger.stock("pear", "berlin", MANY + 100)
    ledger.channel("shop")
    ledger.create([("pear", "berlin", 3)], reservation_id="order", owner="ann")
    hold = Ledger.creating([("pear", "berlin", 1)])
    while holds:
        part = min(holds, 1000)
        ledger.now_ms += 1
        ledger.run(*[hold] * part)
        holds -= part
    return ledger


OPERATIONS: dict[str, Callable[[Ledger], Answer]] = {
    "create": lambda ledger: ledger.create([("pear", "berlin", 1)]),
    "create in a channel": lambda ledger: ledger.create([("pear", "berlin", 1)], channel="shop"),
    "replace a cart": lambda ledger: ledger.create(
        [("pear", "berlin", 2)], owner="ann", replace=True
    ),
    "confirm": lambda ledger: ledger.confirm("order"),
    "confirm a part": lambda ledger: ledger.confirm(
        "order", [Line(number=0, quantity=1, kind=commands.BY_LINE)]
    ),
    "cancel": lambda ledger: ledger.cancel("order"),
    "extend": lambda ledger: ledger.extend("order", 60 * MINUTE_MS),
    "revise": lambda ledger: ledger.revise("order", [("pear", "berlin", 5)]),
    "reroute": lambda ledger: ledger.reroute("order", [("pear", "berlin", 3)]),
    "adjust": lambda ledger: ledger.adjust("pear", "berlin", 1),
    "count": lambda ledger: ledger.count("pear", "berlin", MANY + 200),
    "withhold": lambda ledger: ledger.withhold("pear", "berlin", commands.DAMAGED, 1),
    "expire one": lambda ledger: ledger.one(columns.expire(1)),
}


def _cost(ledger: Ledger, operation: Callable[[Ledger], Answer]) -> Counter[str]:
    with interpreted() as steps:
        assert operation(ledger).ok
    return +steps


@pytest.fixture(scope="module")
def ledgers() -> tuple[Ledger, Ledger]:
    """(few holds, many holds); each test copies them."""
    return _ledger_with(FEW), _ledger_with(MANY)


@pytest.mark.parametrize("name", OPERATIONS)
def test_hundred_thousand_open_holds_cost_an_operation_nothing(
    ledgers: tuple[Ledger, Ledger], name: str
) -> None:
    few, many = (_cost(ledger.restored(), OPERATIONS[name]) for ledger in ledgers)
    # The heap of expiries is the one structure that grows: some levels of four children each.
    assert many["heap"] <= few["heap"] + 9 * 16
    for table in many.keys() - {"heap", "reservations"}:
        # An index may probe a few slots more where it is fuller.
        spare = 6 if table.endswith("_index") else 0
        assert many[table] <= few[table] + spare, table
    # Each level of the heap writes one back link.
    assert many["reservations"] <= few["reservations"] + 9


def test_availability_is_read_from_one_row(ledgers: tuple[Ledger, Ledger]) -> None:
    costs = []
    for ledger in ledgers:
        with interpreted() as steps:
            row = reads.position_row(ledger.state, "pear", "berlin")
            assert reads.available(ledger.state, row) == reads.sellable(ledger.state, row)
        costs.append(+steps)
    assert costs[0] == costs[1]
    assert costs[0]["takes"] == costs[0]["reservations"] == 0
