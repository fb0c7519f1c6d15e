"""Calls of NetworkService: upsert, get, list and delete of every kind of resource.

The seven kinds differ in names only, so one `Kind` describes each and one set of functions
serves all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from holdfast.calls.call import Call, Method, request_id_of, timeout_s
from holdfast.calls.paging import Pages
from holdfast.codec import read, write
from holdfast.times import Span
from holdfast.v1 import network_service_pb2 as wire
from holdfast.values.network import (
    BatchUpsert,
    Carrier,
    CarrierService,
    Channel,
    Item,
    Node,
    NodeGroup,
    RoutingRules,
)

_SERVICE = "NetworkService"
ResourceT = TypeVar("ResourceT")


@dataclass(frozen=True, slots=True)
class Kind(Generic[ResourceT]):
    """One kind of resource: its class, and its names in the contract."""

    value: type[ResourceT]
    singular: str
    plural: str
    field: str
    """The field that holds it in requests and replies."""
    list_field: str
    id_field: str
    batch: bool = False

    def method(self, verb: str, plural: bool = False) -> Method:
        """The method ``verb`` + name, such as UpsertNode."""
        name = verb + (self.plural if plural else self.singular)
        return Method(
            _SERVICE, name, getattr(wire, f"{name}Response"), slow=verb.startswith("Batch")
        )

    def request(self, method: Method) -> Any:
        """An empty request of `method`."""
        return getattr(wire, f"{method.name}Request")()

    def upsert(
        self, resource: ResourceT, request_id: str | None, timeout: Span | None
    ) -> Call[ResourceT]:
        """Create or replace one."""
        method = self.method("Upsert")
        request = self.request(method)
        request.request_id = request_id_of(request_id)
        inner = getattr(request, self.field)
        inner.SetInParent()
        write(resource, inner)
        return Call(method, request, self._read, timeout_s(timeout), request.request_id)

    def upsert_all(
        self, resources: Iterable[ResourceT], request_id: str | None, timeout: Span | None
    ) -> Call[BatchUpsert]:
        """Create or replace many; good rows are applied, bad ones reported."""
        if not self.batch:
            raise TypeError(f"{self.plural} have no batch upsert in the contract")
        method = self.method("BatchUpsert", plural=True)
        request = self.request(method)
        request.request_id = request_id_of(request_id)
        rows = getattr(request, self.list_field)
        for resource in resources:
            write(resource, rows.add())
        return Call(
            method,
            request,
            lambda reply: read(BatchUpsert, reply),
            timeout_s(timeout),
            request.request_id,
        )

    def get(self, name: str, timeout: Span | None) -> Call[ResourceT]:
        """Read one."""
        method = self.method("Get")
        request = self.request(method)
        setattr(request, self.id_field, name)
        return Call(method, request, self._read, timeout_s(timeout), is_read=True)

    def list(self, page_size: int, timeout: Span | None) -> Pages[ResourceT]:
        """Go through all, in the order they were made."""
        method = self.method("List", plural=True)
        request = self.request(method)
        request.page_size = page_size
        return Pages(method, request, self._read_all, timeout_s(timeout))

    def delete(self, name: str, request_id: str | None, timeout: Span | None) -> Call[int]:
        """Delete one; the revision that did."""
        method = self.method("Delete")
        request = self.request(method)
        request.request_id = request_id_of(request_id)
        setattr(request, self.id_field, name)
        return Call(method, request, _revision, timeout_s(timeout), request.request_id)

    def _read(self, reply: Any) -> ResourceT:
        return read(self.value, getattr(reply, self.field))

    def _read_all(self, reply: Any) -> Iterable[ResourceT]:
        return [read(self.value, each) for each in getattr(reply, self.list_field)]


def _revision(reply: Any) -> int:
    revision: int = reply.revision
    return revision


NODES = Kind(Node, "Node", "Nodes", "node", "nodes", "node", batch=True)
NODE_GROUPS = Kind(NodeGroup, "NodeGroup", "NodeGroups", "node_group", "node_groups", "node_group")
ITEMS = Kind(Item, "Item", "Items", "item", "items", "sku", batch=True)
CARRIERS = Kind(Carrier, "Carrier", "Carriers", "carrier", "carriers", "carrier")
CARRIER_SERVICES = Kind(
    CarrierService,
    "CarrierService",
    "CarrierServices",
    "carrier_service",
    "carrier_services",
    "carrier_service",
)
CHANNELS = Kind(Channel, "Channel", "Channels", "channel", "channels", "channel")
ROUTING_RULES = Kind(
    RoutingRules,
    "RoutingRules",
    "RoutingRules",
    "routing_rules",
    "routing_rules",
    "routing_rules",
)
