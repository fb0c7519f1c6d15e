"""A small ledger with a bit of everything: stock, a group, a fence, a limit, supply, capacity."""

from __future__ import annotations

from engine import commands, outcomes
from engine.machine import apply
from engine.state import Capacity, State
from server.transport.columns import Columns, LineRow, line

NOW_MS = 1_700_000_000_000
SKUS = ("pear", "plum", "fig")
NODES = ("berlin", "lyon", "n")
DAY = b"2026-03-02"


def _define(columns: Columns, kind: int, *names: str) -> None:
    columns.add(
        commands.DEFINE_NAMES,
        caller=b"",
        lines=[
            line(sku=name.encode(), policy=kind, text_bytes=len(name.encode())) for name in names
        ],
        line_texts=[name.encode() for name in names],
    )


def _one(columns: Columns, kind: int, row: LineRow, text: bytes = b"", *, flags: int = 0) -> None:
    columns.add(kind, caller=b"", flags=flags, lines=[row], line_texts=[text])


def stocked(units: int = 10) -> State:
    """`units` of each SKU at each node; 3 pears in berlin are the web's; 2 figs an owner."""
    state = State.create(Capacity.small(), ledger_seed=7)
    columns = Columns()
    _define(columns, commands.SKU, *SKUS)
    _define(columns, commands.NODE, *NODES)
    _define(columns, commands.CHANNEL, "web")
    group = [line(node=b"berlin", text_bytes=3), line(node=b"lyon", number=1)]
    columns.add(commands.DEFINE_GROUP, caller=b"", channel=b"all", lines=group, line_texts=[b"all"])
    for sku in SKUS:
        for node in NODES:
            row = line(sku=sku.encode(), node=node.encode(), quantity=units, kind=commands.AT_NODE)
            _one(columns, commands.COUNT, row)
    _one(
        columns,
        commands.SET_CHANNEL_FENCE,
        line(sku=b"pear", node=b"berlin", scope=b"web", quantity=3, kind=commands.AT_NODE),
    )
    _one(columns, commands.SET_PURCHASE_LIMIT, line(sku=b"fig", quantity=2))
    supply = line(
        sku=b"plum",
        node=b"lyon",
        scope=b"po-1",
        time_ms=NOW_MS + 86_400_000,
        quantity=5,
        kind=commands.AT_NODE,
        policy=commands.PURCHASE_ORDER,
        text_bytes=4,
    )
    _one(columns, commands.UPSERT_SUPPLY, supply, b"po-1")
    _one(
        columns,
        commands.SET_BACKORDER_LIMIT,
        line(sku=b"plum", node=b"lyon", quantity=4, kind=commands.AT_NODE),
    )
    _one(
        columns,
        commands.SET_CAPACITY,
        line(sku=DAY, node=b"berlin", quantity=6, kind=commands.NODE_CAPACITY, text_bytes=len(DAY)),
        DAY,
    )
    answer = apply(state, NOW_MS, columns.batch())
    assert set(answer.rows["code"].tolist()) == {outcomes.OK}
    return state
