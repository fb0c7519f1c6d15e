"""Columns and scans for replies, against one look-up at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import commands, reads, tables
from engine.hashing import key_of
from engine.machine import apply
from engine.state import State
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import reservation_service_pb2 as messages
from server.application.watch import WatchHub, WatchSet, WatchSetFull
from server.transport import scan
from server.transport.codec import reservations as codec
from server.transport.columns import Columns, line
from server.transport.errors import Fault
from server.transport.names import BACKORDER, Names
from server.transport.paging import page_of
from server.transport.position_columns import find_rows, read_positions
from server.transport.validation import Checker
from tests.ledger import SMALL, Ledger
from tests.unit.server.transport.ledgers import NODES, NOW_MS, SKUS, stocked

DAY_MS = 86_400_000


def create(state: State, *lines: tuple[str, str, int], **fields: object) -> int:
    """Hold; the reservation's row."""
    request = messages.CreateReservationRequest(**fields)
    for sku, node, quantity in lines:
        request.lines.add(sku=sku, node=node, quantity=quantity, supply_policy=3)
    columns, check = Columns(), Checker(NOW_MS)
    codec.create(columns, check, request, b"")
    check.refuse()
    answer = apply(state, NOW_MS + 1, columns.batch())
    assert answer.rows["code"][0] == 0
    return int(answer.rows["reservation"][0])


@given(
    st.lists(
        st.tuples(st.sampled_from(["pear", "plum"]), st.sampled_from(NODES), st.integers(1, 3)),
        max_size=8,
    ),
    st.sampled_from(["", "web"]),
)
def test_columns_say_what_single_look_ups_say(orders: list[tuple[str, str, int]], channel: str):
    state = stocked()
    for order in orders:
        try:
            create(state, order, owner="ann", channel=channel)
        except AssertionError:
            continue
    keys = [
        np.array([key_of(name.encode()) for name in names], np.uint64) for names in (SKUS, NODES)
    ]
    rows = find_rows(state, *keys).ravel()
    numbers = read_positions(state, rows, channel=channel)
    for index, (sku, node) in enumerate((sku, node) for sku in SKUS for node in NODES):
        row = reads.position_row(state, sku, node)
        assert rows[index] == row == numbers["row"][index]
        assert numbers["available"][index] == reads.available(state, row)
        assert numbers["on_hand"][index] == state.positions["on_hand"][row]
        sellable = reads.sellable(state, row, channel)
        assert max(0, int(numbers["available_to_sell"][index])) == sellable


def test_supply_counts_by_its_date_and_backorders_by_their_limit():
    state = stocked()
    create(state, ("plum", "lyon", 17))  # ten there, five to come, two beyond
    row = np.array([reads.position_row(state, "plum", "lyon")])
    (now,) = read_positions(state, row)
    assert (now["available"], now["available_to_promise"]) == (0, 0)
    assert (now["incoming"], now["supply_promised"]) == (5, 5)
    assert (now["backorder_limit"], now["backordered"]) == (4, 2)
    early = read_positions(state, row, need_by_ms=NOW_MS + DAY_MS - 1)[0]
    assert early["incoming"] == 0
    names = Names(state)
    scopes = {
        names.position(int(state.supplies["position"][supply])).scope
        for supply in reads.supplies_of(state, int(row[0]))
    }
    assert scopes == {"po-1", BACKORDER}


def test_own_holds_count_as_free_fenced_ones_for_their_channel():
    state = stocked()
    create(state, ("pear", "berlin", 5), owner="ann", channel="web")
    create(state, ("pear", "berlin", 1), owner="bob")
    row = np.array([reads.position_row(state, "pear", "berlin"), -1])
    mine, none = read_positions(state, row, channel="web", owner="ann")
    assert (mine["held"], mine["available"], mine["available_to_sell"]) == (1, 9, 9)
    assert (none["row"], none["on_hand"]) == (-1, 0)
    other = read_positions(state, row, channel="web", owner="bob")[0]
    assert (other["held"], other["available"]) == (5, 5)


def test_positions_are_walked_in_bounded_stretches(monkeypatch: pytest.MonkeyPatch):
    state = stocked()
    monkeypatch.setattr(scan, "SCAN_ROWS_MAX", 4)
    found, after = [], 0
    while after >= 0:
        rows, after = scan.positions(state, tables.STOCK, after, 2)
        found += rows.tolist()
    assert found == reads.stock_rows(state).tolist()
    node = reads.find_name(state, commands.NODE, "lyon")
    rows, _ = scan.positions(state, tables.STOCK, 0, 100, node=node)
    assert set(rows.tolist()) <= set(reads.stock_rows(state, node=node).tolist())


def test_reservations_are_listed_oldest_first_whatever_their_rows():
    state = stocked()
    rows = [create(state, ("pear", "n", 1), owner=f"o{n % 2}") for n in range(6)]
    state.reservations["create_revision"][rows[0]] += 1000  # as if its row had been reused
    found, last = [], 0
    while last >= 0:
        page, last = scan.reservations(state, last, 2)
        found += page
    assert found == [*rows[1:], rows[0]]
    of_owner, _ = scan.reservations(state, 0, 10, owner_key=key_of(b"o1"))
    assert of_owner == rows[1::2]
    sku = reads.find_name(state, commands.SKU, "plum")
    assert scan.reservations(state, 0, 10, sku=sku) == ([], -1)


