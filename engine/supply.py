"""Incoming supply: announced, received, cancelled; transfers; and the limit beyond all supply."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, index, outcomes, tables
from engine.balances import write_balance
from engine.causes import KEEPS_CAUSES, of_supply
from engine.compiled import Integer, kernel
from engine.details import write_detail
from engine.hashing import combine, hash_bytes
from engine.limits import supplies_per_position_max, units_per_position_max
from engine.movements import record
from engine.names import define_name, find_name
from engine.positions import (
    SCOPE_BACKORDER,
    SCOPE_SUPPLY,
    available,
    change,
    find_stock,
    make_position,
    mark_short,
    need_stock,
    position_key,
    touch,
)
from engine.waiting import cancel_newest_holds, serve, serve_backorders

NONE = tables.NONE
OK = outcomes.OK
_BEYOND = tables.BACKORDER_SUPPLY
_FOREVER = np.int64(1) << np.int64(62)
_UNITS_MAX = units_per_position_max
_ZERO = np.uint64(0)
SOURCE_LINE = 1  # what a refusal of UPSERT_SUPPLY names as its line when the source is meant


@kernel
def find_supply(st: Any, key: np.uint64) -> Integer:
    """Row of the supply with this key, or NONE."""
    slots = st.supply_index
    mask = slots.shape[0] - 1
    at = index.probe(slots, key, index.home(slots, key))
    while at >= 0:
        row = index.row_at(slots, at)
        if st.supplies[row].key == key:
            return row
        at = index.probe(slots, key, (at + 1) & mask)
    return NONE


@kernel
def _link(st: Any, row: int) -> None:
    """Put a supply into its stock's chain, by expected time and then by age."""
    supply = st.supplies[row]
    stock = st.positions[supply.stock]
    before: Integer = NONE
    at = np.int64(stock.link)
    while at >= 0 and st.supplies[at].expected_ms <= supply.expected_ms:
        before = at
        at = np.int64(st.supplies[at].next)
    supply.next = at
    if before < 0:
        stock.link = row
    else:
        st.supplies[before].next = row


@kernel
def _unlink(st: Any, row: int) -> None:
    supply = st.supplies[row]
    stock = st.positions[supply.stock]
    if stock.link == row:
        stock.link = supply.next
        return
    at = np.int64(stock.link)
    while st.supplies[at].next != row:
        at = np.int64(st.supplies[at].next)
    st.supplies[at].next = supply.next


@kernel
def _count_open(st: Any, stock: int) -> Integer:
    count = 0
    at = np.int64(st.positions[stock].link)
    while at >= 0:
        count += 1
        at = np.int64(st.supplies[at].next)
    return count


@kernel
def _make(
    st: Any, key: np.uint64, scope_key: np.uint64, stock: int, name: int, type_: int, when: int
) -> Integer:
    """A new open supply of 0 units, linked; or minus a reason."""
    meta = st.meta[0]
    if _count_open(st, stock) >= supplies_per_position_max:
        return -outcomes.SUPPLIES_FULL
    if meta.supply_count >= st.supplies.shape[0]:
        return -outcomes.SUPPLIES_FULL
    position = st.positions[stock]
    made = make_position(
        st,
        # Tagged, as a supply and a channel with a fence on this stock may have the same name.
        combine(position.key, combine(scope_key, SCOPE_SUPPLY)),
        tables.SUPPLY,
        np.int64(position.sku),
        np.int64(position.node),
        name,
    )
    if made < 0:
        return made

    # From here it must succeed.
    row = meta.supply_count
    meta.supply_count += 1
    supply = st.supplies[row]
    supply.key = key
    supply.expected_ms = when
    supply.position = made
    supply.stock = stock
    supply.first_take = NONE
    supply.last_take = NONE
    supply.name = name
    supply.received = 0
    supply.type = type_
    supply.open = 1
    st.positions[made].link = row
    index.insert(st.supply_index, key, row)
    _link(st, row)
    return row


