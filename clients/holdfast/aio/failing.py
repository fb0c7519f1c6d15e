"""Reads the errors of gRPC's asyncio calls."""

from __future__ import annotations

import grpc
from grpc import aio

from holdfast.failures import Failure, from_rpc

# When a stream ends while a request is being written, grpc.aio may put this in the place of the
# status the server sent (https://github.com/grpc/grpc/issues/36066). What was meant is not known
# then; asking again, under the same request_id, tells.
_OVERWRITTEN = "Internal error from Core"
STATUS_LOST = Failure(grpc.StatusCode.UNAVAILABLE, "the stream ended and its status was lost")


def failure_of(error: grpc.RpcError) -> Failure:
    """What `error`, raised by an asyncio call or stream, says."""
    if not isinstance(error, aio.AioRpcError):
        return Failure(grpc.StatusCode.UNKNOWN, str(error))
    if error.code() is grpc.StatusCode.INTERNAL and error.details() == _OVERWRITTEN:
        return STATUS_LOST
    return from_rpc(error.code(), error.details(), error.trailing_metadata() or ())