def test_movements_are_listed_from_where_a_page_ended():
    state = stocked()
    slots, after = scan.movements(state, 0, 4)
    rest, end = scan.movements(state, after, 100)
    assert len(slots) + len(rest) == 9
    assert end == -1


def test_movements_whose_texts_are_gone_are_listed_by_no_request():
    """128 bytes of texts each where there is room for 64: half of them are left, whole."""
    ledger = Ledger(replace(SMALL, movements=16))
    ledger.stock("pear", "berlin", 9)
    for number in range(40):
        ledger.adjust("pear", "berlin", 1, request_id=f"{number:064}", reference=f"{-number:064}")
    told = [cause.request_id for cause in ledger.causes()]
    assert told == [""] * 8 + [f"{number:064}" for number in range(32, 40)]
    assert scan.movements_untold(ledger.state) == 8
    for number in range(40):
        name = f"{number:064}"
        slots, _ = scan.movements(ledger.state, 0, 100, request_id=name)
        assert len(slots) == told.count(name)
        assert [reads.movement_cause(ledger.state, int(slot)).request_id for slot in slots] == [
            name
        ] * len(slots)


def test_movements_with_short_texts_or_none_are_all_told():
    ledger = Ledger(replace(SMALL, movements=16))
    ledger.stock("pear", "berlin", 9)
    assert scan.movements_untold(ledger.state) == 0
    for number in range(40):
        ledger.adjust("pear", "berlin", 1, request_id=f"{number:064}"[: 64 * (number % 2)])
        assert scan.movements_untold(ledger.state) == 0


# --- Pages -------------------------------------------------------------------------------------


def test_a_token_goes_with_its_query():
    check = Checker(0)
    request = inventory.ListInventoryPositionsRequest(sku="pear")
    page = page_of(check, request)
    assert (page.size, page.after) == (100, 0)
    assert page.token(-1) == ""
    request.page_token = page.token(77)
    request.page_size = 5_000
    again = page_of(check, request)
    assert (again.size, again.after) == (200, 77)
    assert not check.violations
    request.sku = "plum"
    page_of(check, request)
    request.page_token = "***"
    page_of(check, request)
    request.page_size = -1
    page_of(check, request)
    assert {violation.fault for violation in check.violations} == {Fault.FIELD_INVALID}
    assert len(check.violations) == 4


@given(st.text(max_size=60))
def test_any_token_is_taken_or_refused(token: str):
    check = Checker(0)
    page = page_of(check, inventory.ListInventoryPositionsRequest(page_token=token))
    assert page.after == 0 or not check.violations


# --- Watch sets --------------------------------------------------------------------------------


def _rows(state: State, kind: int, *names: str) -> np.ndarray:
    return np.array([reads.find_name(state, kind, name) for name in names], np.int64)


def test_a_watch_set_tells_what_changed_after_a_revision():
    state = stocked()
    watched = WatchSet(
        state,
        _rows(state, commands.SKU, "pear", "plum"),
        _rows(state, commands.NODE, "berlin", "lyon"),
        positions_max=10,
    )
    assert len(watched.rows) == 4
    begin = state.revision
    assert len(watched.changed_after(begin)[0]) == 0
    create(state, ("pear", "berlin", 1))
    create(state, ("plum", "lyon", 12))  # two of them from supply
    rows, at = watched.changed_after(begin)
    assert rows.tolist() == [
        reads.position_row(state, "pear", "berlin"),
        reads.position_row(state, "plum", "lyon"),
    ]
    assert at.tolist() == [begin + 1, begin + 2]
    assert watched.changed_after(begin + 1)[0].tolist() == rows[1:].tolist()


async def test_a_watch_set_finds_positions_made_later_and_is_bounded():
    state = stocked()
    watched = WatchSet(state, None, _rows(state, commands.NODE, "n"), positions_max=4)
    await watched.discover_all()
    assert len(watched.rows) == 3
    for number in (1, 2):
        columns = Columns()
        name = b"new%d" % number
        columns.add(
            commands.DEFINE_NAMES,
            caller=b"",
            lines=[line(sku=name, policy=commands.SKU, text_bytes=len(name))],
            line_texts=[name],
        )
        columns.add(
            commands.COUNT,
            caller=b"",
            lines=[line(sku=name, node=b"n", quantity=1, kind=commands.AT_NODE)],
        )
        apply(state, NOW_MS, columns.batch())
        if number == 1:
            await watched.discover_all()
            assert len(watched.rows) == 4
    with pytest.raises(WatchSetFull):
        await watched.discover_all()


async def test_only_those_it_concerns_are_woken():
    state = stocked()
    hub = WatchHub(watches_max=2)
    nodes = _rows(state, commands.NODE, *NODES)
    watchers = {}
    for sku in ("pear", "plum"):
        watchers[sku] = hub.add()
        watchers[sku].set = WatchSet(
            state, _rows(state, commands.SKU, sku), nodes, positions_max=10
        )
    assert hub.is_full
    row = reads.position_row(state, "plum", "lyon")
    supply = next(reads.supplies_of(state, row))
    hub.changed(state, np.array([state.supplies["position"][supply]], np.int32))
    assert not await watchers["pear"].wait(0)
    async with asyncio.timeout(5):
        assert await watchers["plum"].wait(5)
    hub.remove(watchers["plum"])
    assert len(hub) == 1
