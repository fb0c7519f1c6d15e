"""Create: take every line's units, or none; then write the reservation down.

Lines are filled in order against the live balances, each take noted in `scratch`. When something
is missing the takes are given back in reverse, which restores every balance exactly; nothing else
was written until then. Lines on the same position therefore add up by themselves, and the check
and the take are the same step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, heap, index, outcomes, tables
from engine import reservations as records
from engine.compiled import Integer, inlined, kernel
from engine.details import write_detail, write_takes
from engine.names import define_name, find_name
from engine.positions import (
    SCOPE_CAPACITY,
    SCOPE_LIMIT,
    SCOPE_SLOT,
    available,
    change,
    find_fence,
    find_position,
    find_stock,
    make_position,
    need_stock,
    position_key,
    sellable,
)
from engine.prefetch import next_made_key
from engine.waiting import serve_after_release

NONE = tables.NONE
OK = outcomes.OK
HELD = outcomes.HELD
CONFIRMED = outcomes.CONFIRMED
_ZERO = np.uint64(0)
_TAKES_MAX = 256
# Takes one step notes at most: stock, its fence, the shortfall, the purchase limit.
_TAKES_PER_STEP = 4
_LIMIT = tables.LIMIT
_BEYOND = tables.BACKORDER_SUPPLY
_LIFTED = -2  # `older` of a hold that the running group replaces


@kernel
def node_is_frozen(st: Any, row: int) -> bool:
    """Whether the node of a position is frozen."""
    return (st.names[st.positions[row].node].flags & tables.NODE_IS_FROZEN) != 0


@kernel
def _note(st: Any, used: int, row: int, quantity: int, line: int, state: int) -> Integer:
    """Take `quantity` of a position and note it; the takes noted by then."""
    records.shift(st, state, row, quantity)
    noted = st.scratch[used]
    noted.position = row
    noted.quantity = quantity
    noted.shortfall = 0
    noted.line = line
    return used + 1


@kernel
def _give_back(st: Any, first: int, used: int, state: int) -> None:
    """Undo the takes noted from `first` on."""
    for at in range(used - 1, first - 1, -1):
        noted = st.scratch[at]
        if noted.quantity:
            records.shift(st, state, np.int64(noted.position), -np.int64(noted.quantity))


@inlined
def _from_stock(
    st: Any, used: int, row: int, want: int, channel_key: np.uint64, line: int, state: int
) -> tuple[Integer, Integer]:
    """Take up to `want` from what is on hand. (takes noted, units had)"""
    fence = find_fence(st, row, channel_key)
    had = min(want, sellable(st, row, channel_key, fence))
    if had <= 0:
        return used, 0
    from_fence = 0
    if fence >= 0:
        from_fence = min(had, max(0, available(st, fence)))
    used = _note(st, used, row, had, line, state)
    if from_fence > 0:
        used = _note(st, used, fence, from_fence, line, state)
    return used, had


@kernel
def _from_supply(
    st: Any, used: int, row: int, want: int, policy: int, need_by_ms: int, line: int, state: int
) -> tuple[Integer, Integer]:
    """Take up to `want` from supply of this stock that is due in time, earliest first."""
    had = 0
    at = np.int64(st.positions[row].link)
    while at >= 0 and had < want and used + 2 < _TAKES_MAX:
        supply = st.supplies[at]
        beyond = supply.type == _BEYOND
        if beyond and policy != commands.BACKORDER:
            break
        if not beyond and need_by_ms > 0 and supply.expected_ms > need_by_ms:
            if policy != commands.BACKORDER:
                break
            at = np.int64(supply.next)
            continue
        units = min(want - had, available(st, supply.position))
        if supply.open and units > 0:
            used = _note(st, used, np.int64(supply.position), units, line, state)
            had += units
        at = np.int64(supply.next)
    return used, had


@kernel
def next_supply_ms(st: Any, row: int) -> Integer:
    """When more of this stock is expected, 0 when unknown."""
    at = np.int64(st.positions[row].link)
    while at >= 0:
        supply = st.supplies[at]
        if supply.type != _BEYOND and supply.open and available(st, supply.position) > 0:
            return np.int64(supply.expected_ms)
        at = np.int64(supply.next)
    return np.int64(0)


@kernel
def _missing_code(st: Any, sku_key: np.uint64, node_key: np.uint64) -> Integer:
    """Why there is no stock row: the SKU or the node is unknown, or (OK) it just never had any."""
    if find_name(st, commands.SKU, sku_key) < 0:
        return outcomes.SKU_NOT_FOUND
    if find_name(st, commands.NODE, node_key) < 0:
        return outcomes.NODE_NOT_FOUND
    return OK


@kernel
def _take_limit(
    st: Any,
    used: int,
    stock: int,
    quantity: int,
    header: Any,
    text: NDArray[np.uint8],
    text_at: int,
    line: int,
    state: int,
) -> tuple[Integer, Integer, Integer]:
    """Take a line's units from the owner's purchase limit. (takes noted, code, what was left)"""
    if header.owner_key == _ZERO:
        return used, outcomes.OWNER_REQUIRED, 0
    sku = np.int64(st.positions[stock].sku)
    limit = np.int64(st.names[sku].first)
    key = position_key(st.names[sku].key, header.owner_key, SCOPE_LIMIT)
    row = find_position(st, key)
    left = limit if row < 0 else available(st, row)
    if left < quantity:
        return used, outcomes.PURCHASE_LIMIT_REACHED, max(0, left)
    # Known or new, the name is compared: no owner may be counted as another with the same key.
    at = text_at + header.reservation_bytes
    owner = define_name(st, commands.OWNER, header.owner_key, text, at, at + header.owner_bytes)
    if owner < 0:
        return used, -owner, 0
    if row < 0:
        row = make_position(st, key, _LIMIT, sku, NONE, owner)
        if row < 0:
            return used, -row, 0
        change(st, row, limit, 0, 0)
    return _note(st, used, row, quantity, line, state), OK, left


@inlined
def fill(
    st: Any,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    text: NDArray[np.uint8],
    text_at: int,
    state: int,
    details: NDArray[np.void],
    detail_at: int,
) -> tuple[Integer, Integer, Integer]:
    """Take what the command's lines ask for, noting the takes in `scratch`.

    Returns (code, takes noted, details written). With a code other than OK everything was given
    back and the details say what was missing.
    """
    used = 0
    code = OK
    written = detail_at
    channel_key = header.channel_key
    for i in range(first, first + header.line_count):
        line = lines[i]
        number = np.int64(line.line)
        want = np.int64(line.quantity)
        begun = used
        had: Integer = 0
        problem = OK
        shown = NONE  # the position a shortage is reported at
        left = np.int64(0)
        more_ms = np.int64(0)
        if used + _TAKES_PER_STEP > _TAKES_MAX:
            problem = outcomes.TOO_MANY_TAKES
        elif line.kind == commands.AT_NODE:
            row = find_stock(st, line.sku_key, line.node_key)
            if row < 0:
                problem = _missing_code(st, line.sku_key, line.node_key)
                if problem == OK and header.fill_policy != commands.ALL_OR_NONE:
                    row = need_stock(st, line.sku_key, line.node_key)
                    problem = -row if row < 0 else OK
            if row >= 0:
                shown = row
                if node_is_frozen(st, row):
                    if header.fill_policy == commands.ALL_OR_NONE:
                        problem = outcomes.NODE_FROZEN
                else:
                    used, had = _from_stock(st, used, row, want, channel_key, number, state)
                    if had < want and line.policy >= commands.INCOMING:
                        used, more = _from_supply(
                            st, used, row, want - had, line.policy, line.time_ms, number, state
                        )
                        had += more
        elif line.kind == commands.IN_GROUP:
            group = find_name(st, commands.GROUP, line.scope_key)
            if group < 0:
                problem = outcomes.GROUP_NOT_FOUND
            elif find_name(st, commands.SKU, line.sku_key) < 0:
                problem = outcomes.SKU_NOT_FOUND
            else:
                start = np.int64(st.names[group].first)
                stop = start + st.names[group].count
                passes = 2 if line.policy >= commands.INCOMING else 1
                for round_ in range(passes):
                    for member in range(start, stop):
                        if had >= want or used + _TAKES_PER_STEP > _TAKES_MAX:
                            break
                        node = st.group_members[member]
                        row = find_stock(st, line.sku_key, st.names[node].key)
                        if row < 0 and shown < 0 and header.fill_policy != commands.ALL_OR_NONE:
                            row = need_stock(st, line.sku_key, st.names[node].key)
                        if row < 0:
                            continue
                        if shown < 0:
                            shown = row
                        if node_is_frozen(st, row):
                            continue
                        if round_ == 0:
                            used, more = _from_stock(
                                st, used, row, want - had, channel_key, number, state
                            )
                        else:
                            used, more = _from_supply(
                                st, used, row, want - had, line.policy, line.time_ms, number, state
                            )
                        had += more
        else:
            scope = SCOPE_CAPACITY if line.kind == commands.NODE_CAPACITY else SCOPE_SLOT
            row = find_position(st, position_key(line.sku_key, line.node_key, scope))
            if row < 0:
                problem = outcomes.CAPACITY_NOT_FOUND
            else:
                shown = row
                left = max(np.int64(0), available(st, row))
                if left < want:
                    problem = outcomes.CAPACITY_EXHAUSTED
                else:
                    used = _note(st, used, row, want, tables.ORDER_LEVEL, state)
                    had = want

        left_of_line = max(np.int64(0), np.int64(had))
        if problem == OK and had < want and used + _TAKES_PER_STEP > _TAKES_MAX:
            problem = outcomes.TOO_MANY_TAKES
        if problem == OK and had < want:
            partial = header.fill_policy == commands.PARTIAL_QUANTITY or (
                header.fill_policy == commands.PARTIAL_LINES
            )
            if header.fill_policy == commands.PARTIAL_LINES:
                _give_back(st, begun, used, state)
                used = begun
                had = 0
            if partial and shown >= 0:
                noted = st.scratch[used]
                noted.position = shown
                noted.quantity = 0
                noted.shortfall = want - had
                noted.line = number
                used += 1
            else:
                problem = outcomes.INSUFFICIENT_STOCK
                left = left_of_line
                if shown >= 0:
                    more_ms = next_supply_ms(st, shown)
        sold = problem == OK and had > 0 and line.kind <= commands.IN_GROUP and shown >= 0
        # Who has an order rerouted buys no more: its share of the limit stays as it is.
        limited = sold and (st.positions[shown].flags & tables.LIMITED) != 0
        if limited and header.kind != commands.REROUTE:
            used, problem, left = _take_limit(
                st, used, shown, had, header, text, text_at, number, state
            )
        if problem != OK:
            shortage = (
                problem == outcomes.INSUFFICIENT_STOCK
                or problem == outcomes.CAPACITY_EXHAUSTED
                or problem == outcomes.PURCHASE_LIMIT_REACHED
            )
            kind = outcomes.SHORTAGE if shortage else outcomes.LINE_ERROR
            written = write_detail(
                details, written, kind, number, shown, want, left, problem, more_ms
            )
            if code == OK or (code == outcomes.INSUFFICIENT_STOCK and not shortage):
                code = problem
    if code != OK:
        _give_back(st, 0, used, state)
        return code, 0, written
    return OK, used, written


@inlined
def write_noted_takes(st: Any, row: int, used: int) -> None:
    """Turn the takes noted in `scratch` into the reservation's takes."""
    last = NONE
    for at in range(used):
        noted = st.scratch[at]
        take = records.new_take(
            st, row, np.int64(noted.position), np.int64(noted.line), np.int64(noted.quantity)
        )
        st.takes[take].shortfall = noted.shortfall
        if last < 0:
            st.reservations[row].first_take = take
        else:
            st.takes[last].next = take
        last = take


