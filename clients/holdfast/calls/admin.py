"""Calls of AdminService, under a scope of its own."""

from __future__ import annotations

from typing import Any

from holdfast.calls.call import Call, Method, request_id_of, timeout_s
from holdfast.codec import read
from holdfast.times import Span, to_duration
from holdfast.v1 import admin_service_pb2 as wire
from holdfast.values.admin import DrainStarted, Snapshots, Status
from holdfast.values.network import FrozenNode, Node

_SERVICE = "AdminService"
GET_STATUS = Method(_SERVICE, "GetStatus", wire.GetStatusResponse, slow=True)
CREATE_SNAPSHOT = Method(_SERVICE, "CreateSnapshot", wire.CreateSnapshotResponse, slow=True)
FREEZE = Method(_SERVICE, "FreezeNode", wire.FreezeNodeResponse)
UNFREEZE = Method(_SERVICE, "UnfreezeNode", wire.UnfreezeNodeResponse)
DRAIN = Method(_SERVICE, "Drain", wire.DrainResponse)


def status(*, include_state_hash: bool = False, timeout: Span | None = None) -> Call[Status]:
    """The state of shards, journal and limits; the state hash reads the whole ledger."""
    request = wire.GetStatusRequest(include_state_hash=include_state_hash)
    return Call(
        GET_STATUS, request, lambda reply: read(Status, reply), timeout_s(timeout), is_read=True
    )


def create_snapshot(
    *, shard: int | None = None, request_id: str | None = None, timeout: Span | None = None
) -> Call[Snapshots]:
    """Write a snapshot now, of one shard or of all."""
    request = wire.CreateSnapshotRequest(request_id=request_id_of(request_id))
    if shard is not None:
        request.shard = shard
    return Call(
        CREATE_SNAPSHOT,
        request,
        lambda reply: read(Snapshots, reply),
        timeout_s(timeout),
        request.request_id,
    )


def freeze_node(
    node: str, *, reason: str = "", request_id: str | None = None, timeout: Span | None = None
) -> Call[FrozenNode]:
    """Stop new holds at `node`; what is promised there may still be shipped or moved."""
    request = wire.FreezeNodeRequest(request_id=request_id_of(request_id), node=node, reason=reason)
    return Call(
        FREEZE,
        request,
        lambda reply: read(FrozenNode, reply),
        timeout_s(timeout),
        request.request_id,
    )


def unfreeze_node(
    node: str, *, request_id: str | None = None, timeout: Span | None = None
) -> Call[Node]:
    """Let a frozen node take new holds again."""
    request = wire.UnfreezeNodeRequest(request_id=request_id_of(request_id), node=node)
    return Call(UNFREEZE, request, _node, timeout_s(timeout), request.request_id)


def drain(
    *, grace: Span | None = None, request_id: str | None = None, timeout: Span | None = None
) -> Call[DrainStarted]:
    """Let the server answer what is under way, for `grace` seconds at most, and stop."""
    request = wire.DrainRequest(request_id=request_id_of(request_id))
    if grace is not None:
        request.grace.CopyFrom(to_duration(grace))
    return Call(
        DRAIN,
        request,
        lambda reply: read(DrainStarted, reply),
        timeout_s(timeout),
        request.request_id,
    )


def _node(reply: Any) -> Node:
    return read(Node, reply.node)
