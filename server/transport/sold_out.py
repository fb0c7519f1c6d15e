"""What a shopper is told of a SKU that is sold out: the same thing, thousands of times, cheaply.

Telling one caller that stock is short means reading the request once more, five protobuf messages
and their bytes: it cost more than a sale. In a sale the same few lines are refused again and again,
so what was told for them is kept as bytes with a gap where the revision goes (`Told`).

With `early` on, such a request is also answered before it goes to the ledger, where the ledger's
own balances say at this moment that it would be refused. What makes that safe:

1. The balance is read between two batches, and no hold is due to expire: what the ledger would
   decide now is what is told. Nothing is told before the journal holds what was read.
2. Only requests like one that the ledger itself refused are looked at: equal in every field but
   request_id and owner, and with nothing that depends on these: one line at one node, from what is
   on hand, without reservation_id, channel, capacities, or holds to replace.
3. A request that the ledger remembers, or that is under way, goes to the ledger.
4. A refusal told early is remembered under its request_id, so a late repeat gets the same answer:
   in memory, `REMEMBERED_MAX` of them, until the server ends. See docs/decisions/0031.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from engine import limits, machine, outcomes, reads, tables
from engine.outcomes import Outcomes
from engine.requests import find_request
from engine.state import State
from holdfast.v1 import reservation_service_pb2 as messages
from holdfast.v1 import types_pb2
from server.metrics import Metrics
from server.transport.calls import Call, RawHandler
from server.transport.columns import request_key
from server.transport.errors import PUSHBACK_KEY, STATUS_KEY, Refusal, Refused, refusal
from server.transport.framing import read_varint
from server.transport.ledger_view import LedgerView
from server.transport.wire_bytes import varint

REMEMBERED_MAX: Final = 131_072
"""Requests that were refused early and are remembered; the oldest one is forgotten first."""
_TOLD_MAX: Final = 4_096
_TOLD_OF_ONE_MAX: Final = 64
_WHOLE: Final = (types_pb2.FILL_POLICY_UNSPECIFIED, types_pb2.FILL_POLICY_ALL_OR_NONE)
_FROM_HAND: Final = (types_pb2.SUPPLY_POLICY_UNSPECIFIED, types_pb2.SUPPLY_POLICY_ON_HAND)
_LENGTH_DELIMITED: Final = 2
_REQUEST_ID_TAG: Final = 1 << 3 | _LENGTH_DELIMITED
_OWNER_TAG: Final = 3 << 3 | _LENGTH_DELIMITED


@dataclass(frozen=True, slots=True)
class _Request:
    """A CreateReservationRequest as bytes: what it asks for, and who asks."""

    body: bytes
    """All fields but request_id and owner."""
    request_id: bytes
    owner: bytes


def _read(raw: bytes) -> _Request | None:
    """The fields at the top, not looked into; None where they are not plain. O(fields)."""
    at, end_of_all = 0, len(raw)
    request_id = owner = b""
    body: list[bytes] = []
    while at < end_of_all:
        tag = raw[at]
        if tag > 127 or at + 1 == end_of_all:
            return None
        # Nearly every length is one byte.
        value, start = raw[at + 1], at + 2
        if value > 127:
            value, start = read_varint(raw, at + 1)
        kind = tag & 7
        end = start + value if kind == _LENGTH_DELIMITED else start
        if value < 0 or end > end_of_all or kind not in (0, _LENGTH_DELIMITED):
            return None
        if tag == _REQUEST_ID_TAG:
            if request_id:
                return None
            request_id = raw[start:end]
        elif tag == _OWNER_TAG:
            if owner:
                return None
            owner = raw[start:end]
        else:
            body.append(raw[at:end])
        at = end
    return _Request(b"".join(body), request_id, owner)


def _is_plain(name: bytes, most: int) -> bool:
    """Whether the usual check of an identifier has nothing to say about it."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return False
    return len(name) <= most and text.isprintable() and text == text.strip(" ")


