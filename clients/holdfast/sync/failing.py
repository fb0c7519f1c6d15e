"""Reads the errors of gRPC's blocking calls."""

from __future__ import annotations

from typing import Any

import grpc

from holdfast.failures import Failure, from_rpc


def failure_of(error: grpc.RpcError) -> Failure:
    """What `error`, raised by a blocking call or stream, says."""
    call: Any = error
    if not isinstance(error, grpc.Call):  # gRPC's own complaint, such as a closed channel
        return Failure(grpc.StatusCode.UNKNOWN, str(error))
    metadata = call.trailing_metadata() or ()
    return from_rpc(call.code(), call.details(), [(item[0], item[1]) for item in metadata])
