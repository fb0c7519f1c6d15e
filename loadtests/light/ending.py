"""How a call ended, in gRPC's terms (the mapping of gRPC's PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

import grpc

from loadtests.light.headers import Metadata, decoded

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_NO_ERROR, _REFUSED_STREAM, _CANCEL, _ENHANCE_YOUR_CALM = 0x0, 0x7, 0x8, 0xB
_BLOCKS_MAX = 4_096
_PREFIX = struct.Struct(">BI")


class Ending(NamedTuple):
    """Code OK and a message, or another code and why."""

    code: grpc.StatusCode
    details: str = ""
    message: bytes = b""
    trailers: Metadata = ()


LATE = Ending(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def lost(why: str) -> Ending:
    """The connection is gone."""
    return Ending(grpc.StatusCode.UNAVAILABLE, why)


def of_reset(code: int, headers: bytes) -> Ending:
    """The server reset the stream with this error code, perhaps after headers."""
    told = f"the server reset the stream with error {code}"
    trailers = decoded(headers) if headers else ()
    if code in (_NO_ERROR, _REFUSED_STREAM):
        return Ending(grpc.StatusCode.UNAVAILABLE, told, trailers=trailers)
    if code == _CANCEL:
        return Ending(grpc.StatusCode.CANCELLED, told, trailers=trailers)
    if code == _ENHANCE_YOUR_CALM:
        return Ending(grpc.StatusCode.RESOURCE_EXHAUSTED, told, trailers=trailers)
    return Ending(grpc.StatusCode.INTERNAL, told, trailers=trailers)


def of_trailers(trailers: bytes, headers: bytes, body: bytes) -> Ending:
    """The stream ended in order: with these blocks of headers and this body."""
    ending = _status(trailers, headers)
    if ending.code is not grpc.StatusCode.OK:
        return ending
    if len(body) < _PREFIX.size:
        return Ending(grpc.StatusCode.INTERNAL, "OK without a message", trailers=ending.trailers)
    compressed, size = _PREFIX.unpack_from(body)
    if compressed or size != len(body) - _PREFIX.size:
        return Ending(
            grpc.StatusCode.INTERNAL, "not one uncompressed message", trailers=ending.trailers
        )
    return Ending(grpc.StatusCode.OK, "", body[_PREFIX.size :], ending.trailers)


@lru_cache(maxsize=_BLOCKS_MAX)
def _status(trailers: bytes, headers: bytes) -> Ending:
    """What the trailers say; a server sends the same few all the time."""
    read = decoded(trailers)
    told = dict(read)
    status = told.get("grpc-status")
    if status is None:
        http = dict(decoded(headers) if headers else read).get(":status", "?")
        return Ending(grpc.StatusCode.UNKNOWN, f"no grpc-status; HTTP status {http!r}")
    code = _CODES.get(int(status), grpc.StatusCode.UNKNOWN)
    details = "" if code is grpc.StatusCode.OK else str(told.get("grpc-message", ""))
    return Ending(code, details, trailers=read)
