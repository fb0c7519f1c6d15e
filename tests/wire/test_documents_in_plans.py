"""What documents of nodes and carrier services say, as it is in plans: dates, odds, prices, CO2e.

The test's clock says Tuesday, 17:13:20 in New York.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import routing_service_pb2 as routing
from tests.wire import routing_network as small
from tests.wire.conftest import Wire

pytestmark = pytest.mark.wire

PITTSBURGH, LOS_ANGELES = "15222", "90001"


@pytest.fixture
async def newark(empty: Wire) -> Wire:
    """The network, with mugs in Newark alone."""
    await small.build(empty)
    for place in ("chicago", "manhattan"):
        await empty.stock("mug", place, 0)
    return empty


async def shipped(wire: Wire, units: int = 1, zip_code: str = "10002") -> Any:
    """The one shipment of an order of mugs."""
    reply = await small.plan(wire, small.order(("mug", units), zip_code=zip_code))
    (shipment,) = reply.plans[0].shipments
    return shipment


async def change_node(wire: Wire, **changes: Any) -> None:
    node = small.node("newark", **changes)
    await wire.network.UpsertNode(network.UpsertNodeRequest(node=node))


async def test_a_store_ships_from_store(newark: Wire):
    assert (await shipped(newark)).fulfillment_type == routing.FULFILLMENT_TYPE_DELIVERY
    await newark.stock("mug", "newark", 0)
    await newark.stock("mug", "manhattan", 1)
    store = await shipped(newark)
    assert (store.node, store.fulfillment_type) == (
        "manhattan",
        routing.FULFILLMENT_TYPE_SHIP_FROM_STORE,
    )


async def test_the_probability_is_that_of_node_and_zone_else_of_the_service(newark: Wire):
    await change_node(newark, reliability_ppm=950_000)
    transits = list(small.service("ground").transits)
    transits[0].reliability_ppm = 900_000
    ground = small.service("ground", transits=transits, reliability_ppm=800_000)
    await small.upsert(newark, ground)
    near = await shipped(newark)
    assert (near.zone, near.delivery_window.probability_ppm) == ("near", 855_000)
    middle = await shipped(newark, zip_code=PITTSBURGH)
    assert (middle.zone, middle.delivery_window.probability_ppm) == ("middle", 760_000)


@pytest.mark.parametrize(("minute", "day"), [(17 * 60 + 14, 14), (17 * 60 + 13, 15)])
async def test_after_the_cutoff_it_is_picked_the_next_day(newark: Wire, minute: int, day: int):
    """The carrier comes at 18:00, which is 23:00 in Greenwich."""
    pickups = [network.Pickup(node="newark", minute=18 * 60)]
    await small.upsert(newark, small.service("ground", pickups=pickups))
    await change_node(newark, cutoff_minute=minute)
    shipment = await shipped(newark)
    assert shipment.pick_date == f"2023-11-{day}"
    assert shipment.ready_time.ToDatetime() == datetime(2023, 11, day, 23)


@pytest.mark.parametrize(("seconds", "day"), [(46 * 60 + 40, 14), (46 * 60 + 41, 15)])
async def test_parcels_that_take_longer_miss_the_pickup(newark: Wire, seconds: int, day: int):
    """46 minutes and 40 seconds are left until the carrier comes, at 18:00."""
    pickups = [network.Pickup(node="newark", minute=18 * 60)]
    await small.upsert(newark, small.service("ground", pickups=pickups))
    node = small.node("newark")
    node.processing_time.FromSeconds(seconds)
    await newark.network.UpsertNode(network.UpsertNodeRequest(node=node))
    shipment = await shipped(newark)
    assert shipment.pick_date == "2023-11-14"
    assert shipment.ready_time.ToDatetime() == datetime(2023, 11, day, 23)


@pytest.mark.parametrize(
    ("days_min", "start"),
    [
        (0, datetime(2023, 11, 15, 22)),  # not before it is ready
        (1, datetime(2023, 11, 16, 5)),
        (3, datetime(2023, 11, 18, 5)),
    ],
)
async def test_a_window_starts_with_the_first_day_it_may_arrive(
    newark: Wire, days_min: int, start: datetime
):
    """Picked up on Wednesday at 17:00; Saturday, the third day, ends at 5:00 in Greenwich."""
    transits = [network.Transit(zone="near", days_min=days_min, days_max=3)]
    await small.upsert(newark, small.service("ground", transits=transits))
    window = (await shipped(newark)).delivery_window
    assert window.start_time.ToDatetime() == start
    assert window.end_time.ToDatetime() == datetime(2023, 11, 19, 5)


@pytest.mark.parametrize(
    ("surcharges", "near", "middle"),
    [
        ([], 600, 900),
        ([network.Surcharge(share_ppm=100_000)], 660, 990),
        # The share is of the rate, not of other surcharges.
        ([network.Surcharge(amount_minor_units=25, share_ppm=100_000)], 685, 1015),
        (
            [
                network.Surcharge(zone="near", amount_minor_units=40),
                network.Surcharge(zone="middle", share_ppm=50_000),
            ],
            640,
            945,
        ),
    ],
)
async def test_surcharges_add_an_amount_and_a_share_of_the_rate_by_zone(
    newark: Wire, surcharges: list[network.Surcharge], near: int, middle: int
):
    await small.upsert(newark, small.service("ground", surcharges=surcharges))
    for zip_code, rate in (("10002", near), (PITTSBURGH, middle)):
        shipment = await shipped(newark, zip_code=zip_code)
        assert shipment.carrier_service == "ground"
        assert shipment.parcels[0].rate_minor_units == rate


@pytest.mark.parametrize(
    ("units", "zip_code", "grams"),
    [
        (1, "10002", 200 + 150),  # up to 300 km: 150
        (2, "10002", 200 + 300),  # 1.8 kg, priced as 2
        (1, PITTSBURGH, 200 + 900),  # 300 to 1,500 km: 900
        (1, LOS_ANGELES, 200 + 800),  # no distance in the lane: 800
    ],
)
async def test_co2e_grows_with_weight_and_the_distance_of_the_zone(
    newark: Wire, units: int, zip_code: str, grams: int
):
    """A gram for each kilogram and kilometre, and 200 for each parcel."""
    await small.upsert(newark, small.service("ground", co2e_milligrams_per_kg_km=1000))
    shipment = await shipped(newark, units, zip_code)
    assert shipment.parcels[0].co2e_grams == grams
