"""AvailabilityService.WatchAvailability: a snapshot, then every change, from where one left off."""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from engine import limits
from engine.hashing import key_of
from engine.state import State
from holdfast.v1 import availability_service_pb2 as messages
from server.application.gateway import NotDone, Phase, Why
from server.application.watch import Watcher, WatchHub, WatchSet, WatchSetFull
from server.transport.calls import Call, Methods
from server.transport.channel_nodes import ChannelNodes
from server.transport.errors import Case, Fault, Refused, refusal
from server.transport.ledger_view import LedgerView
from server.transport.position_columns import read_positions
from server.transport.position_messages import position_availability
from server.transport.selection import check_selection, select, too_many
from server.transport.validation import Checker

_TOKEN = struct.Struct(">8sQq")  # digest of the watch, key of the ledger, revision
_SNAPSHOT_OPEN = -1  # the token of a snapshot that was not finished: begin it anew

_SIGN_OF_LIFE_S = 10.0
# A watcher looks at most this often, and rarer where looking is dear: all of them together take
# about a twentieth of a core.
_PAUSE_S_MIN = 0.01
_PAUSES_PER_LOOK = 20

SNAPSHOT = messages.AVAILABILITY_EVENT_TYPE_SNAPSHOT
CHANGED = messages.AVAILABILITY_EVENT_TYPE_CHANGED
FELL = messages.AVAILABILITY_EVENT_TYPE_FELL_TO_THRESHOLD
ROSE = messages.AVAILABILITY_EVENT_TYPE_ROSE_ABOVE_THRESHOLD
SHORTFALL = messages.AVAILABILITY_EVENT_TYPE_SHORTFALL


@dataclass(slots=True)
class _Told:
    """What the caller knows: up to which revision, and the last numbers of each position."""

    revision: int
    sell: dict[int, int] = field(default_factory=dict)
    short: dict[int, int] = field(default_factory=dict)


class WatchService:
    """The handler of WatchAvailability."""

    def __init__(self, view: LedgerView, channels: ChannelNodes, hub: WatchHub) -> None:
        self._view = view
        self._channels = channels
        self._hub = hub

    def register(self, methods: Methods) -> None:
        """Offer it."""
        methods.server_stream("WatchAvailability", messages.WatchAvailabilityRequest, self.watch)

    async def watch(
        self, request: messages.WatchAvailabilityRequest, call: Call
    ) -> AsyncIterator[bytes]:
        """WatchAvailability. Ends only with the caller, the server, or a fault."""
        self._view.gateway.require_owner()
        check = Checker(self._view.gateway.now_ms())
        check_selection(check, request, skus_required=False)
        if not (request.skus or request.nodes or request.node_groups or request.channel):
            check.required("skus", "needs SKUs, nodes, node_groups or a channel")
        check.count(
            "thresholds", len(request.thresholds), "thresholds_per_watch_max", required=False
        )
        for index, level in enumerate(request.thresholds[: limits.thresholds_per_watch_max]):
            check.quantity(f"thresholds[{index}]", level, low=0)
        seed = key_of(self._view.gateway.ledger_id.encode())
        digest = _digest(request)
        revision = _resume(check, request.resume_token, digest, seed, self._view.state.revision)
        check.refuse()
        if self._hub.is_full:
            raise NotDone(Why.OVERLOADED, f"watches_max = {self._hub.watches_max} is reached", 1000)
        watcher = self._hub.add()
        try:
            stream = _Stream(self._view, self._channels, request, watcher, digest, seed)
            async for reply in stream.run(revision, self._hub):
                yield reply
        except WatchSetFull:
            raise too_many("skus", limits.query_positions_max + 1) from None
        finally:
            self._hub.remove(watcher)


