"""How many three-line reservations a second the engine alone applies, as columns of 10,000.

Every create does all of its work: three positions found and taken, the hold written with its owner
and an id that the ledger makes, its expiry entered, its answer remembered under its request id.

Memory is told apart, because it is most of the cost:

* **warm**: the tables' pages have been used before, as in a server that has run for a while;
* **cold**: every row is the first use of its page, which the system has to bring and clear;
* **recycled**: the tables are full, so each create also forgets an old reservation and request.
"""

from __future__ import annotations

import numpy as np

from benchmarks.catalogue import catalogue, roomy, stocked
from benchmarks.measure import Say, Spread, core_s, cores, no_collector, pin
from benchmarks.orders import Orders
from engine.commands import CommandBatch
from engine.machine import apply, expire_command
from engine.state import Capacity, State

POSITIONS = 1_000_000
ROWS = 10_000
COLUMNS_PER_ROUND = 20
ROUNDS = 5
HOT_POSITIONS = 1
_PAGE_BYTES = 4096
_GROWING = (
    "reservations",
    "owner_text",
    "takes",
    "heap",
    "requests",
    "request_outcomes",
    "reply_details",
)
_INDICES = ("reservation_index", "owner_index", "request_index")


def run(say: Say) -> dict[str, float]:
    """Measure; the figure is the warm one over all positions, best round."""
    pin(cores()[-1] if cores() else None)
    shop = catalogue(POSITIONS)
    state = stocked(State.create(roomy()), shop)
    say(f"{POSITIONS:,} positions; columns of {ROWS:,} creates of three lines; one core")
    orders = Orders(shop)
    measured = {"cold": _rounds(state, orders)}
    touched(state)
    measured["warm"] = _rounds(state, orders)
    measured["warm, one hot SKU"] = _rounds(state, Orders(shop, seed=2, hot=HOT_POSITIONS))
    del state
    measured["recycled"] = _recycled_rounds(shop_positions=POSITIONS)
    for name, spread in measured.items():
        say(
            f"{name}: {spread.greatest:,.0f} reservations a core-second in the best round, "
            f"{spread.median:,.0f} in the median, {spread.least:,.0f} in the worst"
        )
    return {"engine_reservations_per_second": measured["warm"].greatest}


def touched(state: State, rows: int = 1 << 22) -> None:
    """Write to every page that up to `rows` reservations of three lines use.

    Zeros go only where zeros are: rows beyond the used ones, and every slot of the indices anew.
    """
    for name in _GROWING:
        table = state.arrays[name].reshape(-1).view(np.uint8)
        row_bytes = len(table) // len(state.arrays[name])
        used = len(dict(state.sections())[name]) * row_bytes
        most = min(len(table), (4 if name in ("takes", "reply_details") else 1) * rows * row_bytes)
        table[used + _PAGE_BYTES : most : _PAGE_BYTES] = 0
    for name in _INDICES:
        slots = state.arrays[name]
        step = _PAGE_BYTES // slots.itemsize
        slots[::step] |= np.uint64(0)


def seconds_of(state: State, batch: CommandBatch, now_ms: int = 2) -> float:
    """Core-seconds that one column takes. Raises RuntimeError when a create is refused."""
    started = core_s()
    outcomes = apply(state, now_ms, batch)
    seconds = core_s() - started
    refused = np.count_nonzero(outcomes.rows["code"])
    if refused:
        raise RuntimeError(f"{refused} of {len(batch)} creates were refused")
    return seconds


def _rounds(state: State, orders: Orders) -> Spread:
    """Reservations a core-second, round by round; the columns are made between the rounds."""
    rates = []
    for _ in range(ROUNDS):
        columns = orders.columns(COLUMNS_PER_ROUND, ROWS)
        with no_collector():
            seconds = sum(seconds_of(state, column) for column in columns)
        rates.append(COLUMNS_PER_ROUND * ROWS / seconds)
    return Spread.of(rates)


def _recycled_rounds(shop_positions: int) -> Spread:
    """The same on a ledger whose tables are full, holds expiring between the columns."""
    shop = catalogue(shop_positions)
    rows = 1 << 18
    # Room for two columns more than are open at a time, so that the oldest ended ones must go.
    capacity = Capacity(reservations=rows, takes=rows * 4, requests=rows, reply_details=rows * 4)
    state = stocked(State.create(capacity), shop)
    orders = Orders(shop, seed=3)
    now_ms = 2
    rates = []
    for filling in range(-2 * rows // (ROWS * COLUMNS_PER_ROUND), ROUNDS):
        seconds = 0.0
        for column in orders.columns(COLUMNS_PER_ROUND, ROWS, ttl_ms=1000):
            with no_collector():
                seconds += seconds_of(state, column, now_ms)
            now_ms += 1000
            apply(state, now_ms, expire_command(ROWS))
        if filling >= 0:
            rates.append(COLUMNS_PER_ROUND * ROWS / seconds)
    if not state.meta["evicted_count"][0]:
        raise RuntimeError("no reservation was forgotten: the tables were not full")
    return Spread.of(rates)
