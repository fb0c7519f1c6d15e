"""The kinds of resources NetworkService keeps: where each is stored, named, checked and missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from engine import commands
from holdfast.v1 import network_service_pb2 as messages
from server import documents
from server.transport.codec import network as codec
from server.transport.errors import Fault
from server.transport.validation import Checker


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of resource."""

    title: str
    """Its name in the names of methods."""
    field: str
    """Its field in requests and replies, and its own name's field, where `key` is not given."""
    message: type[Message]
    document: int
    check: Callable[[Checker, str, Any], None]
    missing: Fault
    name_limit: str
    name_kind: int = 0
    """Kind of name the ledger knows it by; 0: none."""
    key: str = ""
    plural: str = ""
    count_limit: str = ""
    """How many there may be."""

    @property
    def key_field(self) -> str:
        """The field of the message that is its name."""
        return self.key or self.field

    @property
    def many(self) -> str:
        """The field of lists."""
        return self.plural or f"{self.field}s"


NODE = Resource(
    title="Node",
    field="node",
    message=messages.Node,
    document=documents.NODE,
    check=codec.node,
    missing=Fault.NODE_NOT_FOUND,
    name_limit="node_bytes_max",
    name_kind=commands.NODE,
    count_limit="nodes_max",
)
NODE_GROUP = Resource(
    title="NodeGroup",
    field="node_group",
    message=messages.NodeGroup,
    document=documents.NODE_GROUP,
    check=codec.node_group,
    missing=Fault.NODE_GROUP_NOT_FOUND,
    name_limit="node_bytes_max",
    name_kind=commands.GROUP,
)
ITEM = Resource(
    title="Item",
    field="item",
    key="sku",
    message=messages.Item,
    document=documents.ITEM,
    check=codec.item,
    missing=Fault.SKU_NOT_FOUND,
    name_limit="sku_bytes_max",
    name_kind=commands.SKU,
)
CARRIER = Resource(
    title="Carrier",
    field="carrier",
    message=messages.Carrier,
    document=documents.CARRIER,
    check=codec.carrier,
    missing=Fault.CARRIER_NOT_FOUND,
    name_limit="carrier_bytes_max",
    count_limit="carriers_max",
)
CARRIER_SERVICE = Resource(
    title="CarrierService",
    field="carrier_service",
    message=messages.CarrierService,
    document=documents.CARRIER_SERVICE,
    check=codec.carrier_service,
    missing=Fault.CARRIER_SERVICE_NOT_FOUND,
    name_limit="carrier_bytes_max",
    count_limit="carrier_services_max",
)
CHANNEL = Resource(
    title="Channel",
    field="channel",
    message=messages.Channel,
    document=documents.CHANNEL,
    check=codec.channel,
    missing=Fault.CHANNEL_NOT_FOUND,
    name_limit="channel_bytes_max",
    name_kind=commands.CHANNEL,
    count_limit="channels_max",
)
ROUTING_RULES = Resource(
    title="RoutingRules",
    field="routing_rules",
    plural="routing_rules",
    message=messages.RoutingRules,
    document=documents.ROUTING_RULES,
    check=codec.routing_rules,
    missing=Fault.ROUTING_RULES_NOT_FOUND,
    name_limit="routing_rules_id_bytes_max",
)

ALL = (NODE, NODE_GROUP, ITEM, CARRIER, CARRIER_SERVICE, CHANNEL, ROUTING_RULES)
