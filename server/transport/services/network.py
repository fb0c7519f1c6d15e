"""NetworkService: nodes, groups, items, carriers, channels and rules, as documents of the ledger.

A document holds what the caller said; what the server knows besides (etag, whether a node is
frozen, a rule's version) is added when it is shown. So the document is a function of the request
alone, and the ledger can tell a repeated request from another one by its content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from google.protobuf.message import Message

from engine import commands, limits, outcomes, reads
from engine.outcomes import Outcomes
from engine.requests import find_request
from engine.state import State
from holdfast.v1 import network_service_pb2 as messages
from server import documents
from server.application.piece_queue import REPORT
from server.routing.catalog import Catalog
from server.routing.rules.reading import RulesRefused, read_rules
from server.transport import refusals
from server.transport.calls import Call, Methods
from server.transport.channel_nodes import ChannelNodes
from server.transport.codec.inventory import purchase_limit_flags
from server.transport.codec.network import stored_form
from server.transport.columns import Columns, line, request_key
from server.transport.document_commands import delete_documents, put_document
from server.transport.errors import (
    Case,
    Fault,
    Refused,
    Violation,
    refusal,
    violations_refusal,
)
from server.transport.in_use import why_in_use
from server.transport.ledger_view import LedgerView
from server.transport.paging import Page, page_of
from server.transport.resources import (
    ALL,
    CARRIER_SERVICE,
    CHANNEL,
    ITEM,
    NODE,
    NODE_GROUP,
    ROUTING_RULES,
    Resource,
)
from server.transport.rule_versions import RuleVersions
from server.transport.validation import Checker

_NAMES_SCANNED_MAX = 200_000

Handler = Callable[[Any, Call], Awaitable[Message]]


class NetworkService:
    """Handlers of the service; the batch upserts are in `network_batches`."""

    def __init__(self, view: LedgerView, channels: ChannelNodes, catalog: Catalog) -> None:
        self._view = view
        self._channels = channels
        self._catalog = catalog
        self._rules = RuleVersions(view)
        self._locks: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()

    def register(self, methods: Methods) -> None:
        """Offer upsert, get, list and delete of every resource."""
        for resource in ALL:
            many = resource.title if resource is ROUTING_RULES else f"{resource.title}s"
            for name, make in (
                (f"Upsert{resource.title}", self._upsert_of),
                (f"Get{resource.title}", self._get_of),
                (f"List{many}", self._list_of),
                (f"Delete{resource.title}", self._delete_of),
            ):
                request = getattr(messages, f"{name}Request")
                reply = getattr(messages, f"{name}Response")
                methods.unary(name, request, make(resource, reply))

    # --- Upsert ------------------------------------------------------------------------------

    def _upsert_of(self, resource: Resource, reply: Any) -> Handler:
        async def upsert(request: Any, call: Call) -> Message:
            check = Checker(self._view.gateway.now_ms())
            check.identifier("request_id", request.request_id, "request_id_bytes_max")
            if not request.HasField(resource.field):
                check.required(resource.field)
            given = getattr(request, resource.field)
            if not check.violations:
                resource.check(check, f"{resource.field}.", given)
            check.refuse()
            async with self.lock(resource, getattr(given, resource.key_field)):
                return await self._upsert(resource, reply, given, request.request_id, call)

        return upsert

    def lock(self, resource: Resource, name: str) -> asyncio.Lock:
        """Upserts and deletes of one resource take turns, so that an etag holds until they act."""
        key = (resource.document, name)
        found = self._locks.get(key)
        if found is None:
            found = self._locks[key] = asyncio.Lock()
        return found

    async def _upsert(
        self, resource: Resource, reply: Any, given: Any, request_id: str, call: Call
    ) -> Any:
        name: str = getattr(given, resource.key_field)
        encoded = request_id.encode()
        columns = Columns()
        replay = self.is_known(call, encoded)
        if not replay:
            self.check_against_ledger(resource, given)
            await self.define(resource, [name], call)
            self.add_effects(columns, resource, given, call.caller.text)
        before = len(columns)
        put_document(
            columns, resource.document, name, stored_form(given), call.caller.text, encoded
        )
        if resource is ROUTING_RULES and not replay:
            self._rules.add_version(columns, given, call.caller.text)
        answer = await self._submit(columns, call, resource, name)
        revision = int(answer.rows["revision"][before])
        self.changed(resource, name)
        shown = self.shown(resource, given, revision)
        if resource is ROUTING_RULES:
            self._rules.complete(shown, revision)
        return reply(**{resource.field: shown, "revision": revision})

    def changed(self, resource: Resource, name: str) -> None:
        """Tell those who keep what they have read of documents."""
        if resource in (CHANNEL, NODE_GROUP):
            self._channels.forget()
        self._catalog.changed(self._view.state, resource.document, name)

    def is_known(self, call: Call, request_id: bytes) -> bool:
        """Whether the ledger has answered this request before."""
        if not request_id:
            return False
        high, low = request_key(call.caller.text, request_id)
        tables = self._view.state.tables
        return bool(find_request(tables, np.uint64(high), np.uint64(low)) >= 0)

    def check_against_ledger(self, resource: Resource, given: Any) -> None:
        """Raise Refused where the ledger's other contents forbid this upsert."""
        state = self._view.state
        name = getattr(given, resource.key_field)
        kept = state.documents.get((resource.document, name))
        if given.etag and (kept is None or kept[1] != given.etag):
            raise Refused(_etag_mismatch(resource, name, 0 if kept is None else kept[1]))
        if kept is None and resource.count_limit:
            most = getattr(limits, resource.count_limit)
            used = sum(1 for kind, _ in state.documents if kind == resource.document)
            if used >= most:
                raise Refused(_limit_reached(resource.count_limit, most, used))
        if resource is NODE_GROUP:
            self._known(given.nodes, NODE, "node_group.nodes")
        elif resource is CHANNEL:
            self._known(given.nodes, NODE, "channel.nodes")
            self._known(given.node_groups, NODE_GROUP, "channel.node_groups")
        elif resource is CARRIER_SERVICE:
            if (documents.CARRIER, given.carrier) not in state.documents:
                raise Refused(_missing(Fault.CARRIER_NOT_FOUND, "carrier", given.carrier))
            nodes = [pickup.node for pickup in given.pickups]
            self._known(nodes, NODE, "carrier_service.pickups")
        elif resource is ROUTING_RULES and not given.inactive:
            self._check_rules(given)

    def _check_rules(self, given: messages.RoutingRules) -> None:
        """Raise Refused, naming the line, for rules that can not be read or kept together."""
        network = self._catalog.network(self._view.state, self._view.gateway.documents_version)
        try:
            network.refuse_rules(read_rules(given.routing_rules, given.yaml))
        except RulesRefused as fault:
            violation = Violation(
                field="routing_rules.yaml",
                fault=Fault.FIELD_INVALID,
                description=f"{given.routing_rules!r} {fault}",
                value=f"line {fault.line}",
            )
            raise Refused(violations_refusal([violation])) from None

    def _known(self, names: Any, resource: Resource, path: str) -> None:
        state = self._view.state
        for index, name in enumerate(names):
            if reads.find_name(state, resource.name_kind, name) < 0:
                field = f"{path}[{index}]"
                raise Refused(_missing(resource.missing, resource.field, name, field))

    async def define(self, resource: Resource, names: list[str], call: Call) -> None:
        """Make the ledger know these names, where it does not yet."""
        state = self._view.state
        if not resource.name_kind or resource is NODE_GROUP:
            return  # a group is defined with its nodes
        new = [
            name.encode() for name in names if reads.find_name(state, resource.name_kind, name) < 0
        ]
        if not new:
            return
        columns = Columns()
        columns.add(
            commands.DEFINE_NAMES,
            caller=call.caller.text,
            lines=[
                line(sku=name, policy=resource.name_kind, number=at, text_bytes=len(name))
                for at, name in enumerate(new)
            ],
            line_texts=new,
        )
        await self._submit(columns, call, resource, names[0])

    def add_effects(self, columns: Columns, resource: Resource, given: Any, caller: bytes) -> None:
        """What an upsert changes besides the document."""
        state = self._view.state
        if resource is NODE:
            row = reads.find_name(state, commands.NODE, given.node)
            known = (documents.NODE, given.node) in state.documents
            status = given.status
            if status == messages.NODE_STATUS_UNSPECIFIED and not known:
                status = messages.NODE_STATUS_ACTIVE
            if status != messages.NODE_STATUS_UNSPECIFIED:
                frozen = status != messages.NODE_STATUS_ACTIVE
                if row < 0 or reads.node_is_frozen(state, row) != frozen:
                    add_frozen(columns, given.node, frozen, caller)
        elif resource is NODE_GROUP:
            name = given.node_group.encode()
            columns.add(
                commands.DEFINE_GROUP,
                caller=caller,
                channel=name,
                lines=[
                    line(node=node.encode(), number=at, text_bytes=0 if at else len(name))
                    for at, node in enumerate(given.nodes)
                ],
                line_texts=[name],
            )
        elif resource is ITEM:
            row = reads.find_name(state, commands.SKU, given.sku)
            before = reads.purchase_limit(state, row) if row >= 0 else None
            after = given.purchase_limit if given.HasField("purchase_limit") else None
            if before != after:
                columns.add(
                    commands.SET_PURCHASE_LIMIT,
                    caller=caller,
                    flags=purchase_limit_flags(is_set=after is not None),
                    lines=[line(sku=given.sku.encode(), quantity=after or 0)],
                )

    async def _submit(
        self, columns: Columns, call: Call, resource: Resource, name: str
    ) -> Outcomes:
        answer = await self._view.gateway.submit(
            columns.batch(), remaining_s=call.remaining_s(), priority=REPORT
        )
        for outcome in answer.rows:
            if outcome["code"] != outcomes.OK:
                raise Refused(document_refusal(resource, name, outcome))
        return answer

    # --- Get, list, delete -------------------------------------------------------------------

    def shown(self, resource: Resource, given: Any, revision: int) -> Any:
        """A stored resource as callers see it."""
        made = resource.message()
        made.CopyFrom(given)
        made.etag = revision  # type: ignore[attr-defined]
        if resource is NODE:
            self._show_node_status(made)
        return made

    def _show_node_status(self, node: Any) -> None:
        if node.status == messages.NODE_STATUS_INACTIVE:
            return
        state = self._view.state
        row = reads.find_name(state, commands.NODE, node.node)
        frozen = row >= 0 and reads.node_is_frozen(state, row)
        node.status = messages.NODE_STATUS_FROZEN if frozen else messages.NODE_STATUS_ACTIVE

    def stored(self, state: State, resource: Resource, name: str) -> Any | None:
        """A resource by name, as callers see it."""
        kept = state.documents.get((resource.document, name))
        if kept is None:
            return None
        body, revision = kept
        made = self.shown(resource, resource.message.FromString(body), revision)
        if resource is ROUTING_RULES:
            self._rules.complete(made, revision)
        return made

    def _get_of(self, resource: Resource, reply: Any) -> Handler:
        async def get(request: Any, call: Call) -> Message:
            check = Checker(0)
            name = getattr(request, resource.key_field)
            check.identifier(resource.key_field, name, resource.name_limit, required=True)
            check.refuse()
            state = self._view.state
            found = self.stored(state, resource, name)
            if resource is ROUTING_RULES and found is not None and request.version:
                found = self._rules.version(name, request.version)
            if found is None:
                raise Refused(_missing(resource.missing, resource.key_field, name))
            answer: Message = reply(**{resource.field: found, "revision": state.revision})
            await self._view.gateway.durable()
            return answer

        return get

    def _list_of(self, resource: Resource, reply: Any) -> Handler:
        async def list_(request: Any, call: Call) -> Message:
            check = Checker(0)
            page = page_of(check, request)
            if resource is CARRIER_SERVICE:
                check.identifier("carrier", request.carrier, "carrier_bytes_max")
            check.refuse()
            state = self._view.state
            names, after = self._page(state, resource, page, getattr(request, "carrier", ""))
            found = [self.stored(state, resource, name) for name in names]
            answer: Message = reply(
                **{
                    resource.many: [item for item in found if item is not None],
                    "next_page_token": page.token(after),
                    "revision": state.revision,
                }
            )
            await self._view.gateway.durable()
            return answer

        return list_

    def _page(
        self, state: State, resource: Resource, page: Page, carrier: str
    ) -> tuple[list[str], int]:
        """Names of the page, and where to go on. In the order they were made, where the ledger
        numbers such names; otherwise by name."""
        if not resource.name_kind:
            names = sorted(name for kind, name in state.documents if kind == resource.document)
            if carrier:
                names = [name for name in names if self._is_of(state, name, carrier)]
            stop = page.after + page.size
            return names[page.after : stop], stop if stop < len(names) else -1
        count = int(state.meta["name_count"][0])
        stop = min(count, page.after + _NAMES_SCANNED_MAX)
        rows = np.flatnonzero(state.names["kind"][page.after : stop] == resource.name_kind)
        found: list[str] = []
        for row in (rows + page.after).tolist():
            if len(found) == page.size:
                return found, row
            name = reads.name_text(state, row)
            if (resource.document, name) in state.documents:
                found.append(name)
        return found, stop if stop < count else -1

    def _is_of(self, state: State, name: str, carrier: str) -> bool:
        body = state.documents[documents.CARRIER_SERVICE, name][0]
        return messages.CarrierService.FromString(body).carrier == carrier

    def _delete_of(self, resource: Resource, reply: Any) -> Handler:
        async def delete(request: Any, call: Call) -> Message:
            check = Checker(0)
            name = getattr(request, resource.key_field)
            check.identifier("request_id", request.request_id, "request_id_bytes_max")
            check.identifier(resource.key_field, name, resource.name_limit, required=True)
            check.refuse()
            async with self.lock(resource, name):
                columns = Columns()
                encoded = request.request_id.encode()
                if not self.is_known(call, encoded):
                    reason = why_in_use(self._view.state, resource, name)
                    if reason:
                        raise Refused(_in_use(resource, name, reason))
                delete_documents(columns, resource.document, [name], call.caller.text, encoded)
                if resource is NODE:
                    add_frozen(columns, name, True, call.caller.text)
                answer = await self._view.gateway.submit(
                    columns.batch(), remaining_s=call.remaining_s(), priority=REPORT
                )
                outcome = answer.rows[0]
                if outcome["code"] != outcomes.OK:
                    raise Refused(document_refusal(resource, name, outcome))
                self.changed(resource, name)
                done: Message = reply(revision=int(outcome["revision"]))
                return done

        return delete


