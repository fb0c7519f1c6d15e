"""The client for asyncio: `holdfast.aio.Client`, with the methods of `holdfast.Client`."""

from holdfast.aio.client import Client
from holdfast.aio.exchange import Exchange
from holdfast.aio.watch import Watch

__all__ = ["Client", "Exchange", "Watch"]
