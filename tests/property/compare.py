"""Where the engine and the model differ, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine import commands, outcomes, reads, tables
from tests.ledger import Answer, Ledger
from tests.property.model import BUCKETS, Expected, Model
from tests.property.world import CARRIES_UNITS, Place, Reservation

_BUCKET_FIELDS = dict(
    zip(BUCKETS, ("safety_stock", "damaged", "quality_control", "frozen"), strict=True)
)
Sums = tuple[dict[tuple[int, Place], tuple[int, int, int]], dict[int, tuple[int, int]]]
"""Units open, shipped and returned by line and place; units cancelled and missing by line."""


def differences(ledger: Ledger, model: Model, known: dict[str, int] | None = None) -> list[str]:
    """Every balance and every reservation that is not as the model has it.

    `known` remembers the etags of ended reservations that were as they must be; those are looked
    at again when their etag changes, or without `known`.
    """
    return [
        *_positions(ledger, model),
        *_reservations(ledger, model, {} if known is None else known),
    ]


def place_of(ledger: Ledger, row: int) -> Place:
    """The model's word for a position."""
    kind, sku, node, scope = ledger.place(row)
    if kind == tables.STOCK:
        return ("stock", sku, node)
    if kind == tables.SUPPLY:
        return ("supply", scope) if scope else ("beyond", sku, node)
    if kind == tables.FENCE:
        return ("fence", sku, node, scope)
    if kind == tables.LIMIT:
        return ("limit", sku, scope)
    name = ledger.state.names[ledger.state.positions["sku"][row]]
    slot = int(name["kind"]) == commands.SLOT
    return ("capacity", commands.CARRIER_SLOT if slot else commands.NODE_CAPACITY, sku, node)


def _positions(ledger: Ledger, model: Model) -> Iterator[str]:
    world = model.world
    promises = world.promises()
    seen: set[Place] = set()
    for row in range(int(ledger.state.meta["position_count"][0])):
        place = place_of(ledger, row)
        if place in seen:
            yield f"{place} has two positions"
        seen.add(place)
        has = ledger.balances(row)
        promised = (
            promises.get((place, outcomes.HELD), 0),
            promises.get((place, outcomes.CONFIRMED), 0),
        )
        if (has.held, has.committed) != promised:
            yield f"{place}: {(has.held, has.committed)} held and committed, not {promised}"
        wanted = _units(model, place)
        found = has.available if place[0] in ("limit", "capacity") else has.on_hand
        if wanted is not None and found != wanted:
            yield f"{place}: {found} units, not {wanted}"
        if place[0] == "supply":
            source, meant = ledger.source_of(str(place[1])), world.supplies[str(place[1])].source
            if source != meant:
                yield f"{place}: comes from {source!r}, not {meant!r}"
        if place[0] == "stock":
            stock = (str(place[1]), str(place[2]))
            buckets = world.buckets(stock)
            for bucket, field in _BUCKET_FIELDS.items():
                units = int(ledger.state.withheld[field][row])
                if units != buckets.get(bucket, 0):
                    yield f"{place}: {units} {field}, not {buckets.get(bucket, 0)}"
            if reads.sellable(ledger.state, row) != world.sellable(stock, ""):
                yield f"{place}: {reads.sellable(ledger.state, row)} sellable"
    for place in _known(model) - seen:
        yield f"{place} has no position"


def _units(model: Model, place: Place) -> int | None:
    """What a position has: on_hand, or for limits and capacities what is left."""
    world = model.world
    if place[0] == "stock":
        return world.on_hand.get((str(place[1]), str(place[2])), 0)
    if place[0] == "supply":
        return world.supplies[str(place[1])].quantity
    if place[0] == "beyond":
        return world.beyond[(str(place[1]), str(place[2]))]
    if place[0] == "fence":
        return world.fences[place]
    if place[0] == "capacity":
        return world.capacity_left(place)
    sku = str(place[1])
    return world.limit_left(sku, str(place[2])) if sku in world.limits else None


