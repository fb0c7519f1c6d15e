"""Which cuts a solution in shares breaks: sets of rows whose sum is odd and nearly all used up.

Half of a set's rows, rounded down, is broken by

    (1 - sum of its rows' slack - sum of the shares of columns that the rows count oddly) / 2

where the right sides add up to an odd number (Caprara and Fischetti 1996). Sets of up to three
rows that touch each other are all looked at; the better ones then take up or leave rows with an
even right side as long as that breaks them more. Whole numbers throughout: the same shares, the
same cuts.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from engine.compiled import Integer, kernel
from engine.routing.tariff import Integers
from engine.routing.view import View
from engine.routing.waves.columns import Columns
from engine.routing.waves.memory import ROWS_PER_CUT_MAX

_ONE: Final = 1 << 20
"""A whole share."""
_LEAST: Final = _ONE >> 20
_NEARLY: Final = _ONE * 23 // 20
"""Sets that are not broken by as much may be once they are bettered."""
_SLACK_MOST: Final = _ONE * 3 // 5
_BROKEN: Final = _ONE * 49 // 50
_ROOM: Final = 1 << 13
_TRIED_MOST: Final = 400

WORK_S: Final = 0.01
"""Of one look."""


@kernel
def _toggle(rows: Any, weight: Integer, row: Integer) -> Integer:
    """Take a row up, or leave it: the new weight of the columns counted oddly."""
    for at in range(rows.start[row], rows.start[row + 1]):
        column = rows.column[at]
        if rows.odd[column] == 1:
            weight -= rows.share[column]
            rows.odd[column] = 0
        else:
            weight += rows.share[column]
            rows.odd[column] = 1
    return weight


@kernel
def _with(rows: Any, weight: Integer, row: Integer) -> Integer:
    """The weight that taking a row up would make."""
    odd, share, column = rows.odd, rows.share, rows.column
    for at in range(rows.start[row], rows.start[row + 1]):
        one = column[at]
        weight += share[one] * (1 - 2 * odd[one])
    return weight


@kernel
def _note(rows: Any, weight: Integer, one: Integer, two: Integer, three: Integer) -> None:
    found = rows.found[0]
    if found < len(rows.weight):
        rows.weight[found] = weight
        rows.member[found, 0] = one
        rows.member[found, 1] = two
        rows.member[found, 2] = three
        rows.found[0] = found + 1


@kernel
def find_sets(rows: Any, most: Integer) -> None:
    """Note every set of up to three rows whose columns and slack weigh less than `most`."""
    count = len(rows.slack)
    slack, is_odd, touches = rows.slack, rows.is_odd, rows.touches
    for one in range(count):
        alone = _toggle(rows, 0, one)
        if is_odd[one] == 1 and alone + slack[one] < most:
            _note(rows, alone + slack[one], one, -1, -1)
        for two in range(one + 1, count):
            if touches[one, two] == 0:
                continue
            both = _toggle(rows, alone, two)
            used = slack[one] + slack[two]
            if is_odd[one] != is_odd[two] and both + used < most:
                _note(rows, both + used, one, two, -1)
            wanted = 1 - (is_odd[one] ^ is_odd[two])
            for three in range(two + 1, count):
                if is_odd[three] != wanted or used + slack[three] >= most:
                    continue
                if touches[one, three] == 0 and touches[two, three] == 0:
                    continue
                weight = _with(rows, both, three) + used + slack[three]
                if weight < most:
                    _note(rows, weight, one, two, three)
            _toggle(rows, both, two)
        _toggle(rows, alone, one)


@kernel
def _place_of(rows: Any, found: Integer, row: Integer) -> Integer:
    """Where a row, or with -1 the first free place, is among a set's members; -1: nowhere."""
    for place in range(rows.member.shape[1]):
        if rows.member[found, place] == row:
            return place
    return -1


