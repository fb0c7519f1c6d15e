"""Sends a feed, a few chunks ahead of their acknowledgements."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import grpc

from holdfast.calls.feed import INGEST, ChunkResult, Feed, FeedChunk
from holdfast.failures import STREAM_ENDED
from holdfast.sync.failing import failure_of
from holdfast.values.inventory import ShortfallPolicy

if TYPE_CHECKING:
    from holdfast.sync.client import Client


def ingest(
    client: Client,
    feed_id: str,
    chunks: Iterable[FeedChunk],
    shortfall_policy: ShortfallPolicy,
    window: int,
) -> Iterator[ChunkResult]:
    """See `Client.ingest`."""
    feed = Feed(feed_id, shortfall_policy)
    attempts = client._settings.stream_attempts()
    rest: Iterator[FeedChunk] | None = None  # None: the server was not asked yet
    while True:
        attempts.begin()
        failure = STREAM_ENDED
        outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        way = client._open("stream_stream", INGEST)
        stream = way.call(iter(outbox.get, None), metadata=client._settings.metadata)
        try:
            for message in feed.unanswered():
                outbox.put(message)
            if rest is None:
                outbox.put(feed.question())
                rest = itertools.islice(chunks, feed.resume(next(stream)), None)
                attempts.renew()
            while True:
                for chunk in itertools.islice(rest, window - len(feed)):
                    outbox.put(feed.send(chunk))
                if not len(feed):
                    return
                result = feed.take(next(stream))
                attempts.renew()
                yield result
        except StopIteration:
            pass  # the server ended the stream
        except grpc.RpcError as error:
            failure = failure_of(error)
        finally:
            outbox.put(None)
            stream.cancel()
        client._sleep(client._failed(attempts, failure, way.target))
