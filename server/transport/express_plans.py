"""Plans of usual orders as bytes: what `render_plans` makes, without the messages.

Texts that stay the same while a network version does (nodes, services with their carriers, zones)
are kept as the fields they become.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from engine.routing.express import pricing
from holdfast.v1 import routing_service_pb2 as messages
from server.routing.assembly import slot_at, zone_of
from server.routing.express.desk import Shown
from server.routing.kernels import desk as kernels
from server.routing.network import Network
from server.routing.schedule import UNLIMITED
from server.routing.version import solver_version
from server.transport import render_plans
from server.transport.wire_bytes import moment, number, piece, tag, text

_PPM: Final = 1_000_000
_ONE, _TWO, _THREE, _FOUR, _FIVE = (tag(field) for field in range(1, 6))
_N1, _N2, _N3, _N4, _N5, _N6, _N7, _N8 = (tag(field, is_number=True) for field in range(1, 9))
_N13, _N14 = (tag(field, is_number=True) for field in (13, 14))
_LINES, _PARCELS, _PICK_DATE = tag(7), tag(8), tag(9)
_READY, _SLOT, _WINDOW = tag(10), tag(11), tag(12)
_TERMS: Final = (
    (_N1, pricing.PARCELS),
    (_N2, pricing.CO2E),
    (_N3, pricing.HANDLING),
    (_N4, pricing.OPPORTUNITY),
    (_N5, pricing.SERVICE),
    (_N6, pricing.LATENESS),
    (_N7, pricing.SPLIT),
)


class Hold(NamedTuple):
    """What a shipment takes besides stock, and where its lines lie in the reservation."""

    node: bytes
    first_line: int
    """Index of the reservation's line with its first item; the others follow."""
    lines: list[int]
    """Lines of the order it has units of."""
    units: list[int]
    """By line of the order."""
    pick_date: str
    """Day whose pick capacity it takes; "" where that is not limited."""
    slot: str
    """Slot of its pickup; "" where that is not limited."""


