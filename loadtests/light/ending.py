"""How a call ended, in gRPC's terms (the mapping of gRPC's PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

Metadata = Sequence[tuple[str, str | bytes]]
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_NO_ERROR, _REFUSED_STREAM, _CANCEL, _ENHANCE_YOUR_CALM = 0x0, 0x7, 0x8, 0xB


@dataclass(frozen=True, slots=True)
class Ending:
    """Code OK and a message, or another code and why."""

    code: grpc.StatusCode
    details: str = ""
    message: bytes = b""
    trailers: Metadata = ()

    @staticmethod
    def lost(why: str) -> Ending:
        """The connection is gone."""
        return Ending(grpc.StatusCode.UNAVAILABLE, why)


def of_reset(code: int, headers: Metadata) -> Ending:
    """The server reset the stream with this error code."""
    told = f"the server reset the stream with error {code}"
    if code in (_NO_ERROR, _REFUSED_STREAM):
        return Ending(grpc.StatusCode.UNAVAILABLE, told, trailers=headers)
    if code == _CANCEL:
        return Ending(grpc.StatusCode.CANCELLED, told, trailers=headers)
    if code == _ENHANCE_YOUR_CALM:
        return Ending(grpc.StatusCode.RESOURCE_EXHAUSTED, told, trailers=headers)
    return Ending(grpc.StatusCode.INTERNAL, told, trailers=headers)


def of_trailers(trailers: Metadata, headers: Metadata, body: bytes) -> Ending:
    """The stream ended in order."""
    told = dict(trailers)
    status = told.get("grpc-status")
    if status is None:
        http = dict(headers or trailers).get(":status", "?")
        return Ending(grpc.StatusCode.UNKNOWN, f"no grpc-status; HTTP status {http!r}")
    code = _CODES.get(int(status), grpc.StatusCode.UNKNOWN)
    if code is not grpc.StatusCode.OK:
        return Ending(code, str(told.get("grpc-message", "")), trailers=trailers)
    if len(body) < 5:
        return Ending(grpc.StatusCode.INTERNAL, "OK without a message", trailers=trailers)
    compressed, size = struct.unpack_from(">BI", body)
    if compressed or size != len(body) - 5:
        return Ending(grpc.StatusCode.INTERNAL, "not one uncompressed message", trailers=trailers)
    return Ending(code, "", body[5:], trailers)