class _Stream:
    """One caller's watch."""

    def __init__(
        self,
        view: LedgerView,
        channels: ChannelNodes,
        request: messages.WatchAvailabilityRequest,
        watcher: Watcher,
        digest: bytes,
        seed: int,
    ) -> None:
        self._view = view
        self._channels = channels
        self._request = request
        self._watcher = watcher
        self._digest = digest
        self._seed = seed
        self._thresholds = sorted(set(request.thresholds))

    async def run(self, revision: int, hub: WatchHub) -> AsyncIterator[bytes]:
        """Messages, for ever."""
        loop = asyncio.get_running_loop()
        told = _Told(revision)
        is_snapshot = revision == _SNAPSHOT_OPEN
        spoke_s = loop.time()
        while True:
            self._watcher.rest()
            watched = await self._watch_set()
            began_s = loop.time()
            state, upto = watched.state, watched.state.revision
            rows, at = watched.changed_after(told.revision)
            if is_snapshot:
                rows, at = watched.rows, state.positions["changed_revision"][watched.rows]
            events = self._events(state, told, rows, at, is_snapshot=is_snapshot)
            look_s = loop.time() - began_s
            # What was read may be ahead of the journal: it is told once that has caught up.
            await self._view.gateway.durable()
            silent = loop.time() - spoke_s >= _SIGN_OF_LIFE_S
            if events or is_snapshot or silent:
                for reply in self._messages(events, told.revision, upto, is_snapshot=is_snapshot):
                    yield reply
                spoke_s = loop.time()
            told.revision, is_snapshot = upto, False
            if self._view.gateway.phase is not Phase.SERVING:
                raise self._view.gateway.draining()
            pause_s = max(_PAUSE_S_MIN, look_s * _PAUSES_PER_LOOK * len(hub))
            await asyncio.sleep(pause_s)
            await self._watcher.wait(max(0.0, spoke_s + _SIGN_OF_LIFE_S - loop.time()))

    async def _watch_set(self) -> WatchSet:
        """The watch set over the live state, new positions found."""
        state = self._view.state
        watched = self._watcher.set
        if watched is None or watched.state is not state:
            chosen = select(self._view, self._channels, self._request)
            skus = chosen.skus if self._request.skus else None
            watched = WatchSet(state, skus, chosen.nodes, positions_max=limits.query_positions_max)
            await watched.discover_all()
            self._watcher.set = watched
        else:
            await watched.discover_all()
        return watched

    def _events(
        self,
        state: State,
        told: _Told,
        rows: NDArray[np.int64],
        at: NDArray[np.int64],
        *,
        is_snapshot: bool,
    ) -> list[messages.AvailabilityEvent]:
        events = []
        names, now_ms = self._view.names, state.now_ms
        all_numbers = read_positions(state, rows, channel=self._request.channel)
        for index, numbers in enumerate(all_numbers):
            row = int(rows[index])
            called = names.position(row)
            position = position_availability(numbers, called.sku, called.node, now_ms=now_ms)
            changed = int(at[index])
            kinds: list[tuple[messages.AvailabilityEventType.ValueType, int]] = []
            if is_snapshot:
                kinds.append((SNAPSHOT, 0))
            elif not self._request.thresholds_only:
                kinds.append((CHANGED, 0))
            sell = position.available_to_sell
            if not is_snapshot:
                kinds += _crossings(self._thresholds, told.sell.get(row), sell)
            was_short = told.short.get(row, 0)
            if position.shortfall != was_short:
                kinds.append((SHORTFALL, 0))
            told.sell[row] = sell
            told.short[row] = position.shortfall
            events += [
                messages.AvailabilityEvent(
                    type=kind, position=position, revision=changed, threshold=level
                )
                for kind, level in kinds
            ]
        return events

    def _messages(
        self,
        events: list[messages.AvailabilityEvent],
        before: int,
        upto: int,
        *,
        is_snapshot: bool,
    ) -> Iterable[bytes]:
        """The events in messages; only the last one's token goes past what was told before."""
        step = limits.page_size_max
        for start in range(0, max(1, len(events)), step):
            last = start + step >= len(events)
            reply = messages.WatchAvailabilityResponse(
                events=events[start : start + step],
                resume_token=self._token(upto if last else before),
                revision=upto if last else max(0, before),
                snapshot_complete=is_snapshot and last,
            )
            yield reply.SerializeToString(deterministic=True)

    def _token(self, revision: int) -> str:
        packed = _TOKEN.pack(self._digest, self._seed, revision)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _crossings(
    thresholds: list[int], before: int | None, now: int
) -> list[tuple[messages.AvailabilityEventType.ValueType, int]]:
    """Levels between what was told and what is. After a resume nothing was told: each level says on
    which side of it the position is now."""
    found: list[tuple[messages.AvailabilityEventType.ValueType, int]] = []
    for level in thresholds:
        if now <= level and (before is None or before > level):
            found.append((FELL, level))
        elif now > level and (before is None or before <= level):
            found.append((ROSE, level))
    return found


def _digest(request: messages.WatchAvailabilityRequest) -> bytes:
    """What makes two watches the same: everything but where to go on."""
    query = messages.WatchAvailabilityRequest()
    query.CopyFrom(request)
    query.ClearField("resume_token")
    return blake2b(query.SerializeToString(deterministic=True), digest_size=8).digest()


def _resume(check: Checker, token: str, digest: bytes, seed: int, newest: int) -> int:
    """The revision to go on after; `_SNAPSHOT_OPEN` without a token."""
    if not token:
        return _SNAPSHOT_OPEN
    size = len(token.encode("utf-8", "surrogatepass"))
    if size > limits.resume_token_bytes_max:
        most = limits.resume_token_bytes_max
        check.beyond("resume_token", f"{size} bytes", "resume_token_bytes_max", most)
        return 0
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        owner, made_by, revision = _TOKEN.unpack(raw)
    except (ValueError, binascii.Error, struct.error):
        check.invalid("resume_token", token, "is no token of this server")
        return 0
    if owner != digest:
        check.invalid("resume_token", token, "belongs to another watch")
    elif made_by != seed or revision > newest:
        raise Refused(
            refusal(
                Fault.TOKEN_EXPIRED,
                Case(message="the token is of another ledger: start anew without it"),
            )
        )
    return int(revision)