class PlanWriter:
    """Writes plans of one network version."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._nodes = [
            text(_ONE, name.encode())
            + number(
                _N2,
                messages.FULFILLMENT_TYPE_SHIP_FROM_STORE
                if is_store
                else messages.FULFILLMENT_TYPE_DELIVERY,
            )
            for name, is_store in zip(network.node_names, network.is_store.tolist(), strict=True)
        ]
        self._names = [name.encode() for name in network.node_names]
        self._services = [
            text(_THREE, carrier.encode()) + text(_FOUR, service.encode())
            for carrier, service in zip(network.carrier_names, network.service_names, strict=True)
        ]
        self._zones = [
            [text(_FIVE, zone.encode()) for zone in table.zones] for table in network.tables
        ]
        self._pick_default = network.pick_default.tolist()
        self.currency = text(_TWO, network.currency.encode())
        self._version = text(tag(7), solver_version().encode()) + number(_N8, network.version)
        always = network.rules.always
        self.ending = b"".join(
            (
                *(
                    piece(_FIVE, one.SerializeToString())
                    for one in render_plans.outcomes_of(always)
                ),
                number(_N6, int(always.hold_for_review)),
            )
        )
        """Outcomes of rules, and whether a person should look: the same for every order."""

    def report(self, shown: Shown) -> bytes:
        """SolverReport."""
        cost, bound, steps = shown.head[pricing.COST : pricing.WORK + 1]
        is_proven = bound >= cost
        status = messages.PLAN_STATUS_OPTIMAL if is_proven else messages.PLAN_STATUS_FEASIBLE
        return b"".join(
            (
                number(_N1, status),
                number(_N2, int(is_proven)),
                number(_N3, bound),
                number(_N4, round((cost - bound) / max(1, cost) * _PPM)),
                number(_N5, steps),
                number(_N6, shown.nanoseconds),
                self._version,
            )
        )

    def reply(self, shown: Shown) -> bytes:
        """PlanFulfillmentResponse."""
        return b"".join(
            (
                piece(_ONE, self.plan(shown)),
                self.currency,
                piece(_THREE, self.report(shown)),
                self.ending,
                number(_N7, shown.revision),
            )
        )

    def holds(self, shown: Shown) -> list[Hold]:
        """What each shipment takes."""
        first = 0
        holds = []
        for row, units, told in zip(shown.shipments, shown.amounts, shown.told, strict=True):
            node = told[kernels.NUMBER]
            lines = [line for line, many in enumerate(units) if many]
            service = row[pricing.CARRIED_BY]
            is_limited = told[kernels.PICK_KNOWN] or self._pick_default[node] < UNLIMITED
            holds.append(
                Hold(
                    self._names[node],
                    first,
                    lines,
                    units,
                    render_plans.day_text(told[kernels.PICK_DAY]) if is_limited else "",
                    self._slot(node, service, told),
                )
            )
            first += len(lines)
        return holds

    def _slot(self, node: int, service: int, told: Sequence[int]) -> str:
        if not told[kernels.SLOT_KNOWN] and told[kernels.SLOT_DEFAULT] >= UNLIMITED:
            return ""
        network = self._network
        zone = network.times[node].zone
        return slot_at(network.service_names[service], told[kernels.READY_MS], zone)

    def plan(self, shown: Shown, holds: Sequence[Hold] | None = None) -> bytes:
        """FulfillmentPlan. `holds`: of the reservation, where the plan is held."""
        head, skus = shown.head, shown.order.skus
        time_zone = shown.place.time_zone
        parts = []
        start_ms = end_ms = 0
        probability = _PPM
        for place, row in enumerate(shown.shipments):
            units, told = shown.amounts[place], shown.told[place]
            node, service = told[kernels.NUMBER], row[pricing.CARRIED_BY]
            at = holds[place].first_line if holds is not None else 0
            lines = in_parcel = b""
            for line, many in enumerate(units):
                if many:
                    planned = _line(line, skus[line], many, at)
                    lines += piece(_LINES, planned)
                    in_parcel += piece(_ONE, planned)
                    at += holds is not None
            slot = holds[place].slot if holds is not None else self._slot(node, service, told)
            ready_ms = told[kernels.READY_MS]
            first_ms = max(ready_ms, _midnight(told[kernels.DELIVERY_MIN], time_zone))
            last_ms = _midnight(told[kernels.DELIVERY_MAX] + 1, time_zone)
            in_time = told[kernels.IN_TIME_PPM]
            start_ms, end_ms = max(start_ms, first_ms), max(end_ms, last_ms)
            probability = probability * in_time // _PPM
            parcel = b"".join(
                (
                    in_parcel,
                    number(_N2, row[pricing.CHARGED]),
                    number(_N3, row[pricing.RATE]),
                    number(_N4, row[pricing.PARCEL_CO2E_GRAMS]),
                )
            )
            parts.append(
                piece(
                    _ONE,
                    b"".join(
                        (
                            self._nodes[node],
                            self._services[service],
                            self._zones[service][row[pricing.ZONE]],
                            number(_N6, told[kernels.DISTANCE]),
                            lines,
                            piece(_PARCELS, parcel),
                            _pick_date(told[kernels.PICK_DAY]),
                            moment(_READY, ready_ms),
                            text(_SLOT, slot.encode()),
                            piece(_WINDOW, _window(first_ms, last_ms, in_time)),
                            number(_N13, row[pricing.DAYS_LATE]),
                            number(_N14, row[pricing.SHIPMENT_COST]),
                        )
                    ),
                )
            )
        terms = b"".join([number(tagged, head[term]) for tagged, term in _TERMS if head[term]])
        parts += (
            number(_N2, head[pricing.COST]),
            text(_THREE, terms),
            number(_N4, head[pricing.CO2E_GRAMS]),
            piece(_FIVE, _window(start_ms, end_ms, probability)),
        )
        return b"".join(parts)


def _line(line: int, sku: bytes, units: int, reservation_line: int) -> bytes:
    return number(_N1, line) + text(_TWO, sku) + number(_N3, units) + number(_N4, reservation_line)


def _window(start_ms: int, end_ms: int, in_time_ppm: int) -> bytes:
    """DeliveryWindow."""
    return moment(_ONE, start_ms) + moment(_TWO, end_ms) + number(_N3, in_time_ppm)


def _midnight(day: int, time_zone: str) -> int:
    return render_plans.midnight_ms(day, zone_of(time_zone))


@lru_cache(maxsize=4096)
def _pick_date(day: int) -> bytes:
    return text(_PICK_DATE, render_plans.day_text(day).encode())