@kernel
def _is_owned_by(st: Any, row: int, header: Any, text: NDArray[np.uint8], text_at: int) -> bool:
    """Whether a hold is the owner's by name, not only by key."""
    at = text_at + header.reservation_bytes
    same = st.reservations[row].owner_bytes == header.owner_bytes
    for i in range(header.owner_bytes):
        same = same and st.owner_text[row, i] == text[at + i]
    return same


@kernel
def _lift_owned(st: Any, header: Any, text: NDArray[np.uint8], text_at: int) -> None:
    """Lift the owner's holds from before the running group and chain them, by `newer`, as
    superseded: they end with the group, or are lowered again."""
    meta = st.meta[0]
    row = records.first_owned(st, header.owner_key)
    while row >= 0:
        hold = st.reservations[row]
        if (
            hold.create_revision <= meta.group_revision
            and hold.older != _LIFTED
            and _is_owned_by(st, row, header, text, text_at)
        ):
            records.lift(st, row)
            hold.older = _LIFTED
            hold.newer = meta.superseded
            meta.superseded = row
        row = np.int64(hold.next_owned)


@kernel
def restore_superseded(st: Any, until: int) -> None:
    """Lower the holds that were lifted since `until` headed their chain (NONE: all of them)."""
    meta = st.meta[0]
    while meta.superseded != until:
        row = meta.superseded
        hold = st.reservations[row]
        meta.superseded = np.int64(hold.newer)
        hold.older = NONE
        hold.newer = NONE
        records.lower(st, row)