class Told(Refusal):
    """A refusal whose bytes are there already, all but the revision."""

    __slots__ = ("_revision", "_template")
    _template: _Template
    _revision: int

    def __init__(self, template: _Template, revision: int) -> None:
        first = template.first
        super().__init__(first.code, first.reason, first.status, first.retry_ms)
        object.__setattr__(self, "_template", template)
        object.__setattr__(self, "_revision", revision)

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of ErrorInfo."""
        return {**self._template.first.metadata, "revision": str(self._revision)}

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What goes with the status in the call's trailers."""
        status = (STATUS_KEY, self._template.status(self._revision))
        if self.retry_ms > 0:
            return (status, (PUSHBACK_KEY, str(self.retry_ms)))
        return (status,)


class _Template:
    """A refusal of one request, as bytes around its revision."""

    __slots__ = ("_after", "_before", "_head", "_tail", "_url", "first")

    def __init__(self, first: Refusal) -> None:
        self.first = first
        info = first.status.details[0]
        entry = _entry(first.revision)
        self._before, found, self._after = info.value.partition(entry)
        if not found:
            raise ValueError("the refusal does not tell its revision")
        whole = first.status.SerializeToString(deterministic=True)
        packed = info.SerializeToString(deterministic=True)
        framed = b"\x1a" + varint(len(packed)) + packed
        self._head, _, self._tail = whole.partition(framed)
        self._url = b"\x0a" + varint(len(info.type_url)) + info.type_url.encode()

    def status(self, revision: int) -> bytes:
        """The google.rpc.Status of another request that was refused at `revision`."""
        value = self._before + _entry(revision) + self._after
        packed = self._url + b"\x12" + varint(len(value)) + value
        return self._head + b"\x1a" + varint(len(packed)) + packed + self._tail


def _entry(revision: int) -> bytes:
    """``metadata["revision"]`` of ErrorInfo."""
    text = str(revision).encode()
    inner = b"\x0a\x08revision\x12" + varint(len(text)) + text
    return b"\x1a" + varint(len(inner)) + inner


@dataclass(slots=True)
class _Known:
    """What the ledger refused, and what was told by units there and when more come."""

    row: int
    quantity: int
    may_be_early: bool
    told: dict[tuple[int, int], _Template]


