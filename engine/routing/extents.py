"""How far each field of a problem reaches that is an order's own: those of its tariff are not here.

Callers: `engine.routing.waves.packed`, `server.routing.assembly`.
"""

from __future__ import annotations

from typing import Final

EXTENTS: Final = {
    "quantity": "L",
    "unit_weight_g": "L",
    "unit_volume_cm3": "L",
    "carried_by": "L",
    "group": "L",
    "stock": "NL",
    "node_open": "N",
    "pick_capacity": "N",
    "shipment_cost": "N",
    "unit_cost": "N",
    "opportunity_cost": "NL",
    "distance": "N",
    "priority": "N",
    "zone": "NS",
    "service_open": "NS",
    "service_cost": "NS",
    "slots": "NS",
    "ready_day": "NS",
    "terms": "T",
}
"""Of each field that is an order's own: lines, nodes, services, terms."""
