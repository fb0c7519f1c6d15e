"""Versions of routing rules: each upsert keeps one, so that a plan can be explained by its rules.

A version is a document of its own, put in the same piece as the set it belongs to: right after it,
so its revision is the set's plus 1. Its body begins with the time it was made.
"""

from __future__ import annotations

import struct

from holdfast.v1 import network_service_pb2 as messages
from server.documents import ROUTING_RULES_VERSION
from server.transport.codec.network import stored_form
from server.transport.columns import Columns
from server.transport.document_commands import delete_documents, put_document
from server.transport.ledger_view import LedgerView
from server.transport.render import timestamp

VERSIONS_KEPT = 100
_TIME = struct.Struct("<q")


class RuleVersions:
    """The versions kept of each set of rules."""

    def __init__(self, view: LedgerView) -> None:
        self._view = view

    def _numbers(self, name: str) -> dict[int, int]:
        """Revision of each version kept, by number."""
        prefix = f"{name}\0"
        found = {}
        for (kind, key), (_, revision) in self._view.state.documents.items():
            if kind == ROUTING_RULES_VERSION and key.startswith(prefix):
                found[int(key.removeprefix(prefix))] = revision
        return found

    def add_version(self, columns: Columns, rules: messages.RoutingRules, caller: bytes) -> None:
        """Keep this upsert's version; the oldest one beyond `VERSIONS_KEPT` goes."""
        kept = self._numbers(rules.routing_rules)
        number = max(kept, default=0) + 1
        body = _TIME.pack(self._view.gateway.now_ms()) + stored_form(rules)
        name = rules.routing_rules
        put_document(columns, ROUTING_RULES_VERSION, f"{name}\0{number}", body, caller)
        if len(kept) >= VERSIONS_KEPT:
            oldest = f"{name}\0{min(kept)}"
            delete_documents(columns, ROUTING_RULES_VERSION, [oldest], caller)

    def complete(self, rules: messages.RoutingRules, revision: int) -> None:
        """Add number and time to a set that was put at `revision`."""
        for number, kept in self._numbers(rules.routing_rules).items():
            if kept == revision + 1:
                self._stamp(rules, number)

    def _stamp(self, rules: messages.RoutingRules, number: int) -> bytes:
        key = (ROUTING_RULES_VERSION, f"{rules.routing_rules}\0{number}")
        body, _ = self._view.state.documents[key]
        rules.version = number
        rules.create_time.CopyFrom(timestamp(int(_TIME.unpack_from(body)[0])))
        return body[_TIME.size :]

    def version(self, name: str, number: int) -> messages.RoutingRules | None:
        """One version, None when it is not kept."""
        kept = self._numbers(name).get(number)
        if kept is None:
            return None
        rules = messages.RoutingRules(routing_rules=name)
        body = self._stamp(rules, number)
        rules.MergeFromString(body)
        rules.etag = kept - 1
        return rules