@kernel
def _settle_shortfall(
    st: Any, row: int, policy: int, line: int, details: NDArray[np.void], at: int
) -> Integer:
    """After a supply shrank: report, or cancel, what it no longer covers; the next detail."""
    position = np.int64(st.supplies[row].position)
    if available(st, position) >= 0:
        return at
    mark_short(st, position)
    ended = 0
    if policy == commands.CANCEL_NEWEST_HOLDS:
        ended, at = cancel_newest_holds(st, position, line, details, at)
    at = write_detail(details, at, outcomes.SHORTFALL, line, position, ended, 0, 0, 0)
    details[at - 1].shortfall = max(np.int64(0), -available(st, position))
    return at


@kernel
def upsert_supply(
    st: Any,
    header: Any,
    line: Any,
    text: NDArray[np.uint8],
    text_at: int,
    outcome: Any,
    details: NDArray[np.void],
    at: int,
) -> Integer:
    """Announce a supply, or change its quantity, type, time or source. Details written.

    The header's channel_key names the node a transfer comes from, 0: as it was.
    """
    source = np.int64(NONE)
    row = find_supply(st, line.scope_key)
    if row >= 0:
        supply = st.supplies[row]
        if supply.stock != find_stock(st, line.sku_key, line.node_key):
            outcome.code = outcomes.SUPPLY_EXISTS
            return 0
        if not supply.open:
            outcome.code = outcomes.SUPPLY_CLOSED
            return 0
    if header.channel_key != _ZERO:
        source = find_name(st, commands.NODE, header.channel_key)
        if source < 0:
            outcome.code = outcomes.NODE_NOT_FOUND
            write_detail(details, at, outcomes.LINE_ERROR, SOURCE_LINE, NONE, 0, 0, outcome.code, 0)
            return 1
    if row < 0:
        stock = need_stock(st, line.sku_key, line.node_key)
        if stock < 0:
            outcome.code = -stock
            return 0
        name = define_name(
            st, commands.SUPPLY, line.scope_key, text, text_at, text_at + line.text_bytes
        )
        if name < 0:
            outcome.code = -name
            return 0
        row = _make(
            st, line.scope_key, line.scope_key, stock, name, np.int64(line.policy), line.time_ms
        )
        if row < 0:
            outcome.code = -row
            return 0

    # From here it must succeed.
    supply = st.supplies[row]
    position = np.int64(supply.position)
    supply.type = line.policy
    if line.policy != commands.TRANSFER_SUPPLY:
        st.positions[position].reserved2 = 0
    elif source >= 0:
        st.positions[position].reserved2 = source + 1
    if supply.expected_ms != line.time_ms:
        _unlink(st, row)
        supply.expected_ms = line.time_ms
        _link(st, row)
    change(st, position, line.quantity - np.int64(st.positions[position].on_hand), 0, 0)
    outcome.affected = row
    first = at
    at = _settle_shortfall(st, row, np.int64(line.flags), 0, details, at)
    return write_balance(st, details, at, 0, position, 0) - first


@kernel
def _close(st: Any, row: int) -> None:
    """Nothing more will come of a supply; promises against it, if any, stay as its shortfall."""
    supply = st.supplies[row]
    position = np.int64(supply.position)
    change(st, position, -np.int64(st.positions[position].on_hand), 0, 0)
    supply.open = 0
    _unlink(st, row)
    touch(st, np.int64(supply.stock))  # what may be promised of the stock changes with it


