"""Messages and values agree field by field, and go there and back unchanged."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message

import holdfast.values
from holdfast.calls.feed import ChunkResult
from holdfast.codec import WireEnum, read, read_enum, write, write_enum
from holdfast.errors import ShortLine
from holdfast.v1 import (
    admin_service_pb2,
    availability_service_pb2,
    errors_pb2,
    inventory_service_pb2,
    network_service_pb2,
    queue_service_pb2,
    reservation_service_pb2,
    routing_service_pb2,
    types_pb2,
)
from holdfast.values import availability, inventory, network, reservations
from holdfast.values.admin import DrainStarted, Snapshots, Status

FILES = [
    admin_service_pb2,
    availability_service_pb2,
    errors_pb2,
    inventory_service_pb2,
    network_service_pb2,
    queue_service_pb2,
    reservation_service_pb2,
    routing_service_pb2,
    types_pb2,
]

# Values whose message has another name. None: they are no message's image.
NAMES: dict[str, str | None] = {
    "Line": "ReservationLineRequest",
    "CapacityRequest": "CapacityTakeRequest",
    "Hold": None,  # written by hand: its request_id is made, its lines have a short form
    "Reassignment": "LineReassignment",
    "BatchReservation": "BatchCreateReservationsResponse",
    "BulkOutcome": None,
    "BulkReservation": None,
    "PurchaseLimit": "SetPurchaseLimitResponse",
    "Availability": "QueryAvailabilityResponse",
    "PositionChange": "AdjustInventoryResponse",
    "Adjustment": "InventoryAdjustment",
    "Count": "InventoryCount",
    "CountResult": "InventoryCountResult",
    "CountChange": "CountInventoryResponse",
    "Withholding": "InventoryWithholding",
    "SupplyChange": "UpsertSupplyResponse",
    "SupplyReceipt": "ReceiveSupplyResponse",
    "TransferChange": "TransferInventoryResponse",
    "Verification": "VerifyInventoryResponse",
    "Status": "GetStatusResponse",
    "Snapshots": "CreateSnapshotResponse",
    "DrainStarted": "DrainResponse",
    "BatchUpsert": "BatchUpsertNodesResponse",
    "FrozenNode": "FreezeNodeResponse",
    "Plans": "PlanFulfillmentResponse",
    "Promise": None,  # written by hand: its reservation has the reply's revision
    "Explanation": "ExplainPlanResponse",
    "WaveOrderResult": None,  # written by hand: its status is read as an error
    "WavePlans": None,
    "ChunkResult": "IngestInventoryResponse",
}

# Fields that a value leaves out, or has besides: each with its reason.
LEFT_OUT = {("ChunkResult", "feed_id")}  # the caller gave it
BESIDES = {("Reservation", "revision")}  # of the reply around it


def message_class(name: str) -> type[Message]:
    for file in FILES:
        if hasattr(file, name):
            return getattr(file, name)
    raise LookupError(name)


def value_classes() -> list[type]:
    found = {ChunkResult}
    for module in pkgutil.iter_modules(holdfast.values.__path__, "holdfast.values."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind is not ShortLine:
                found.add(kind)
    return sorted(found, key=lambda kind: kind.__name__)


IMAGES = [kind for kind in value_classes() if NAMES.get(kind.__name__, "") is not None]


@pytest.mark.parametrize("kind", IMAGES, ids=lambda kind: kind.__name__)
def test_a_value_has_the_fields_of_its_message(kind: type):
    message = message_class(NAMES.get(kind.__name__) or kind.__name__)
    own = {field.name for field in dataclasses.fields(kind)}
    own -= {name for owner, name in BESIDES if owner == kind.__name__}
    wire = {field.name for field in message.DESCRIPTOR.fields}
    wire -= {name for owner, name in LEFT_OUT if owner == kind.__name__}
    assert own == wire


@pytest.mark.parametrize("kind", value_classes(), ids=lambda kind: kind.__name__)
def test_values_are_frozen_and_slotted(kind: type):
    assert kind.__dataclass_params__.frozen
    assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)


@pytest.mark.parametrize("kind", IMAGES, ids=lambda kind: kind.__name__)
def test_an_empty_message_can_be_read(kind: type):
    message = message_class(NAMES.get(kind.__name__) or kind.__name__)()
    besides = {name: 0 for owner, name in BESIDES if owner == kind.__name__}
    value = read(kind, message, **besides)
    for field in dataclasses.fields(kind):
        content = getattr(value, field.name)
        assert (
            content in ("", 0, False, None, (), {})
            or content == "UNSPECIFIED"
            or (dataclasses.is_dataclass(content))
        )


def enums() -> list[type[WireEnum]]:
    return sorted(WireEnum.__subclasses__(), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", enums(), ids=lambda kind: kind.__name__)
def test_an_enum_has_the_members_of_the_contracts(kind: type[WireEnum]):
    nested = {
        "ReservationState": "Reservation.State",
        "SupplyState": "Supply.State",
        "OpportunityMode": "OpportunityReport.Mode",
    }.get(kind.__name__, kind.__name__)
    if kind.__name__ == "Health":
        from grpc_health.v1 import health_pb2

        names = set(health_pb2.HealthCheckResponse.ServingStatus.keys())
    else:
        outer, _, inner = nested.partition(".")
        found = next(getattr(file, outer) for file in FILES if hasattr(file, outer))
        names = set((getattr(found, inner) if inner else found).keys())
        prefix = next(name for name in names if name.endswith("UNSPECIFIED"))
        names = {name.removeprefix(prefix.removesuffix("UNSPECIFIED")) for name in names}
    assert set(kind) == names


def test_a_node_goes_there_and_back():
    node = network.Node(
        "WH-1",
        "Warehouse one",
        network.NodeType.STORE,
        network.Place("DE", "10115", 52.5, 13.4, "Europe/Berlin"),
        priority=3,
        status=network.NodeStatus.ACTIVE,
        calendar=network.Calendar((network.Weekday.MONDAY,), ("2026-12-25",)),
        cutoff_minute=0,
        processing_time=timedelta(hours=2, microseconds=5),
        parcel_handling_cost=network.Money(120, "EUR"),
        pick_capacity_per_day=0,
        reliability_ppm=0,
        pickup=True,
        flags=("hazmat", "fragile"),
        etag=9,
    )
    message = network_service_pb2.Node()
    write(node, message)
    assert read(network.Node, network_service_pb2.Node.FromString(message.SerializeToString())) == (
        node
    )


def test_unset_and_zero_are_told_apart():
    message = network_service_pb2.Node(node="WH-1")
    assert read(network.Node, message).pick_capacity_per_day is None
    message.pick_capacity_per_day = 0
    assert read(network.Node, message).pick_capacity_per_day == 0


def test_a_line_names_a_node_or_a_group_but_never_both():
    message = reservation_service_pb2.ReservationLineRequest()
    write(reservations.Line("SKU-1", node_group="EAST", quantity=2), message)
    assert message.WhichOneof("source") == "node_group"
    message.Clear()
    write(reservations.Line("SKU-1", "WH-1", 2), message)
    assert message.WhichOneof("source") == "node"
    message.Clear()
    write(reservations.Line("SKU-1", quantity=2), message)
    assert message.WhichOneof("source") is None


def test_times_keep_their_microseconds():
    moment = datetime(2026, 3, 2, 16, 0, 0, 123456, UTC)
    message = inventory_service_pb2.InventoryCount()
    write(inventory.Count("SKU-1", "WH-1", 3, as_of_time=moment), message)
    assert read(inventory.Count, message).as_of_time == moment


def test_a_naive_time_is_refused_naming_the_field():
    count = inventory.Count("SKU-1", "WH-1", 3, as_of_time=datetime(2026, 3, 2))
    with pytest.raises(ValueError, match=r"as_of_time: .* no time zone"):
        write(count, inventory_service_pb2.InventoryCount())


def test_a_value_of_the_wrong_kind_is_refused_naming_the_field():
    with pytest.raises(ValueError, match="on_hand"):
        write(inventory.Count("SKU-1", "WH-1", 1 << 80), inventory_service_pb2.InventoryCount())


def test_an_enum_number_of_a_newer_server_is_unspecified():
    message = types_pb2.Reservation(state=99)  # type: ignore[arg-type]
    assert read_enum(reservations.ReservationState, message, "state") == "UNSPECIFIED"


def test_an_unspecified_enum_is_not_sent():
    message = reservation_service_pb2.CreateReservationRequest()
    write_enum(message, "fill_policy", reservations.FillPolicy.UNSPECIFIED)
    assert message.SerializeToString() == b""
    write_enum(message, "fill_policy", reservations.FillPolicy.PARTIAL_LINES)
    assert message.fill_policy == types_pb2.FILL_POLICY_PARTIAL_LINES


def test_derived_numbers_follow_from_the_fields():
    line = reservations.ReservationLine(
        "SKU-1", 5, (reservations.Take("WH-1", 2), reservations.Take("WH-2", 1)), 2
    )
    assert line.open_quantity == 3
    assert availability.WithheldQuantities(1, 2, 3, 4).total == 10
    verification = inventory.Verification((), 0, 1, 1, "", 1)
    assert verification.sound
    assert not dataclasses.replace(verification, differences_total=1).sound


def test_the_status_of_a_server_is_read_whole():
    message = admin_service_pb2.GetStatusResponse(version="1.2", revision=5)
    message.shards.add(shard=0, state=admin_service_pb2.SHARD_STATE_SERVING, slots=1024)
    message.limits.add(limit="nodes_max", maximum=65_535, used=3)
    status = read(Status, message)
    assert status.shards[0].state == "SERVING"
    assert status.shards[0].queue_age is None
    assert status.limits[0].used == 3
    assert read(Snapshots, admin_service_pb2.CreateSnapshotResponse(revision=2)).snapshots == ()
    assert read(DrainStarted, admin_service_pb2.DrainResponse(open_calls=4)).open_calls == 4
