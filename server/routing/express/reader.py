"""A usual order, read from a request's bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.caller import Caller
from server.routing.decisions import Key
from server.routing.kernels.reading import (
    CHANNEL,
    DESTINATION,
    FIRST_LINE,
    LINE,
    QUANTITY,
    REQUEST_KEY,
    SKU_AT,
    SKU_BYTES,
    SPANS,
    read_request,
)


class UsualOrder(NamedTuple):
    """What a request of the usual kind says. Names are printable ASCII within their limits."""

    raw: bytes
    """The request."""
    buffer: NDArray[np.uint8]
    """The same bytes."""
    spans: NDArray[np.int64]
    """Where everything stands in it: see `server.routing.kernels.reading`."""
    places: list[int]
    """The same numbers."""
    destination: bytes
    """The Place's bytes."""
    channel: bytes
    skus: list[bytes]
    quantities: list[int]

    def part(self, place: int) -> bytes:
        """The bytes of a part of the request, by its place in `spans`."""
        start = self.places[place]
        return self.raw[start : start + self.places[place + 1]]

    def key(self) -> Key:
        """What the decision about a promise is found by."""
        high, low, *rest = self.spans.view(np.uint64)[REQUEST_KEY:FIRST_LINE].tolist()
        return Key((high, low), (rest[0], rest[1]))


_NOBODY = Caller(b"")


def read_order(raw: bytes, promised_to: Caller | None = None) -> UsualOrder | None:
    """None where the request is not a usual one. `promised_to`: whose PromiseOrder it is; None: it
    is a PlanFulfillment."""
    if not raw:
        return None
    spans = np.empty(SPANS, np.int64)
    buffer = np.frombuffer(raw, np.uint8)
    caller = promised_to or _NOBODY
    lines = read_request(buffer, promised_to is not None, caller.buffer, caller.size, spans)
    if lines < 0:
        return None
    at = spans[: FIRST_LINE + lines * LINE].tolist()
    to, channel = at[DESTINATION], at[CHANNEL]
    rows = range(FIRST_LINE, len(at), LINE)
    return UsualOrder(
        raw,
        buffer,
        spans,
        at,
        raw[to : to + at[DESTINATION + 1]],
        raw[channel : channel + at[CHANNEL + 1]],
        [raw[at[row + SKU_AT] : at[row + SKU_AT] + at[row + SKU_BYTES]] for row in rows],
        [at[row + QUANTITY] for row in rows],
    )
