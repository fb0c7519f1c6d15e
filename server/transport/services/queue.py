"""QueueService: places in waiting queues."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from holdfast.v1 import queue_service_pb2 as messages
from server.admission.queues import queue_bytes_max
from server.admission.waiting_line import Standing
from server.application.gateway import NotDone, Phase
from server.transport.calls import Call, Methods
from server.transport.ledger_view import LedgerView
from server.transport.place_tokens import PlaceToken
from server.transport.turns import Line, Place, Turns
from server.transport.validation import Checker

_TOKENS_MAX: Final = 1_000
_STREAMS_MAX: Final = 1_000
_FULL_RETRY_MS: Final = 1_000

_STATES: Final = {
    Standing.WAITING: messages.QUEUE_PLACE_STATE_WAITING,
    Standing.CALLED: messages.QUEUE_PLACE_STATE_CALLED,
    Standing.PASSED: messages.QUEUE_PLACE_STATE_PASSED,
}


class QueueService:
    """The handlers of the service. Nothing here writes into the ledger."""

    def __init__(self, view: LedgerView, turns: Turns) -> None:
        self._view = view
        self._turns = turns

    def register(self, methods: Methods) -> None:
        """Offer every method."""
        methods.unary("JoinQueue", messages.JoinQueueRequest, self.join)
        methods.unary("GetPlace", messages.GetPlaceRequest, self.get)
        methods.unary("BatchGetPlaces", messages.BatchGetPlacesRequest, self.batch_get)
        methods.unary("LeaveQueue", messages.LeaveQueueRequest, self.leave)
        methods.server_stream("WatchPlace", messages.WatchPlaceRequest, self.watch)

    async def join(
        self, request: messages.JoinQueueRequest, call: Call
    ) -> messages.JoinQueueResponse:
        """JoinQueue."""
        check = Checker(self._view.gateway.now_ms())
        size = len(request.queue.encode("utf-8", "surrogatepass"))
        if not size:
            check.required("queue")
        elif size > queue_bytes_max:
            check.beyond("queue", f"{size} bytes", "queue_bytes_max", queue_bytes_max)
        check.identifier("owner", request.owner, "owner_bytes_max", required=True)
        check.refuse()
        line = self._turns.line(request.queue)
        place = self._turns.join(line, request.owner)
        return messages.JoinQueueResponse(
            place=self._shown(line, place), revision=self._view.state.revision
        )

    async def get(self, request: messages.GetPlaceRequest, call: Call) -> messages.GetPlaceResponse:
        """GetPlace."""
        line, token = self._find(request.place_token)
        place = self._turns.look(line, token)
        shown, revision = self._shown(line, place), self._view.state.revision
        if place.is_used:
            await self._view.gateway.durable()
        return messages.GetPlaceResponse(place=shown, revision=revision)

    async def batch_get(
        self, request: messages.BatchGetPlacesRequest, call: Call
    ) -> messages.BatchGetPlacesResponse:
        """BatchGetPlaces."""
        check = Checker(self._view.gateway.now_ms())
        count = len(request.place_tokens)
        if not count:
            check.required("place_tokens")
        elif count > _TOKENS_MAX:
            check.beyond("place_tokens", count, "place_tokens_max", _TOKENS_MAX)
        check.refuse()
        tokens = [
            self._turns.read_token(check, f"place_tokens[{index}]", text)
            for index, text in enumerate(request.place_tokens)
        ]
        check.refuse()
        asked = [(self._turns.line(token.queue), token) for token in tokens if token]
        shown = [self._shown(line, self._turns.look(line, token)) for line, token in asked]
        revision = self._view.state.revision
        if any(place.state == messages.QUEUE_PLACE_STATE_USED for place in shown):
            await self._view.gateway.durable()
        return messages.BatchGetPlacesResponse(places=shown, revision=revision)

    async def leave(
        self, request: messages.LeaveQueueRequest, call: Call
    ) -> messages.LeaveQueueResponse:
        """LeaveQueue."""
        line, token = self._find(request.place_token)
        is_used = self._turns.leave(line, token)
        shown = self._named(token)
        shown.state = (
            messages.QUEUE_PLACE_STATE_USED if is_used else messages.QUEUE_PLACE_STATE_PASSED
        )
        revision = self._view.state.revision
        await self._view.gateway.durable()
        return messages.LeaveQueueResponse(place=shown, revision=revision)

    async def watch(self, request: messages.WatchPlaceRequest, call: Call) -> AsyncIterator[bytes]:
        """WatchPlace. Ends with the place, the caller or the server."""
        line, token = self._find(request.place_token)
        if line.streams >= _STREAMS_MAX:
            limit = f"place_streams_max = {_STREAMS_MAX} is reached"
            raise NotDone.overloaded(limit, _FULL_RETRY_MS)
        gateway = self._view.gateway
        line.streams += 1
        try:
            with self._turns.watching(line, token.key) as changed:
                stop = gateway.on_drain(changed.set)
                try:
                    while True:
                        place = self._turns.look(line, token)
                        changed.clear()
                        yield await self._message(line, place)
                        if place.is_used or place.seen.standing is Standing.PASSED:
                            return
                        token = place.token
                        wait_ms = place.poll_ms or place.seen.turn_end_ms - gateway.now_ms()
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(max(1, wait_ms) / 1e3):
                                await changed.wait()
                        if gateway.phase is not Phase.SERVING:
                            raise gateway.draining()
                finally:
                    stop()
        finally:
            line.streams -= 1

    async def _message(self, line: Line, place: Place) -> bytes:
        shown, revision = self._shown(line, place), self._view.state.revision
        if place.is_used:
            await self._view.gateway.durable()
        reply = messages.WatchPlaceResponse(place=shown, revision=revision)
        return reply.SerializeToString(deterministic=True)

    def _find(self, text: str) -> tuple[Line, PlaceToken]:
        """The place of a token. Raises Refused."""
        check = Checker(self._view.gateway.now_ms())
        token = self._turns.read_token(check, "place_token", text)
        check.refuse()
        assert token is not None
        return self._turns.line(token.queue), token

    def _named(self, token: PlaceToken) -> messages.QueuePlace:
        tokens = self._turns.tokens()
        return messages.QueuePlace(
            queue=token.queue,
            owner=token.owner,
            place_token=tokens.write(token),
            reservation_id=tokens.reservation_id(token.queue, token.key),
        )

    def _shown(self, line: Line, place: Place) -> messages.QueuePlace:
        shown = self._named(place.token)
        if place.is_used:
            shown.state = messages.QUEUE_PLACE_STATE_USED
            return shown
        shown.state = _STATES[place.seen.standing]
        if place.seen.standing is Standing.WAITING:
            shown.places_ahead = place.seen.ahead
            shown.poll_after.FromMilliseconds(place.poll_ms)
            shown.abandoned_after.FromMilliseconds(line.queue.line.abandoned_ms)
            if place.expected_ms is not None:
                shown.expected_wait.FromMilliseconds(place.expected_ms)
        elif place.seen.standing is Standing.CALLED:
            shown.turn_end_time.FromMilliseconds(place.seen.turn_end_ms)
        return shown
