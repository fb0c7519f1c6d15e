"""BulkCreateReservations: thousands of independent creates in one message.

The usual requests are read, and their results written, by the compiled codec, as many in a row as
there are; an unusual one is read by protobuf in its place. All go to the ledger as one piece, in
the order of the message. A request that is not valid gets its reason in its own result, with
revision 0, because it never reached the ledger; the others are not affected.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import limits, outcomes
from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from holdfast.v1 import reservation_service_pb2 as messages
from holdfast.v1 import types_pb2
from server.metrics import Metrics
from server.transport import render, shortages
from server.transport.answer_parts import parts_of
from server.transport.calls import Call, Methods
from server.transport.capacity_defaults import add_defaults
from server.transport.channel_nodes import ChannelNodes
from server.transport.codec import reservations as codec
from server.transport.columns import Columns
from server.transport.decode import Decoded, decode
from server.transport.encode import encode_results
from server.transport.errors import TABLE, Refusal, Refused, reason_of
from server.transport.framing import framed, read_frame
from server.transport.ledger_view import LedgerView
from server.transport.malformed import read
from server.transport.validation import Checker
from server.transport.wire_bytes import varint

_REVISION_TAG = b"\x10"
_MOST = limits.requests_per_bulk_max
# Requests read by protobuf before other calls get a turn.
_SLOW_IN_A_ROW = 64


@dataclass(frozen=True, slots=True)
class _One:
    """A request read by protobuf, and its columns; it is the last of their commands."""

    request: messages.CreateReservationRequest
    batch: CommandBatch


Part = Decoded | _One | Refusal


class BulkCreate:
    """The handler of BulkCreateReservations."""

    def __init__(self, view: LedgerView, channels: ChannelNodes, metrics: Metrics) -> None:
        self._view = view
        self._channels = channels
        self._metrics = metrics
        self._stats = metrics.method("holdfast.v1.ReservationService/BulkCreateReservations")

    def register(self, methods: Methods) -> None:
        """Offer the method."""
        methods.unary_raw("BulkCreateReservations", self.create_raw, large=True)

    async def create_raw(self, raw: bytes, call: Call) -> bytes:
        """From and to bytes."""
        parts, memory_only = await self._read(raw, call)
        batches = [part.batch for part in parts if not isinstance(part, Refusal)]
        self._stats.items += sum(map(len, batches))
        if not batches:
            results = b"".join(framed(_refused_result(part)) for part in parts)
            return results + _revision(self._view.state.revision)
        answer = await self._view.gateway.submit(
            CommandBatch.join(batches), remaining_s=call.remaining_s(), memory_only=memory_only
        )
        self._count_refusals(answer.rows)
        return self._write(parts, answer)

    # --- Reading -----------------------------------------------------------------------------

    async def _read(self, raw: bytes, call: Call) -> tuple[list[Part], bool]:
        """The message in parts, in order, and whether every request asked for MEMORY."""
        now_ms = self._view.gateway.now_ms()
        parts: list[Part] = []
        at = count = slow = memory_only = 0
        while at < len(raw) and count <= _MOST:
            decoded = decode(raw, call.caller, now_ms, framed=True, start=at)
            usual = len(decoded.batch)
            if usual and not self._channels.any_restricted(decoded.batch.headers):
                parts.append(decoded)
                count += usual
                memory_only += decoded.memory_only
                at = decoded.next_at
                continue
            items, at = _requests(raw, at, max(1, usual), count)
            for item in items[: _MOST + 1 - count]:
                part, is_memory = self._read_one(item, call, now_ms, count)
                parts.append(part)
                memory_only += is_memory
                count += 1
                slow += 1
                if slow % _SLOW_IN_A_ROW == 0:
                    await asyncio.sleep(0)
        check = Checker(now_ms)
        check.count("requests", count, "requests_per_bulk_max")
        check.refuse()
        self._metrics.decode_fallbacks += slow
        return parts, memory_only == count

    def _read_one(
        self, raw: bytes, call: Call, now_ms: int, index: int
    ) -> tuple[_One | Refusal, bool]:
        columns, check = Columns(), Checker(now_ms)
        try:
            request = read(messages.CreateReservationRequest, raw)
            state = self._view.state
            before = add_defaults(columns, state, request.capacity_takes, call.caller.text)
            codec.create(columns, check, request, call.caller.text, path=f"requests[{index}].")
            check.refuse()
            batch = columns.batch()
            self._channels.check(batch.headers[before:], [request])
        except Refused as refused:
            return refused.refusal, False
        return _One(request, batch), request.durability == types_pb2.DURABILITY_MEMORY

    # --- Writing -----------------------------------------------------------------------------

    def _write(self, parts: list[Part], answer: Outcomes) -> bytes:
        counts = [len(part.batch) for part in parts if not isinstance(part, Refusal)]
        told = parts_of(answer, counts)
        seed = self._view.ledger_seed()
        out: list[bytes] = []
        last = 0
        for part in parts:
            if isinstance(part, Refusal):
                out.append(framed(_refused_result(part)))
                continue
            rows, details, _ = next(told)
            if isinstance(part, Decoded):
                encoded, revision = encode_results(part, rows, details, seed)
                out.append(encoded)
            else:
                result = result_of(part.request, rows[-1], details, seed)
                out.append(framed(result.SerializeToString(deterministic=True)))
                revision = result.revision
            last = max(last, revision)
        return b"".join(out) + _revision(last)

    def _count_refusals(self, rows: NDArray[np.void]) -> None:
        codes = rows["code"]
        if codes.any():
            refused = codes[codes != outcomes.OK]
            for code, count in zip(*np.unique(refused, return_counts=True), strict=True):
                self._metrics.refused(TABLE[int(code)].reason, int(count))


def result_of(
    request: messages.CreateReservationRequest,
    outcome: np.void,
    details: NDArray[np.void],
    ledger_seed: int,
) -> messages.BulkCreateResult:
    """The result of one request, written by protobuf."""
    result = messages.BulkCreateResult(
        reservation_id=request.reservation_id, revision=int(outcome["revision"])
    )
    if outcome["code"] == outcomes.OK:
        result.reservation_id = render.created_id(request.reservation_id, outcome, ledger_seed)
        result.expire_time.CopyFrom(render.timestamp(int(outcome["expire_ms"])))
        result.shortages.extend(shortages.cut(request.lines, details))
        result.state = render.state(int(outcome["state"]))
    else:
        result.reason = reason_of(int(outcome["code"]))  # type: ignore[assignment]
        result.shortages.extend(shortages.refused(request.lines, request.capacity_takes, details))
    return result


def _refused_result(part: Part) -> bytes:
    assert isinstance(part, Refusal)
    result = messages.BulkCreateResult(reason=part.reason)  # type: ignore[arg-type]
    return result.SerializeToString(deterministic=True)


def _requests(raw: bytes, at: int, most: int, index: int) -> tuple[list[bytes], int]:
    """The bytes of up to `most` requests from `at` on, and the place after them.

    `index` is the number of requests before `at`. Where the bytes are no plain sequence of requests
    protobuf reads the whole message; it raises Refused, or knows fields that we do not.
    """
    items: list[bytes] = []
    while at < len(raw) and len(items) < most:
        frame = read_frame(raw, at)
        if frame is None:
            message = read(messages.BulkCreateReservationsRequest, raw)
            rest = message.requests[index + len(items) :]
            return [*items, *(item.SerializeToString() for item in rest)], len(raw)
        items.append(frame[0])
        at = frame[1]
    return items, at


def _revision(revision: int) -> bytes:
    return _REVISION_TAG + varint(revision) if revision else b""
