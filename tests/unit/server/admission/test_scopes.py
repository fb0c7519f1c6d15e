"""Which scope a method needs, and what a file of scopes may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.v1 import (
    admin_service_pb2,
    availability_service_pb2,
    inventory_service_pb2,
    network_service_pb2,
    queue_service_pb2,
    reservation_service_pb2,
    routing_service_pb2,
)
from server.admission.scopes import SCOPES, Scopes, read_scopes, scope_of
from server.admission.settings_file import FileRefused

SERVICES = [
    service
    for module in (
        admin_service_pb2,
        availability_service_pb2,
        inventory_service_pb2,
        network_service_pb2,
        queue_service_pb2,
        reservation_service_pb2,
        routing_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS = [(service.name, method.name) for service in SERVICES for method in service.methods]


def written(directory: Path, text: str) -> Path:
    path = directory / "scopes.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("service", "method"), METHODS)
def test_every_method_of_the_contract_needs_a_scope(service: str, method: str):
    needed = scope_of(service, method)
    assert needed in SCOPES
    if service == "AdminService":
        assert needed == "admin"


@pytest.mark.parametrize(
    ("service", "method", "scope"),
    [
        ("ReservationService", "CreateReservation", "reserve"),
        ("ReservationService", "GetReservation", "read"),
        ("ReservationService", "ExchangeReservations", "reserve"),
        ("AvailabilityService", "QueryAvailability", "read"),
        ("AvailabilityService", "WatchAvailability", "read"),
        ("RoutingService", "PlanFulfillment", "read"),
        ("RoutingService", "PromiseOrder", "reserve"),
        ("RoutingService", "PlanOrders", "reserve"),
        ("InventoryService", "CountInventory", "inventory"),
        ("InventoryService", "ListInventoryMovements", "read"),
        ("NetworkService", "DeleteNode", "network"),
        ("AdminService", "GetStatus", "admin"),
        ("QueueService", "JoinQueue", "reserve"),
        ("QueueService", "BatchGetPlaces", "read"),
    ],
)
def test_what_a_method_does_decides(service: str, method: str, scope: str):
    assert scope_of(service, method) == scope


def test_nothing_that_changes_anything_is_a_read():
    telling = {method for service, method in METHODS if scope_of(service, method) == "read"}
    changing = ("Create", "Upsert", "Delete", "Adjust", "Count", "Confirm", "Cancel", "Promise")
    assert not [method for method in telling if method.startswith(changing)]


def test_callers_have_what_their_table_says_others_the_default(tmp_path: Path):
    scopes = read_scopes(
        written(
            tmp_path,
            """
            [default]
            scopes = ["read"]
            [callers."spiffe://shop.example/wms"]
            scopes = ["inventory", "read"]
            [callers.guest]
            scopes = []
            [callers.other]
            """,
        )
    )
    assert scopes.of(b"spiffe://shop.example/wms") == {"inventory", "read"}
    assert scopes.of(b"guest") == frozenset()
    assert scopes.of(b"other") == scopes.of(b"") == {"read"}
    assert not scopes.are_all


def test_without_a_file_everybody_may_do_everything():
    assert Scopes().are_all
    assert Scopes().of(b"anyone") == SCOPES


def test_an_empty_file_permits_nothing(tmp_path: Path):
    assert read_scopes(written(tmp_path, "")).of(b"anyone") == frozenset()


def test_all_that_is_wrong_with_a_file_is_told(tmp_path: Path):
    path = written(
        tmp_path,
        """
        who = 1
        default = 3
        [callers.a]
        scopes = ["read", "write"]
        rights = 1
        [callers.b]
        scopes = "read"
        """,
    )
    with pytest.raises(FileRefused) as caught:
        read_scopes(path)
    said = str(caught.value).splitlines()
    assert [line.removeprefix(f"{path}: ") for line in said] == [
        "who is unknown; known: default, callers",
        "default must be a table",
        'callers."a".rights is unknown; known: scopes',
        "callers.\"a\".scopes: 'write' is unknown; known: admin, inventory, network, read, reserve",
        "callers.\"b\".scopes = 'read' is not allowed; allowed: a list of names",
    ]