class SoldOut:
    """Refusals for lack of stock, told again."""

    def __init__(
        self, view: LedgerView, metrics: Metrics, early: Callable[[], bool] | None
    ) -> None:
        """`early`: whether requests are answered before the ledger now; None: never."""
        self._view = view
        self._metrics = metrics
        self._early = early
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        # By caller and request_id.
        self._remembered: OrderedDict[bytes, tuple[bytes, bytes, Refusal]] = OrderedDict()
        self._under_way: Counter[bytes] = Counter()
        self._under_way_unread = 0

    def before(self, ask_ledger: RawHandler) -> RawHandler:
        """The handler that gives an answer that is known, and asks `ask_ledger` for others."""
        return ask_ledger if self._early is None else partial(self._before, ask_ledger)

    async def _before(self, ask_ledger: RawHandler, raw: bytes, call: Call) -> bytes:
        assert self._early is not None
        if not self._remembered and not (self._known and self._early()):
            # Not worth reading. While it is under way nothing is told early: it might be told of
            # a repeat of this one.
            self._under_way_unread += 1
            try:
                return await ask_ledger(raw, call)
            finally:
                self._under_way_unread -= 1
        request = _read(raw)
        if request is None or not request.request_id:
            return await ask_ledger(raw, call)
        key = call.caller.text + b"\0" + request.request_id
        before = self._remembered.get(key)
        if before is not None:
            body, owner, told = before
            if (body, owner) != (request.body, request.owner):
                told = refusal(outcomes.REQUEST_ID_REUSED)
            await self._view.gateway.durable()
            raise Refused(told)
        if self._early() and not self._under_way_unread and key not in self._under_way:
            found = self._refused_now(request, call.caller.text)
            if found is not None:
                self._remember(key, request, found)
                try:
                    await self._view.gateway.durable()
                except BaseException:
                    # Not told; and what was read may never have been.
                    self._remembered.pop(key, None)
                    raise
                raise Refused(found)
        self._under_way[key] += 1
        try:
            return await ask_ledger(raw, call)
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]

    def _refused_now(self, request: _Request, caller: bytes) -> Refusal | None:
        """The refusal that the ledger would give at this moment; None where it may be another
        answer, or is not known yet."""
        known = self._known.get(request.body)
        if known is None or not known.may_be_early:
            return None
        if not _is_plain(request.request_id, limits.request_id_bytes_max):
            return None
        if not _is_plain(request.owner, limits.owner_bytes_max):
            return None
        state, now_ms = self._view.state, self._view.gateway.now_ms()
        due_ms = machine.next_expiry_ms(state)
        if 0 <= due_ms <= now_ms:
            return None  # a hold has run out, and its units are not free yet
        key = request_key(caller, request.request_id)
        if find_request(state.tables, np.uint64(key[0]), np.uint64(key[1])) >= 0:
            return None
        position = state.positions[known.row]
        if reads.node_is_frozen(state, int(position["node"])):
            return None
        there = _sellable(position)
        if there >= known.quantity:
            return None
        template = known.told.get((there, _more_ms(state, known.row)))
        if template is None:
            return None
        self._metrics.sold_out_early += 1
        return Told(template, state.revision)

    def _remember(self, key: bytes, request: _Request, told: Refusal) -> None:
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        self._remembered[key] = request.body, request.owner, told

    # --- What the ledger refused ---------------------------------------------------------------

    def again(self, raw: bytes, answer: Outcomes) -> Refusal | None:
        """The refusal of a request that the ledger refused, where the same was told before."""
        shortage = _only_shortage(answer)
        if shortage is None:
            return None
        request = _read(raw)
        known = self._known.get(request.body) if request is not None else None
        if known is None or known.row != shortage[0]:
            return None
        template = known.told.get(shortage[1:])
        return Told(template, int(answer.rows["revision"][0])) if template is not None else None

    def learn(
        self,
        raw: bytes,
        message: messages.CreateReservationRequest,
        answer: Outcomes,
        told: Refusal,
    ) -> None:
        """The ledger refused this, and this is what was told."""
        shortage = _only_shortage(answer)
        request = _read(raw) if shortage is not None and not message.reservation_id else None
        if shortage is None or request is None:
            return
        row, available, more_ms = shortage
        known = self._known.get(request.body)
        if known is None or known.row != row:
            if len(self._known) >= _TOLD_MAX:
                self._known.popitem(last=False)
            quantity = int(answer.details["quantity"][0])
            known = _Known(row, quantity, _depends_on_stock_alone(message), {})
            self._known[request.body] = known
        if len(known.told) >= _TOLD_OF_ONE_MAX:
            known.told.clear()
        known.told[available, more_ms] = _Template(told)


def _depends_on_stock_alone(message: messages.CreateReservationRequest) -> bool:
    """Whether the balance of one position decides whether the request is refused."""
    if len(message.lines) != 1 or message.channel or message.capacity_takes:
        return False
    if message.replace_owner_holds or message.fill_policy not in _WHOLE:
        return False
    line = message.lines[0]
    return line.WhichOneof("source") == "node" and line.supply_policy in _FROM_HAND


def _sellable(position: np.void) -> int:
    """Units of a stock that a request without a channel may take; `engine.positions.sellable`."""
    held = int(position["held"]) + int(position["committed"]) + int(position["withheld"])
    free = int(position["on_hand"]) - held
    if position["flags"] & tables.FENCED:
        free -= int(position["fenced"])
    return max(0, free)


def _only_shortage(answer: Outcomes) -> tuple[int, int, int] | None:
    """(stock row, units there, when more come) of a request refused for one line; else None."""
    if int(answer.rows["code"][0]) != outcomes.INSUFFICIENT_STOCK or len(answer.details) != 1:
        return None
    detail = answer.details[0]
    row = int(detail["position"])
    if int(detail["kind"]) != outcomes.SHORTAGE or row < 0:
        return None
    return row, int(detail["available"]), int(detail["time_ms"])


def _more_ms(state: State, row: int) -> int:
    """When more of this stock is expected, 0 when unknown; `engine.create.next_supply_ms`."""
    for supply in reads.supplies_of(state, row):
        found = state.supplies[supply]
        if found["open"] and found["type"] != tables.BACKORDER_SUPPLY:
            position = state.positions[int(found["position"])]
            taken = int(position["held"]) + int(position["committed"]) + int(position["withheld"])
            if int(position["on_hand"]) > taken:
                return int(found["expected_ms"])
    return 0