@kernel
def receive_supply(
    st: Any, header: Any, line: Any, outcome: Any, details: NDArray[np.void], at: int
) -> Integer:
    """Units of a supply arrive: its promises become promises of stock, the rest is for sale."""
    row = find_supply(st, line.scope_key)
    if row < 0 or st.supplies[row].type == _BEYOND:
        outcome.code = outcomes.SUPPLY_NOT_FOUND
        return 0
    supply = st.supplies[row]
    if not supply.open:
        outcome.code = outcomes.SUPPLY_CLOSED
        return 0
    stock = np.int64(supply.stock)
    position = np.int64(supply.position)
    arrived = np.int64(line.quantity)
    if st.positions[stock].on_hand + arrived > _UNITS_MAX:
        outcome.code = outcomes.QUANTITY_OUT_OF_RANGE
        return 0

    # From here it must succeed.
    change(st, stock, arrived, 0, 0)
    record(st, stock, tables.RECEIPT, arrived, 0, 0, 0, of_supply(row))
    moved = serve(st, row, stock, arrived)
    mark_short(st, stock)  # stock that was short stays so: what arrived was promised already
    change(st, position, -min(arrived, np.int64(st.positions[position].on_hand)), 0, 0)
    supply.received += arrived
    final = (header.flags & commands.FINAL) != 0
    first = at
    if final or st.positions[position].on_hand == 0:
        _close(st, row)
    at = _settle_shortfall(st, row, np.int64(line.flags), 0, details, at)
    serve_backorders(st, stock)
    at = write_detail(details, at, outcomes.MOVED, 0, stock, moved, 0, 0, 0)
    outcome.affected = row
    at = write_balance(st, details, at, 0, position, 0)
    return write_balance(st, details, at, 0, stock, arrived) - first


@kernel
def cancel_supply(st: Any, line: Any, outcome: Any, details: NDArray[np.void], at: int) -> Integer:
    """A supply will not come."""
    row = find_supply(st, line.scope_key)
    if row < 0 or st.supplies[row].type == _BEYOND:
        outcome.code = outcomes.SUPPLY_NOT_FOUND
        return 0
    if not st.supplies[row].open:
        outcome.code = outcomes.SUPPLY_CLOSED
        return 0

    # From here it must succeed.
    _close(st, row)
    outcome.affected = row
    first = at
    at = _settle_shortfall(st, row, np.int64(line.flags), 0, details, at)
    return write_balance(st, details, at, 0, np.int64(st.supplies[row].position), 0) - first


@kernel
def set_backorder_limit(
    st: Any, line: Any, outcome: Any, details: NDArray[np.void], at: int
) -> Integer:
    """Units that may be promised of a stock beyond all announced supply. Details written."""
    stock = need_stock(st, line.sku_key, line.node_key)
    if stock < 0:
        outcome.code = -stock
        return 0
    key = position_key(line.sku_key, line.node_key, SCOPE_BACKORDER)
    row = find_supply(st, key)
    if row < 0:
        row = _make(st, key, SCOPE_BACKORDER, stock, NONE, _BEYOND, _FOREVER)
        if row < 0:
            outcome.code = -row
            return 0

    # From here it must succeed.
    position = np.int64(st.supplies[row].position)
    change(st, position, line.quantity - np.int64(st.positions[position].on_hand), 0, 0)
    mark_short(st, position)
    st.positions[stock].flags |= tables.BACKORDERED
    outcome.affected = row
    return write_balance(st, details, at, 0, stock, 0) - at


@kernel
def _undo_transfer(st: Any, lines: NDArray[np.void], first: int, until: int) -> None:
    for i in range(until - 1, first - 1, -1):
        line = lines[i]
        change(st, find_stock(st, line.sku_key, line.node_key), line.quantity, 0, 0)
        if line.time_ms == 0:
            target = find_stock(st, line.sku_key, line.scope_key)
            change(st, target, -line.quantity, 0, 0)
            mark_short(st, target)


@kernel
def _transfer_key(text: NDArray[np.uint8], text_at: int, line: Any) -> np.uint64:
    """Key of the supply that a travelling line becomes: its text's, as for any name."""
    return hash_bytes(text, text_at, text_at + line.text_bytes)