def add_frozen(columns: Columns, node: str, frozen: bool, caller: bytes) -> None:
    """SET_NODE_FROZEN."""
    columns.add(
        commands.SET_NODE_FROZEN,
        caller=caller,
        lines=[line(node=node.encode(), quantity=int(frozen))],
    )


def document_refusal(resource: Resource, name: str, outcome: np.void) -> Any:
    """Why the ledger refused a document's command."""
    code = int(outcome["code"])
    if code == outcomes.DOCUMENT_NOT_FOUND:
        return _missing(resource.missing, resource.key_field, name)
    no_details = np.zeros(0, outcomes.DETAIL)
    return refusals.of_outcome(outcome, no_details, names={resource.key_field: name})


def _missing(fault: Fault, key: str, name: str, field: str = "") -> Any:
    metadata = {key: name} | ({"field": field} if field else {})
    where = f"{field}: " if field else ""
    return refusal(
        fault,
        Case(message=f"{where}no such {key.replace('_', ' ')}: {name!r}", metadata=metadata),
    )


def _etag_mismatch(resource: Resource, name: str, etag: int) -> Any:
    metadata = {resource.key_field: name, "etag": str(etag)}
    return refusal(Fault.ETAG_MISMATCH, Case(subject=name, metadata=metadata))


def _limit_reached(limit: str, most: int, used: int) -> Any:
    metadata = {"limit": limit, "maximum": str(most), "used": str(used)}
    return refusal(
        Fault.LEDGER_LIMIT_REACHED,
        Case(subject=limit, message=f"{limit} = {most} is reached", metadata=metadata),
    )


def _in_use(resource: Resource, name: str, reason: str) -> Any:
    return refusal(
        Fault.RESOURCE_IN_USE,
        Case(
            subject=name,
            message=f"{resource.key_field} {name!r} is in use: {reason}",
            metadata={resource.key_field: name},
        ),
    )
