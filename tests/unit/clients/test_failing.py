"""Errors of gRPC itself are read for what they mean."""

from __future__ import annotations

import grpc
from grpc import aio

from holdfast.aio import failing
from holdfast.sync.failing import failure_of


def aio_error(code: grpc.StatusCode, details: str) -> aio.AioRpcError:
    return aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), details)


def test_a_status_that_grpc_overwrote_is_worth_asking_again():
    lost = failing.failure_of(aio_error(grpc.StatusCode.INTERNAL, "Internal error from Core"))
    assert lost.code is grpc.StatusCode.UNAVAILABLE
    real = failing.failure_of(aio_error(grpc.StatusCode.INTERNAL, "the ledger is not sound"))
    assert real.code is grpc.StatusCode.INTERNAL


def test_a_complaint_of_grpc_without_a_call_is_unknown():
    for read in (failure_of, failing.failure_of):
        failure = read(grpc.RpcError("channel is closed"))
        assert (failure.code, failure.message) == (grpc.StatusCode.UNKNOWN, "channel is closed")