@kernel
def transfer(
    st: Any,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    text: NDArray[np.uint8],
    text_at: int,
    outcome: Any,
    details: NDArray[np.void],
    at: int,
) -> Integer:
    """Move available units between nodes, all lines or none; with an expected time they travel as
    a supply of the target, named by the line's text."""
    begin = at
    stop = first + header.line_count
    keys = st.line_moves  # of the supplies that the lines become
    travelling = 0
    for i in range(first, stop):
        line = lines[i]
        units = np.int64(line.quantity)
        code = OK
        free = np.int64(0)
        origin = need_stock(st, line.sku_key, line.node_key)
        target = need_stock(st, line.sku_key, line.scope_key)
        if origin < 0:
            code = -origin
        elif target < 0:
            code = -target
        else:
            free = max(np.int64(0), available(st, origin))
            if st.names[st.positions[origin].node].flags & tables.NODE_IS_FROZEN:
                code = outcomes.NODE_FROZEN
            elif free < units:
                code = outcomes.INSUFFICIENT_STOCK
            elif st.positions[target].on_hand + units > _UNITS_MAX:
                code = outcomes.QUANTITY_OUT_OF_RANGE
            elif line.time_ms != 0:
                travelling += 1
                key = _transfer_key(text, text_at, line)
                keys[i - first] = np.int64(key)
                alike = 1  # lines that travel to this target
                taken = find_supply(st, key) >= 0
                for j in range(first, i):
                    other = lines[j]
                    if other.time_ms == 0:
                        continue
                    if other.sku_key == line.sku_key and other.scope_key == line.scope_key:
                        alike += 1
                    taken = taken or keys[j - first] == keys[i - first]
                if taken:
                    code = outcomes.SUPPLY_EXISTS
                elif (
                    _count_open(st, target) + alike > supplies_per_position_max
                    or st.meta[0].supply_count + travelling > st.supplies.shape[0]
                ):
                    code = outcomes.SUPPLIES_FULL
                elif st.meta[0].position_count + travelling > st.positions.shape[0]:
                    code = outcomes.POSITIONS_FULL
                else:
                    name = define_name(
                        st, commands.SUPPLY, key, text, text_at, text_at + line.text_bytes
                    )
                    code = -name if name < 0 else OK
        text_at += line.text_bytes
        if code != OK:
            _undo_transfer(st, lines, first, i)
            outcome.code = code
            kind = outcomes.LINE_ERROR
            if code == outcomes.INSUFFICIENT_STOCK:
                kind = outcomes.SHORTAGE
            at = write_detail(details, at, kind, np.int64(line.line), origin, units, free, code, 0)
            return at - begin
        change(st, origin, -units, 0, 0)
        if line.time_ms == 0:
            change(st, target, units, 0, 0)

    # From here it must succeed.
    for i in range(first, stop):
        text_at -= lines[i].text_bytes
    for i in range(first, stop):
        line = lines[i]
        units = np.int64(line.quantity)
        origin = find_stock(st, line.sku_key, line.node_key)
        target = find_stock(st, line.sku_key, line.scope_key)
        if line.time_ms == 0:
            record(st, origin, tables.TRANSFER_OUT, -units, 0, 0, 0, NONE)
            record(st, target, tables.TRANSFER_IN, units, 0, 0, 0, NONE)
            serve_backorders(st, target)
        else:
            key = _transfer_key(text, text_at, line)
            name = define_name(st, commands.SUPPLY, key, text, text_at, text_at + line.text_bytes)
            row = _make(st, key, key, target, name, commands.TRANSFER_SUPPLY, line.time_ms)
            record(st, origin, tables.TRANSFER_OUT, -units, 0, 0, 0, of_supply(row))
            made = np.int64(st.supplies[row].position)
            change(st, made, units, 0, 0)
            if st.format[0].number >= KEEPS_CAUSES:
                st.positions[made].reserved2 = st.positions[origin].node + 1
            keys[i - first] = row
        text_at += line.text_bytes
    outcome.affected = header.line_count
    if header.flags & commands.TELL_BALANCES:
        for i in range(first, stop):
            line = lines[i]
            units = np.int64(line.quantity)
            number = np.int64(line.line)
            origin = find_stock(st, line.sku_key, line.node_key)
            target = find_stock(st, line.sku_key, line.scope_key)
            at = write_balance(st, details, at, number, origin, -units)
            at = write_balance(st, details, at, number, target, units if line.time_ms == 0 else 0)
            if line.time_ms != 0:
                made = np.int64(st.supplies[keys[i - first]].position)
                at = write_balance(st, details, at, number, made, units)
    return at - begin
