"""BatchUpsertNodes and BatchUpsertItems: good rows are applied, bad ones reported.

Each row is repeatable by itself, under the batch's request_id and its index, so that a batch sent
again gives the first answer whatever has changed since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from engine import limits, outcomes
from holdfast.v1 import errors_pb2
from holdfast.v1 import network_service_pb2 as messages
from server.application.piece_queue import REPORT
from server.metrics import Metrics
from server.transport.calls import Call, Methods
from server.transport.codec.network import stored_form
from server.transport.columns import Columns
from server.transport.document_commands import put_document
from server.transport.errors import Refusal, Refused, reason_of
from server.transport.ledger_view import LedgerView
from server.transport.resources import ITEM, NODE, Resource
from server.transport.services.network import NetworkService, document_refusal
from server.transport.validation import Checker, shown

_ROWS_IN_A_ROW = 100


class NetworkBatches:
    """The handlers of the batch upserts."""

    def __init__(self, view: LedgerView, service: NetworkService, metrics: Metrics) -> None:
        self._view = view
        self._service = service
        self._metrics = metrics

    def register(self, methods: Methods) -> None:
        """Offer them."""
        methods.unary(
            "BatchUpsertNodes", messages.BatchUpsertNodesRequest, self.upsert_nodes, large=True
        )
        methods.unary(
            "BatchUpsertItems", messages.BatchUpsertItemsRequest, self.upsert_items, large=True
        )

    async def upsert_nodes(
        self, request: messages.BatchUpsertNodesRequest, call: Call
    ) -> messages.BatchUpsertNodesResponse:
        """BatchUpsertNodes."""
        applied, errors, revision = await self._upsert(
            NODE, "nodes", request.nodes, request.request_id, call
        )
        return messages.BatchUpsertNodesResponse(
            applied_rows=applied, errors=errors, revision=revision
        )

    async def upsert_items(
        self, request: messages.BatchUpsertItemsRequest, call: Call
    ) -> messages.BatchUpsertItemsResponse:
        """BatchUpsertItems."""
        applied, errors, revision = await self._upsert(
            ITEM, "items", request.items, request.request_id, call
        )
        return messages.BatchUpsertItemsResponse(
            applied_rows=applied, errors=errors, revision=revision
        )

    async def _upsert(
        self, resource: Resource, field: str, rows: Sequence[Any], request_id: str, call: Call
    ) -> tuple[int, list[errors_pb2.RowError], int]:
        check = Checker(self._view.gateway.now_ms())
        encoded = check.identifier("request_id", request_id, "request_id_bytes_max")
        check.count(field, len(rows), "rows_per_batch_upsert_max")
        check.refuse()
        errors = await self._check(resource, rows)
        members: dict[int, bytes] = {
            index: encoded + b"\0%d" % index if encoded else b""
            for index in range(len(rows))
            if index not in errors
        }
        fresh: set[int] = set()
        for index in list(members):
            await _take_turns(index)
            if self._service.is_known(call, members[index]):
                continue
            fresh.add(index)
            try:
                self._service.check_against_ledger(resource, rows[index])
            except Refused as refused:
                errors[index] = _row_error(index, refused.refusal)
                del members[index]
        names = [getattr(rows[index], resource.key_field) for index in members]
        if not names:
            return 0, _sorted(errors), self._view.state.revision
        await self._service.define(resource, names, call)
        columns = Columns()
        places: dict[int, int] = {}
        for index, member in members.items():
            await _take_turns(index)
            given = rows[index]
            if index in fresh:
                self._service.add_effects(columns, resource, given, call.caller.text)
            places[index] = len(columns)
            name = getattr(given, resource.key_field)
            body = stored_form(given)
            put_document(columns, resource.document, name, body, call.caller.text, member)
        answer = await self._view.gateway.submit(
            columns.batch(), remaining_s=call.remaining_s(), priority=REPORT
        )
        revision = 0
        for index, place in places.items():
            outcome = answer.rows[place]
            revision = max(revision, int(outcome["revision"]))
            if outcome["code"] != outcomes.OK:
                name = getattr(rows[index], resource.key_field)
                errors[index] = _row_error(index, document_refusal(resource, name, outcome))
            else:
                self._service.changed(resource, getattr(rows[index], resource.key_field))
        for error in errors.values():
            self._metrics.refused(
                errors_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
            )
        return len(rows) - len(errors), _sorted(errors), revision

    async def _check(
        self, resource: Resource, rows: Sequence[Any]
    ) -> dict[int, errors_pb2.RowError]:
        """Rows that are wrong by themselves, or that a later row of the same name replaces."""
        errors: dict[int, errors_pb2.RowError] = {}
        last: dict[str, int] = {}
        for index, row in enumerate(rows[: limits.rows_per_batch_upsert_max]):
            await _take_turns(index)
            check = Checker(0)
            resource.check(check, "", row)
            name = getattr(row, resource.key_field)
            if not check.violations and name in last:
                earlier = Checker(0)
                earlier.invalid(resource.key_field, name, f"is in row {index} too, which counts")
                errors[last[name]] = _violation_error(last[name], earlier)
            if check.violations:
                errors[index] = _violation_error(index, check)
            else:
                last[name] = index
        return errors


async def _take_turns(index: int) -> None:
    """Ten thousand rows take a second: other calls get a turn in between."""
    if index % _ROWS_IN_A_ROW == _ROWS_IN_A_ROW - 1:
        await asyncio.sleep(0)


def _violation_error(index: int, check: Checker) -> errors_pb2.RowError:
    violation = check.violations[0]
    return errors_pb2.RowError(
        row=index,
        field=violation.field,
        value=violation.value[:128],
        reason=reason_of(violation.fault),  # type: ignore[arg-type]
        message=violation.description[:512],
    )


def _row_error(index: int, refused: Refusal) -> errors_pb2.RowError:
    return errors_pb2.RowError(
        row=index,
        value=shown(refused.metadata.get("value", "")),
        field=refused.metadata.get("field", ""),
        reason=refused.reason,  # type: ignore[arg-type]
        message=refused.status.message,
    )


def _sorted(errors: dict[int, errors_pb2.RowError]) -> list[errors_pb2.RowError]:
    return [errors[index] for index in sorted(errors)]
