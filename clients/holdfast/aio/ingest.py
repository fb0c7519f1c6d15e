"""Sends a feed, a few chunks ahead of their acknowledgements, for asyncio."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from holdfast.aio.failing import failure_of
from holdfast.calls.feed import INGEST, ChunkResult, Feed, FeedChunk
from holdfast.failures import STREAM_ENDED
from holdfast.values.inventory import ShortfallPolicy

if TYPE_CHECKING:
    from holdfast.aio.client import Client


async def ingest(
    client: Client,
    feed_id: str,
    chunks: Iterable[FeedChunk],
    shortfall_policy: ShortfallPolicy,
    window: int,
) -> AsyncIterator[ChunkResult]:
    """See `Client.ingest`."""
    feed = Feed(feed_id, shortfall_policy)
    attempts = client._settings.stream_attempts()
    rest: Iterator[FeedChunk] | None = None  # None: the server was not asked yet
    while True:
        attempts.begin()
        failure = STREAM_ENDED
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        way = client._open("stream_stream", INGEST)
        stream = way.call(_messages(outbox), metadata=client._settings.metadata)
        try:
            for message in feed.unanswered():
                outbox.put_nowait(message)
            if rest is None:
                outbox.put_nowait(feed.question())
                rest = itertools.islice(chunks, feed.resume(await _next(stream)), None)
                attempts.renew()
            while True:
                for chunk in itertools.islice(rest, window - len(feed)):
                    outbox.put_nowait(feed.send(chunk))
                if not len(feed):
                    return
                result = feed.take(await _next(stream))
                attempts.renew()
                yield result
        except EOFError:
            pass  # the server ended the stream
        except grpc.RpcError as error:
            failure = failure_of(error)
        finally:
            stream.cancel()
        await client._sleep(client._failed(attempts, failure, way.target))


async def _next(stream: Any) -> Any:
    message = await stream.read()
    if message is aio.EOF:
        raise EOFError
    return message


async def _messages(outbox: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while True:
        yield await outbox.get()