@kernel
def better_set(rows: Any, found: Integer) -> None:
    """Take up or leave rows with an even right side, the best first, while that helps."""
    weight = 0
    slack = 0
    for place in range(rows.member.shape[1]):
        row = rows.member[found, place]
        if row >= 0:
            weight = _toggle(rows, weight, row)
            slack += rows.slack[row]
    best = weight + slack
    while True:
        chosen = -1
        free = _place_of(rows, found, -1)
        for row in range(len(rows.slack)):
            if rows.is_odd[row] == 1:
                continue
            value = _with(rows, weight, row) + slack
            if value - rows.slack[row] >= best:
                continue
            if _place_of(rows, found, row) >= 0:
                value -= rows.slack[row]
            elif free >= 0:
                value += rows.slack[row]
            else:
                continue
            if value < best:
                best = value
                chosen = row
        if chosen < 0:
            break
        weight = _toggle(rows, weight, chosen)
        place = _place_of(rows, found, chosen)
        if place >= 0:
            rows.member[found, place] = -1
            slack -= rows.slack[chosen]
        else:
            rows.member[found, free] = chosen
            slack += rows.slack[chosen]
    rows.weight[found] = best
    for place in range(rows.member.shape[1]):
        if rows.member[found, place] >= 0:
            _toggle(rows, 0, rows.member[found, place])


class Rows:
    """Rows that a solution in shares all but uses up, and the columns it has shares of."""

    def __init__(
        self, columns: Columns, share: np.ndarray, orders: int, capacity: Integers, pickups: int
    ) -> None:
        """`pickups`: the first resource that is one; from there on rows are left out."""
        whole = np.rint(share * _ONE).astype(np.int64)
        used = np.flatnonzero(whole > _LEAST)
        entries = columns.entries(used)
        stays = entries.resource < pickups
        row = np.concatenate([columns.order[used], orders + entries.resource[stays]])
        column = np.concatenate([np.arange(len(used)), entries.column[stays]])
        taken = np.concatenate([np.ones(len(used), np.int64), entries.taken[stays]])
        right = np.concatenate([np.ones(orders, np.int64), capacity[:pickups]])
        sums = np.bincount(row, weights=taken * whole[used][column], minlength=len(right))
        slack = np.maximum(0, right * _ONE - sums.astype(np.int64))
        # A row of whole plans alone has nothing to round.
        is_split = (whole[used] < _ONE - _LEAST)[column]
        near = np.zeros(len(right), np.bool_)
        near[row[is_split]] = True
        self._rows = np.flatnonzero(near & (slack < _SLACK_MOST))
        at = np.full(len(right), -1)
        at[self._rows] = np.arange(len(self._rows))
        kept = (at[row] >= 0) & (taken % 2 == 1)
        ranked = np.flatnonzero(kept)[np.argsort(at[row[kept]], kind="stable")]
        count = len(self._rows)
        shared = np.zeros((count, len(used)), np.int64)
        split = is_split & (at[row] >= 0)
        shared[at[row[split]], column[split]] = 1
        self._view = View(
            {
                "slack": slack[self._rows],
                "is_odd": right[self._rows] % 2,
                "touches": np.ascontiguousarray((shared @ shared.T > 0).astype(np.int64)),
                "start": np.searchsorted(at[row[ranked]], np.arange(count + 1)).astype(np.int64),
                "column": column[ranked],
                "share": whole[used],
                "odd": np.zeros(len(used), np.int64),
                "found": np.zeros(1, np.int64),
                "weight": np.zeros(_ROOM, np.int64),
                "member": np.full((_ROOM, ROWS_PER_CUT_MAX), -1),
            }
        )

    def broken(self, most: int) -> list[tuple[int, ...]]:
        """The rows of up to `most` cuts, those that are broken most first."""
        arrays = self._view.arrays
        limit = _NEARLY
        find_sets(self._view, limit)
        while arrays["found"][0] == _ROOM:
            # More than there is room for: the better half of the way.
            limit //= 2
            arrays["found"][0] = 0
            find_sets(self._view, limit)
        count = int(arrays["found"][0])
        tried = np.argsort(arrays["weight"][:count], kind="stable")[:_TRIED_MOST]
        for found in tried.tolist():
            better_set(self._view, found)
        ranked = tried[np.argsort(arrays["weight"][tried], kind="stable")]
        cuts: dict[tuple[int, ...], None] = {}
        for found in ranked.tolist():
            if arrays["weight"][found] >= _BROKEN or len(cuts) == most:
                break
            member = arrays["member"][found]
            cuts[tuple(sorted(self._rows[member[member >= 0]].tolist()))] = None
        return list(cuts)