def _known(model: Model) -> set[Place]:
    """Places that must have a position: what was set, and whatever has units."""
    world = model.world
    found: set[Place] = {("stock", *stock) for stock, units in world.on_hand.items() if units}
    found |= {("supply", name) for name in world.supplies}
    found |= {("beyond", *stock) for stock in world.beyond}
    found |= set(world.fences) | set(world.capacities)
    return found


def _reservations(ledger: Ledger, model: Model, known: dict[str, int]) -> Iterator[str]:
    rows = {
        reads.reservation_id(ledger.state, row): row
        for row in reads.reservations_from(ledger.state, 0)
    }
    wanted = model.world.reservations
    for name in rows.keys() ^ wanted.keys():
        yield f"reservation {name} is {'unknown to the model' if name in rows else 'missing'}"
    for name in sorted(rows.keys() & wanted.keys()):
        if not wanted[name].open and known.get(name) == wanted[name].etag:
            continue
        found = list(_reservation(ledger, rows[name], wanted[name]))
        if not found and not wanted[name].open:
            known[name] = wanted[name].etag
        yield from found


def _reservation(ledger: Ledger, row: int, wanted: Reservation) -> Iterator[str]:
    has = ledger.state.reservations[row]
    for field, value in (
        ("state", wanted.state),
        ("etag", wanted.etag),
        ("expire_ms", wanted.expire_ms),
        ("line_count", wanted.lines),
        ("create_revision", wanted.made),
    ):
        if int(has[field]) != value:
            yield f"reservation {wanted.name}: {field} is {has[field]}, not {value}"
    takes = [ledger.state.takes[take] for take in reads.takes_of(ledger.state, row)]
    yield from _compare_takes(ledger, takes, wanted)


def _compare_takes(ledger: Ledger, takes: list[Any], wanted: Reservation) -> Iterator[str]:
    found = sums_of(
        (
            -1 if int(take["line"]) == tables.ORDER_LEVEL else int(take["line"]),
            place_of(ledger, int(take["position"])),
            tuple(int(take[field]) for field in ("quantity", "fulfilled", "returned")),
            (int(take["cancelled"]), int(take["shortfall"])),
        )
        for take in takes
    )
    meant = sums_of(
        (
            take.line,
            take.place,
            (take.quantity, take.fulfilled, take.returned),
            (take.cancelled, take.shortfall),
        )
        for take in wanted.takes
    )
    if found != meant:
        yield f"reservation {wanted.name}: takes are {found}, not {meant}"


def sums_of(takes: Any) -> Sums:
    """Takes summed up, so that how they are split does not matter."""
    by_place: dict[tuple[int, Place], tuple[int, int, int]] = {}
    by_line: dict[int, tuple[int, int]] = {}
    for line, place, units, ended in takes:
        if any(units):
            before = by_place.get((line, place), (0, 0, 0))
            by_place[line, place] = tuple(map(sum, zip(before, units, strict=True)))  # type: ignore[assignment]
        if any(ended) and place[0] in CARRIES_UNITS:
            gone = by_line.get(line, (0, 0))
            by_line[line] = (gone[0] + ended[0], gone[1] + ended[1])
    return by_place, by_line


def answer_differences(ledger: Ledger, answer: Answer, expected: Expected) -> Iterator[str]:
    """Where one answer is not what it must be. Replays are compared by the caller."""
    if answer.code not in expected.codes:
        names = sorted(outcomes.REASON_NAMES[code] for code in expected.codes)
        yield f"answered {answer.reason}, not {' or '.join(names)}"
        return
    if answer.revision != expected.revision:
        yield f"revision {answer.revision}, not {expected.revision}"
    if not answer.ok:
        return
    if expected.affected is not None and int(answer.row["affected"]) != expected.affected:
        yield f"affected {answer.row['affected']}, not {expected.affected}"
    wanted = expected.reservation
    if wanted is not None:
        for field, value in (
            ("state", wanted.state),
            ("etag", wanted.etag),
            ("expire_ms", wanted.expire_ms),
        ):
            if int(answer.row[field]) != value:
                yield f"{field} {answer.row[field]}, not {value}"
        takes = [detail for detail in answer.details if detail["kind"] == outcomes.TAKE]
        yield from _compare_takes(ledger, takes, wanted)
