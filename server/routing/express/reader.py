"""A usual order, read from a request's bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from server.routing.kernels.reading import (
    CHANNEL,
    DESTINATION,
    FIRST_LINE,
    LINE,
    ORDER,
    OWNER,
    QUANTITY,
    REQUEST_ID,
    RESERVATION_ID,
    SKU_AT,
    SKU_BYTES,
    SPANS,
    TTL,
    read_request,
)


class UsualOrder(NamedTuple):
    """What a request of the usual kind says. Names are printable ASCII within their limits."""

    request_id: bytes
    ttl: bytes
    """The Duration's bytes."""
    order: bytes
    """The RoutingOrder's bytes."""
    reservation_id: bytes
    owner: bytes
    channel: bytes
    destination: bytes
    """The Place's bytes."""
    skus: list[bytes]
    quantities: list[int]


class Reader:
    """Reads one request after another."""

    def __init__(self) -> None:
        self._spans = np.zeros(SPANS, np.int64)

    def read(self, raw: bytes, *, is_promise: bool) -> UsualOrder | None:
        """None where the request is not a usual one."""
        if not raw:
            return None
        lines = read_request(np.frombuffer(raw, np.uint8), is_promise, self._spans)
        if lines < 0:
            return None
        spans = self._spans[: FIRST_LINE + lines * LINE].tolist()

        def part(place: int) -> bytes:
            start = spans[place]
            return raw[start : start + spans[place + 1]]

        rows = range(FIRST_LINE, len(spans), LINE)
        return UsualOrder(
            part(REQUEST_ID),
            part(TTL),
            part(ORDER),
            part(RESERVATION_ID),
            part(OWNER),
            part(CHANNEL),
            part(DESTINATION),
            [raw[spans[at + SKU_AT] : spans[at + SKU_AT] + spans[at + SKU_BYTES]] for at in rows],
            [spans[at + QUANTITY] for at in rows],
        )
