"""Plans of usual orders as bytes: what `render_plans` makes, without the messages.

Texts that stay the same while a network version does (nodes, services with their carriers, zones)
are kept as the fields they become; `server.routing.kernels.writing` puts them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.routing import limits
from engine.routing.express import pricing
from engine.routing.view import View
from holdfast.v1 import routing_service_pb2 as messages
from server.routing.assembly import slot_at, zone_of
from server.routing.calendars import day_of
from server.routing.express.desk import Desk, Planned
from server.routing.kernels import desk as kernels
from server.routing.kernels.reading import LINES_MAX
from server.routing.kernels.writing import put_reply
from server.routing.network import Network
from server.routing.version import solver_version
from server.transport import render_plans
from server.transport.wire_bytes import number, piece, tag, text

_ONE, _TWO, _THREE, _FOUR, _FIVE = (tag(field) for field in range(1, 6))
_N2, _N6, _N8 = (tag(field, is_number=True) for field in (2, 6, 8))
_VERSION: Final = tag(7)

# Of a shipment beside its node, service and zone: numbers, times and windows; and of a line, which
# a plan and a reservation name thrice.
_SHIPMENT_BYTES_MAX: Final = 640
_LINE_BYTES_MAX: Final = 3 * 224
_SLOT_BYTES_MAX: Final = 64
_SLOTS_KEPT: Final = 4096

_DAYS_KNOWN: Final = 160
_DAYS_USED: Final = 40
"""After so many of them the days a time zone has are worked out anew."""


class PlanWriter:
    """Writes plans of one network version."""

    def __init__(self, network: Network) -> None:
        self._network = network
        store = messages.FULFILLMENT_TYPE_SHIP_FROM_STORE
        delivery = messages.FULFILLMENT_TYPE_DELIVERY
        names = [name.encode() for name in network.node_names]
        nodes = [
            text(_ONE, name) + number(_N2, store if is_store else delivery)
            for name, is_store in zip(names, network.is_store.tolist(), strict=True)
        ]
        services = [
            text(_THREE, carrier.encode()) + text(_FOUR, service.encode())
            for carrier, service in zip(network.carrier_names, network.service_names, strict=True)
        ]
        zones = [[text(_FIVE, zone.encode()) for zone in table.zones] for table in network.tables]
        always = network.rules.always
        ruled = (piece(_FIVE, one.SerializeToString()) for one in render_plans.outcomes_of(always))
        self.ending = b"".join((*ruled, number(_N6, int(always.hold_for_review))))
        """Outcomes of rules, and whether a person should look: the same for every order."""
        currency = text(_TWO, network.currency.encode())
        version = text(_VERSION, solver_version().encode()) + number(_N8, network.version)
        texts = _Texts()
        columns = max([0, *map(len, zones)])
        padded = [[*of_service, *[b""] * (columns - len(of_service))] for of_service in zones]
        self.known = View(
            {
                "node_at": texts.add(nodes),
                "name_at": texts.add(names),
                "service_at": texts.add(services),
                "zone_at": np.array(
                    [texts.add(of_service) for of_service in padded], np.int64
                ).reshape(len(zones), columns + 1),
                "always": texts.add([currency, version, self.ending]),
            }
        )
        """Where the texts stand: ``c`` of `server.routing.kernels.writing`."""
        self.texts = texts.whole()
        of_shipment = max(map(len, nodes)) + max([0, *map(len, services)])
        of_shipment += max([0, *(len(zone) for of_service in zones for zone in of_service)])
        of_shipment += 2 * (_SHIPMENT_BYTES_MAX + max(map(len, names)))
        of_lines = LINES_MAX * (_LINE_BYTES_MAX + max(map(len, names)))
        self.bytes_max = limits.shipments_per_plan_max * (of_shipment + of_lines)
        """Of a plan and the reservation that holds it."""
        self.bytes_max += len(currency) + len(version) + len(self.ending) + _SHIPMENT_BYTES_MAX
        self._out = np.zeros(self.bytes_max, np.uint8)
        self._slots: dict[tuple[int, int, int], tuple[int, int]] = {}
        self._midnights: dict[str, NDArray[np.int64]] = {}

    def reply(self, desk: Desk, planned: Planned) -> bytes | None:
        """PlanFulfillmentResponse of the order at the desk; None: the plain path must write it."""
        size = put_reply(
            desk.views,
            self.texts,
            planned.order.buffer,
            planned.order.spans,
            self.midnights(planned.place.time_zone, desk.now_ms),
            planned.nanoseconds,
            desk.state.revision,
            self._out,
        )
        return self._out[:size].tobytes() if size >= 0 else None

    def name_slots(self, desk: Desk, planned: Planned) -> None:
        """Write the names of limited slots where the kernels look for them."""
        if not planned.limited_slots:
            return
        if len(self._slots) > _SLOTS_KEPT - limits.shipments_per_plan_max:
            self._slots.clear()
        for place, told in enumerate(desk.told[: planned.shipments].tolist()):
            if told[kernels.SLOT_LIMITED]:
                service = int(desk.shipments[place, pricing.CARRIED_BY])
                pickup = (told[kernels.NUMBER], service, told[kernels.READY_MS])
                slot = self._slots.get(pickup) or self._keep_slot(pickup)
                desk.told[place, kernels.SLOT_AT : kernels.SLOT_BYTES + 1] = slot

    def _keep_slot(self, pickup: tuple[int, int, int]) -> tuple[int, int]:
        """A slot by its pickup, (node, service, ms), is written: (place in the texts, bytes)."""
        node, service, moment_ms = pickup
        network = self._network
        name = slot_at(network.service_names[service], moment_ms, network.times[node].zone)
        at, size = len(self._slots) * _SLOT_BYTES_MAX, len(name.encode())
        self.texts[at : at + size] = np.frombuffer(name.encode(), np.uint8)
        slot = self._slots[pickup] = (at, size)
        return slot

    def slot_name(self, told: Sequence[int]) -> str:
        """A limited slot by what is told of its shipment."""
        at, size = told[kernels.SLOT_AT], told[kernels.SLOT_BYTES]
        return self.texts[at : at + size].tobytes().decode()

    def midnights(self, time_zone: str, now_ms: int) -> NDArray[np.int64]:
        """When the days from yesterday's yesterday on begin there: the first as an ordinal, then
        each in ms."""
        known = self._midnights.get(time_zone)
        today = day_of(now_ms)
        if known is None or not 2 <= today - known[0] <= _DAYS_USED:
            first = today - 2
            zone = zone_of(time_zone)
            begin = [render_plans.midnight_ms(first + day, zone) for day in range(_DAYS_KNOWN)]
            known = self._midnights[time_zone] = np.array([first, *begin], np.int64)
        return known


class _Texts:
    """Texts behind one another, after room for the names of slots."""

    def __init__(self) -> None:
        self._parts = [bytes(_SLOTS_KEPT * _SLOT_BYTES_MAX)]
        self._size = len(self._parts[0])

    def add(self, texts: list[bytes]) -> NDArray[np.int64]:
        """Where each begins, and where the last ends."""
        ends = np.cumsum([self._size, *map(len, texts)], dtype=np.int64)
        self._parts += texts
        self._size = int(ends[-1])
        return ends

    def whole(self) -> NDArray[np.uint8]:
        """All of them."""
        return np.frombuffer(bytearray().join(self._parts), np.uint8)
