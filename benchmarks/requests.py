"""Requests ready as bytes, each with a request id of its own.

A message is written by protobuf once; for the next one only the digits of its request ids change.
They all have the same number, so nothing else does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.catalogue import Catalogue
from benchmarks.names import numbered_texts
from benchmarks.orders import LINES, Orders
from holdfast.v1 import reservation_service_pb2 as wire

CREATE = "/holdfast.v1.ReservationService/CreateReservation"
BULK_CREATE = "/holdfast.v1.ReservationService/BulkCreateReservations"
_ID_PREFIX = "checkout-7f3a9c52-"  # 36 characters with its digits, as a UUID has
_ID_DIGITS = 18
_TTL_S = 3600


class Requests:
    """Makes creates of three lines; no two have the same request id."""

    def __init__(self, shop: Catalogue, *, seed: int = 1, hot: int = 0) -> None:
        """`hot`: the first line of every order is one of that many positions; 0: any."""
        self._shop = shop
        self._orders = Orders(shop, seed=seed, hot=hot)
        self._next = seed * 10**12

    def creates(self, count: int) -> list[bytes]:
        """CreateReservationRequests."""
        return [request.SerializeToString() for request in self._messages(count)]

    def bulks(self, count: int, rows: int, *, alike: int = 16) -> list[bytes]:
        """BulkCreateReservationsRequests of `rows` each; `alike` have different lines."""
        made: list[bytes] = []
        patterns: list[_Pattern] = []
        for number in range(count):
            if number < alike:
                patterns.append(_Pattern(self._messages(rows)))
            made.append(patterns[number % alike].with_ids(self._ids(rows)))
        return made

    def _ids(self, count: int) -> NDArray[np.uint8]:
        ids = numbered_texts(_ID_PREFIX, count, digits=_ID_DIGITS, first=self._next)
        self._next += count
        return ids

    def _messages(self, count: int) -> list[wire.CreateReservationRequest]:
        shop = self._shop
        nodes = len(shop.nodes)
        messages = []
        for row, (positions, name) in enumerate(
            zip(self._orders.positions(count).tolist(), self._ids(count), strict=True)
        ):
            request = wire.CreateReservationRequest(
                request_id=name.tobytes().decode(), owner=f"shopper-{row:09d}"
            )
            request.ttl.seconds = _TTL_S
            for at in positions:
                request.lines.add(
                    sku=shop.skus.text(at // nodes), node=shop.nodes.text(at % nodes), quantity=1
                )
            if len(request.lines) != LINES:
                raise RuntimeError(f"{len(request.lines)} lines")
            messages.append(request)
        return messages


class _Pattern:
    """A bulk message, and where its request ids stand."""

    def __init__(self, requests: list[wire.CreateReservationRequest]) -> None:
        message = wire.BulkCreateReservationsRequest(requests=requests).SerializeToString()
        self._buffer = np.frombuffer(message, np.uint8).copy()
        places = []
        at = 0
        for request in requests:
            at = message.index(request.request_id.encode(), at)
            places.append(at)
        id_bytes = len(_ID_PREFIX) + _ID_DIGITS
        self._places = np.array(places)[:, None] + np.arange(id_bytes)[None, :]

    def with_ids(self, ids: NDArray[np.uint8]) -> bytes:
        """The message with these request ids, shape (requests, bytes)."""
        self._buffer[self._places] = ids
        return self._buffer.tobytes()