@kernel
def end_superseded(st: Any) -> None:
    """End the superseded holds; those who wait get what came free."""
    meta = st.meta[0]
    row = meta.superseded
    while row >= 0:
        records.close_takes(st, row)
        row = np.int64(st.reservations[row].newer)
    while meta.superseded >= 0:
        row = meta.superseded
        meta.superseded = np.int64(st.reservations[row].newer)
        records.enter_terminal(st, row, outcomes.CANCELLED)
        serve_after_release(st, row)


@inlined
def create(
    st: Any,
    header: Any,
    fingerprint: np.uint64,
    lines: NDArray[np.void],
    first: int,
    text: NDArray[np.uint8],
    text_at: int,
    outcome: Any,
    details: NDArray[np.void],
    detail_at: int,
) -> Integer:
    """Apply one CREATE. Fills `outcome` and returns the number of details written."""
    meta = st.meta[0]
    now_ms = meta.now_ms
    hi = header.reservation_hi
    lo = header.reservation_lo
    made = hi == _ZERO and lo == _ZERO
    if made:
        hi, lo = next_made_key(st)
    outcome.reservation_hi = hi
    outcome.reservation_lo = lo
    existing = records.find_reservation(st, hi, lo)
    if existing >= 0:
        if made or st.reservations[existing].fingerprint != fingerprint:
            outcome.code = outcomes.RESERVATION_EXISTS
            return 0
        outcome.flags = outcomes.REPLAYED
        return write_takes(st, existing, outcome, details, detail_at)
    channel = NONE
    if header.channel_key != _ZERO:
        channel = find_name(st, commands.CHANNEL, header.channel_key)
        if channel < 0:
            outcome.code = outcomes.CHANNEL_NOT_FOUND
            return 0
    if not records.make_room(st, _TAKES_MAX):
        outcome.code = outcomes.RESERVATIONS_FULL
        return 0
    supersede = (header.flags & commands.REPLACE_OWNER_HOLDS) != 0 and header.owner_key != _ZERO
    superseded = meta.superseded
    if supersede:
        _lift_owned(st, header, text, text_at)
    code, used, written = fill(st, header, lines, first, text, text_at, HELD, details, detail_at)
    if code != OK:
        restore_superseded(st, superseded)
        outcome.code = code
        if code == outcomes.INSUFFICIENT_STOCK:
            meta.shortage_count += 1
        return written - detail_at

    # From here it must succeed.
    row = records.new_reservation(st)
    reservation = st.reservations[row]
    reservation.id_hi = hi
    reservation.id_lo = lo
    reservation.owner_key = header.owner_key
    reservation.fingerprint = fingerprint
    reservation.create_ms = now_ms
    reservation.expire_ms = now_ms + header.ttl_ms
    reservation.create_revision = meta.revision + 1
    reservation.state = HELD
    reservation.channel = channel
    reservation.first_take = NONE
    reservation.line_count = header.line_count
    reservation.older = NONE
    reservation.newer = NONE
    reservation.id_bytes = 0 if made else header.reservation_bytes
    reservation.owner_bytes = header.owner_bytes
    at = text_at
    if not made:
        for i in range(header.reservation_bytes):
            st.id_text[row, i] = text[at + i]
    at += header.reservation_bytes
    for i in range(header.owner_bytes):
        st.owner_text[row, i] = text[at + i]
    records.stamp(st, row)
    index.insert(st.reservation_index, hi, row)
    write_noted_takes(st, row, used)
    records.own(st, row)
    heap.push(st, row, reservation.expire_ms)
    meta.held_count += 1
    if meta.group_left == 0:
        end_superseded(st)
    return write_takes(st, row, outcome, details, detail_at)


@kernel
def uncreate(st: Any, row: int) -> None:
    """Undo a CREATE of the running batch: another request of its atomic group was refused."""
    records.lift(st, row)
    records.close_takes(st, row)
    records.leave_held(st, row)
    records.erase(st, row)
