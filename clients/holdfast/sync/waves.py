"""Sends a wave and waits for its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from holdfast.calls.waves import INCOMPLETE, PLAN_ORDERS, Wave
from holdfast.failures import STREAM_ENDED
from holdfast.retry import Attempts
from holdfast.sync.failing import failure_of
from holdfast.values.routing import WavePlans

if TYPE_CHECKING:
    from holdfast.sync.client import Client


def plan_orders(client: Client, wave: Wave) -> WavePlans:
    """See `Client.plan_orders`."""
    settings = client._settings
    patience_s = wave.patience_s(settings.slow_timeout_s)
    attempts = Attempts(settings.stream_patience, wave.repeatable, patience_s)
    while True:
        failure = STREAM_ENDED
        way = client._open("stream_stream", PLAN_ORDERS)
        stream = way.call(wave.requests(), timeout=attempts.begin(), metadata=settings.metadata)
        try:
            for message in stream:
                found = wave.take(message)
                if found is not None:
                    return found
            failure = INCOMPLETE
        except grpc.RpcError as error:
            failure = failure_of(error)
        finally:
            stream.cancel()
        client._sleep(client._failed(attempts, failure, way.target))
