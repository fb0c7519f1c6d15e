"""InventoryService.IngestInventory: feeds of counts in chunks, resumable, good rows applied.

A chunk is one COUNT whose lines stand alone, journaled in one piece with how far the feed has come,
so a restart in the middle neither loses nor repeats a chunk. Chunks of one feed are applied one
after another, in the order of their numbers, whichever stream they come by.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from engine import commands, limits, outcomes
from engine.commands import CommandBatch
from engine.requests import find_request
from holdfast.v1 import errors_pb2
from holdfast.v1 import inventory_service_pb2 as messages
from server.application.piece_queue import REPORT
from server.documents import FEED
from server.metrics import Metrics
from server.transport.calls import Call, Methods
from server.transport.codec.inventory import SHORTFALL_POLICIES, feed_request_id, ingest_columns
from server.transport.columns import Columns, name_key, request_key
from server.transport.decode_feed import FeedChunk, decode_feed
from server.transport.document_commands import delete_documents, put_document
from server.transport.errors import TABLE, Case, Fault, Refusal, Refused, reason_of, refusal
from server.transport.inbox import Inbox
from server.transport.ledger_view import LedgerView
from server.transport.shortfall_moves import ShortfallMoves, short_rows
from server.transport.validation import Checker, shown, time_ms_max

_PROGRESS = struct.Struct("<Q")
# Feeds whose progress is remembered; the one that moved on longest ago is forgotten first.
FEEDS_MAX = 10_000
# A chunk may have 16 MiB.
_READ_AHEAD = 1

# The column a refusal of the ledger is about.
_COLUMNS = {
    outcomes.SKU_NOT_FOUND: "skus",
    outcomes.NODE_NOT_FOUND: "nodes",
    outcomes.TIME_IN_FUTURE: "as_of_times_ms",
    outcomes.COUNT_OUT_OF_DATE: "as_of_times_ms",
}


class IngestService:
    """The handler of IngestInventory."""

    def __init__(self, view: LedgerView, metrics: Metrics, moves: ShortfallMoves) -> None:
        self._view = view
        self._moves = moves
        self._metrics = metrics
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def register(self, methods: Methods) -> None:
        """Offer it."""
        methods.exchange("IngestInventory", self.ingest)

    async def ingest(self, chunks: AsyncIterator[bytes], call: Call) -> AsyncIterator[bytes]:
        """One answer a chunk. A refused chunk ends the stream; the feed resumes after it."""
        self._view.gateway.require_owner()
        async with Inbox(chunks, self._view.gateway, ahead=_READ_AHEAD) as inbox:
            async for raw in inbox:
                chunk = decode_feed(raw)
                document = _document_id(call, chunk.feed_id)
                lock = self._locks.get(document)
                if lock is None:
                    lock = self._locks[document] = asyncio.Lock()
                async with lock:
                    reply = await self._apply(chunk, document, call)
                yield reply.SerializeToString(deterministic=True)

    def _progress(self, document: str) -> int:
        """Number of the last chunk of the feed that is applied; 0: none."""
        found = self._view.state.documents.get((FEED, document))
        return int(_PROGRESS.unpack(found[0])[0]) if found is not None else 0

    async def _apply(
        self, chunk: FeedChunk, document: str, call: Call
    ) -> messages.IngestInventoryResponse:
        rows = _Rows(chunk, self._view.gateway.now_ms())
        last = self._progress(document)
        reply = messages.IngestInventoryResponse(
            feed_id=chunk.feed_id, sequence=chunk.sequence, last_sequence=last
        )
        if chunk.sequence == 0:
            reply.revision = self._view.state.revision
            await self._view.gateway.durable()
            return reply
        if chunk.sequence > last + 1:
            raise Refused(_gap(chunk, last + 1))
        feed_id = chunk.feed_id.encode()
        batch = ingest_columns(
            call.caller.text,
            feed_id,
            chunk.sequence,
            sku_keys=rows.sku_keys,
            node_keys=rows.node_keys,
            quantities=rows.quantities,
            times_ms=rows.times_ms,
            policy=rows.policy,
        )
        if chunk.sequence == last + 1:
            columns = Columns()
            self._note_progress(columns, document, chunk.sequence)
            batch = CommandBatch.join([batch, columns.batch()])
        elif not self._is_remembered(call, feed_id, chunk.sequence):
            # Applied longer ago than answers are kept: it must not be applied again.
            reply.replayed = True
            reply.revision = self._view.state.revision
            await self._view.gateway.durable()
            return reply
        answer = await self._view.gateway.submit(
            batch, remaining_s=call.remaining_s(), priority=REPORT
        )
        outcome = answer.rows[0]
        if outcome["code"] != outcomes.OK:
            raise Refused(_reused(chunk, int(outcome["code"]), int(outcome["revision"])))
        count = int(outcome["detail_count"])
        reply.replayed = bool(outcome["flags"] & outcomes.REPLAYED)
        reply.applied_rows = int(outcome["affected"])
        reply.last_sequence = max(last, chunk.sequence)
        reply.revision = int(outcome["revision"])
        rows.tell_ledger_errors(answer.details[:count])
        reply.errors.extend(rows.sorted_errors())
        for error in reply.errors:
            name = errors_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
            self._metrics.refused(name)
        short = answer.details["kind"][:count] == outcomes.SHORTFALL
        reply.shortfall_rows = int(short.sum())
        if rows.policy == commands.REPLAN:
            await self._moves.cover([row for _, row in short_rows(answer)], call)
        return reply

    def _is_remembered(self, call: Call, feed_id: bytes, sequence: int) -> bool:
        high, low = request_key(call.caller.text, feed_request_id(feed_id, sequence))
        tables = self._view.state.tables
        return bool(find_request(tables, np.uint64(high), np.uint64(low)) >= 0)

    def _note_progress(self, columns: Columns, document: str, sequence: int) -> None:
        documents = self._view.state.documents
        if sequence == 1:
            feeds = [key for key in documents if key[0] == FEED]
            if len(feeds) >= FEEDS_MAX:
                oldest = min(feeds, key=lambda key: documents[key][1])
                delete_documents(columns, FEED, [oldest[1]], b"")
        put_document(columns, FEED, document, _PROGRESS.pack(sequence), b"")


class _Rows:
    """A chunk's rows: those that may go to the ledger as columns, and what is wrong with others.

    Raises Refused when the chunk as a whole is not what it should be.
    """

    def __init__(self, chunk: FeedChunk, now_ms: int) -> None:
        self._chunk = chunk
        self._errors: dict[int, errors_pb2.RowError] = {}
        check = Checker(now_ms)
        check.identifier("feed_id", chunk.feed_id, "request_id_bytes_max", required=True)
        if chunk.sequence >= 1 << 63:
            check.invalid("sequence", chunk.sequence, "is too large")
        count = len(chunk.skus)
        check.count("skus", count, "rows_per_ingest_chunk_max", required=chunk.sequence > 0)
        self.policy = check.enumerated(
            "shortfall_policy", chunk.policy, SHORTFALL_POLICIES, default=commands.REPORT
        )
        for name, column, allowed in (
            ("row_numbers", chunk.row_numbers, (0, count)),
            ("nodes", chunk.nodes, (1, count)),
            ("quantities", chunk.quantities, (count,)),
            ("as_of_times_ms", chunk.times_ms, (0, 1, count)),
        ):
            if len(column) not in allowed and chunk.sequence > 0:
                lengths = " or ".join(str(length) for length in dict.fromkeys(allowed))
                check.invalid(name, f"{len(column)} entries", f"is not {lengths}, as skus has")
        if chunk.sequence == 0 and count:
            check.invalid("sequence", 0, "numbers no chunk: they begin at 1")
        check.refuse()
        self._check_rows(now_ms)

    def _check_rows(self, now_ms: int) -> None:
        chunk = self._chunk
        count = len(chunk.skus)
        sku_keys = chunk.skus["key"].copy()
        nodes = chunk.nodes if len(chunk.nodes) == count else np.repeat(chunk.nodes, count)
        node_keys = nodes["key"].copy()
        times_ms = np.zeros(count, np.int64)
        if len(chunk.times_ms):
            times_ms[:] = chunk.times_ms
        for index in np.flatnonzero((sku_keys == 0) | (node_keys == 0)).tolist():
            self._read_names(index, nodes, sku_keys, node_keys)
        quantities = chunk.quantities
        most = limits.units_per_position_max
        for index in np.flatnonzero((quantities < 0) | (quantities > most)).tolist():
            check = Checker(now_ms)
            check.whole("quantities", int(quantities[index]), "units_per_position_max")
            self._refuse(index, check)
        if len(chunk.times_ms):
            for index in np.flatnonzero((times_ms <= 0) | (times_ms > time_ms_max)).tolist():
                check = Checker(now_ms)
                check.epoch_ms("as_of_times_ms", int(times_ms[index]))
                self._refuse(index, check)
        good = np.ones(count, np.bool_)
        good[list(self._errors)] = False
        self._refuse_repeated(sku_keys, node_keys, good)
        good[list(self._errors)] = False
        self._places: NDArray[np.int64] = np.flatnonzero(good)
        self.sku_keys, self.node_keys = sku_keys[good], node_keys[good]
        self.quantities, self.times_ms = quantities[good], times_ms[good]

    def _read_names(
        self,
        index: int,
        nodes: NDArray[np.void],
        sku_keys: NDArray[np.uint64],
        node_keys: NDArray[np.uint64],
    ) -> None:
        """Look at names that the compiled reader left: unusual ones are read, bad ones refused."""
        for field, place, keys, limit in (
            ("skus", self._chunk.skus[index], sku_keys, "sku_bytes_max"),
            ("nodes", nodes[index], node_keys, "node_bytes_max"),
        ):
            if keys[index]:
                continue
            check = Checker(0)
            raw = self._chunk.name(place)
            try:
                name = check.identifier(field, raw.decode(), limit, required=True)
            except UnicodeDecodeError:
                check.invalid(field, ascii(raw)[2:-1], "is not UTF-8")
                name = b""
            if check.violations:
                self._refuse(index, check)
            else:
                keys[index] = name_key(name)

    def _refuse_repeated(
        self,
        sku_keys: NDArray[np.uint64],
        node_keys: NDArray[np.uint64],
        good: NDArray[np.bool_],
    ) -> None:
        """Of several rows for a position the last one counts."""
        places = np.flatnonzero(good)
        order = places[np.lexsort((places, node_keys[places], sku_keys[places]))]
        same = (sku_keys[order[1:]] == sku_keys[order[:-1]]) & (
            node_keys[order[1:]] == node_keys[order[:-1]]
        )
        for at in np.flatnonzero(same).tolist():
            index = int(order[at])
            check = Checker(0)
            sku = self._chunk.name(self._chunk.skus[index]).decode()
            later = self._number(int(order[at + 1]))
            check.invalid("skus", sku, f"is counted at this node by row {later} too, which counts")
            self._refuse(index, check)

    def _number(self, index: int) -> int:
        if len(self._chunk.row_numbers):
            return int(self._chunk.row_numbers[index].view(np.uint64))
        return index

    def _refuse(self, index: int, check: Checker) -> None:
        violation = check.violations[0]
        self._errors.setdefault(
            index,
            errors_pb2.RowError(
                row=self._number(index),
                field=violation.field,
                value=violation.value[:128],
                reason=reason_of(violation.fault),  # type: ignore[arg-type]
                message=violation.description[:512],
            ),
        )

    def tell_ledger_errors(self, details: NDArray[np.void]) -> None:
        """Add what the ledger refused."""
        chunk = self._chunk
        for detail in details:
            if detail["kind"] not in (outcomes.LINE_ERROR, outcomes.SHORTAGE):
                continue
            code = int(detail["code"])
            index = int(self._places[int(detail["time_ms"])])
            field = _COLUMNS.get(code, "quantities")
            if field == "skus":
                value = chunk.name(chunk.skus[index]).decode()
            elif field == "nodes":
                value = chunk.name(chunk.nodes[index if len(chunk.nodes) > 1 else 0]).decode()
            elif field == "quantities":
                value = str(int(chunk.quantities[index]))
            else:
                value = str(int(chunk.times_ms[index if len(chunk.times_ms) > 1 else 0]))
            self._errors[index] = errors_pb2.RowError(
                row=self._number(index),
                field=field,
                value=shown(value),
                reason=reason_of(code),  # type: ignore[arg-type]
                message=f"{TABLE[code].sentence}: {shown(value)!r}",
            )

    def sorted_errors(self) -> list[errors_pb2.RowError]:
        """What is wrong, in the order of the rows."""
        return [self._errors[index] for index in sorted(self._errors)]


def _document_id(call: Call, feed_id: str) -> str:
    caller = call.caller.text.decode("latin-1")
    return f"{caller}\0{feed_id}" if caller else feed_id


def _gap(chunk: FeedChunk, expected: int) -> Refusal:
    return refusal(
        Fault.SEQUENCE_GAP,
        Case(
            subject=chunk.feed_id,
            message=f"chunk {chunk.sequence} of feed {shown(chunk.feed_id)!r} came, "
            f"{expected} is expected",
            metadata={"feed_id": chunk.feed_id, "expected_sequence": str(expected)},
        ),
    )


def _reused(chunk: FeedChunk, code: int, revision: int) -> Refusal:
    metadata = {"feed_id": chunk.feed_id, "sequence": str(chunk.sequence)}
    return refusal(code, Case(metadata=metadata | {"revision": str(revision)}))
