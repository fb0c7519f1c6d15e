"""Reads the errors of gRPC's asyncio calls."""

from __future__ import annotations

import grpc
from grpc import aio

from holdfast.failures import Failure, from_rpc


def failure_of(error: grpc.RpcError) -> Failure:
    """What `error`, raised by an asyncio call or stream, says."""
    if not isinstance(error, aio.AioRpcError):
        return Failure(grpc.StatusCode.UNKNOWN, str(error))
    return from_rpc(error.code(), error.details(), error.trailing_metadata() or ())
