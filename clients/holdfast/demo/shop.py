"""What happens to an order: the plan of its life, and all of them in the order of time.

Arrival, lines, ship dates, returns and their reasons are the data's. What the data do not have is
drawn from a seeded hash of the order's name, so that every run draws the same: who abandons the
cart, who cancels, who takes what is left when a line is short.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from holdfast.demo.dataset import DAY_S, NEVER, Order

ABANDON_SHARE = 0.06
CANCEL_SHARE = 0.04
CANCEL_LINE_SHARE = 0.02
TAKE_WHAT_IS_LEFT_SHARE = 0.7
WAVE_S = 30 * DAY_S
"""Lines of an order whose ship dates lie this close together leave in one shipment."""
CANCEL_AFTER_S = DAY_S


class Step(Enum):
    """What happens to an order at one moment."""

    CHECKOUT = 1
    CANCEL = 2
    CANCEL_LINE = 3
    SHIP = 4
    RETURN = 5


@dataclass(frozen=True, slots=True)
class Event:
    """One step of one order. `lines` are the order's line indices it is about."""

    at_s: int
    order: Order
    step: Step
    lines: tuple[int, ...] = ()
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Temper:
    """How a shopper behaves."""

    abandons: bool
    cancels: bool
    cancels_line: bool
    takes_what_is_left: bool


def temper_of(order: Order, seed: int) -> Temper:
    """The shopper of `order`, the same in every run of `seed`."""
    digest = hashlib.blake2b(order.order_id.encode(), key=seed.to_bytes(8), digest_size=16).digest()
    first, second = (int.from_bytes(digest[at : at + 8]) / 2**64 for at in (0, 8))
    abandons = first < ABANDON_SHARE
    cancels = not abandons and first < ABANDON_SHARE + CANCEL_SHARE
    cancels_line = not abandons and not cancels
    cancels_line = cancels_line and first < ABANDON_SHARE + CANCEL_SHARE + CANCEL_LINE_SHARE
    return Temper(abandons, cancels, cancels_line, second < TAKE_WHAT_IS_LEFT_SHARE)


def events_of(order: Order, temper: Temper, end_s: int) -> Iterator[Event]:
    """The life of `order` until the season ends at `end_s`, in the order of time."""
    yield Event(order.arrival_s, order, Step.CHECKOUT)
    if temper.abandons:
        return
    cancelled_s = order.arrival_s + CANCEL_AFTER_S
    if temper.cancels or (temper.cancels_line and len(order.lines) > 1):
        if cancelled_s <= end_s:
            whole = temper.cancels
            yield Event(
                cancelled_s,
                order,
                Step.CANCEL if whole else Step.CANCEL_LINE,
                () if whole else (len(order.lines) - 1,),
            )
        if temper.cancels:
            return
    shipped_s: dict[int, int] = {}
    for at_s, lines in _waves(order):
        if at_s <= end_s:
            yield Event(at_s, order, Step.SHIP, lines)
            shipped_s |= dict.fromkeys(lines, at_s)
    returns: dict[tuple[int, bool], list[int]] = {}
    for index, at_s in shipped_s.items():
        line = order.lines[index]
        back_s = max(line.return_s, at_s)
        if line.return_quantity > 0 and line.return_s != NEVER and back_s <= end_s:
            returns.setdefault((back_s, line.return_damaged), []).append(index)
    for (back_s, damaged), indices in sorted(returns.items()):
        yield Event(back_s, order, Step.RETURN, tuple(sorted(indices)), damaged)


def timeline(orders: tuple[Order, ...], seed: int) -> list[Event]:
    """Every step of every order, in the order of time; steps of one order keep their order."""
    end_s = orders[-1].arrival_s if orders else 0
    events = [
        event for order in orders for event in events_of(order, temper_of(order, seed), end_s)
    ]
    events.sort(key=lambda event: event.at_s)  # stable
    return events


def _waves(order: Order) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The order's shipments: when each leaves, and with which lines."""
    dated = sorted((line.ship_s, index) for index, line in enumerate(order.lines))
    # A shipment is not before the day after the order, when cancellations are in.
    earliest_s = order.arrival_s + CANCEL_AFTER_S
    wave: list[int] = []
    opened_s = leaves_s = 0
    for ship_s, index in dated:
        if ship_s == NEVER:
            continue
        if wave and ship_s - opened_s > WAVE_S:
            yield max(leaves_s, earliest_s), tuple(sorted(wave))
            wave = []
        if not wave:
            opened_s = ship_s
        leaves_s = ship_s
        wave.append(index)
    if wave:
        yield max(leaves_s, earliest_s), tuple(sorted(wave))
