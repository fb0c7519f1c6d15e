"""PlanFulfillment on the wire, over a network whose prices a human can check."""

from __future__ import annotations

import pytest

from holdfast.v1 import routing_service_pb2 as routing
from tests.wire import routing_network as small
from tests.wire.conftest import Wire

pytestmark = pytest.mark.wire


async def test_the_cheapest_way_is_found_and_priced(empty: Wire):
    await small.build(empty)
    reply = await small.plan(empty, small.order(("mug", 2), ("rug", 1)), max_plans=3)
    best = reply.plans[0]
    assert [one.node for one in best.shipments] == ["newark"]
    shipment = best.shipments[0]
    # 4.3 kg near by ground: 500 + 5 x 100; handling 50 + 3 x 10.
    assert (shipment.carrier_service, shipment.zone) == ("ground", "near")
    assert best.cost_minor_units == 1000 + 80
    assert best.cost_terms == routing.CostTerms(parcels_minor_units=1000, handling_minor_units=80)
    assert [(one.sku, one.quantity) for one in shipment.lines] == [("mug", 2), ("rug", 1)]
    assert shipment.parcels[0].charged_weight_grams == 4300
    assert best.co2e_grams == 200
    assert reply.report.proven_optimal
    assert reply.report.status == routing.PLAN_STATUS_OPTIMAL
    assert reply.currency_code == "USD"
    assert [plan.shipments[0].node for plan in reply.plans] == ["newark", "manhattan", "chicago"]
    assert [plan.cost_minor_units for plan in reply.plans] == [1080, 1000 + 260, 1300 + 80]
