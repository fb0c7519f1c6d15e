"""Headers of answers: each block is read once, since a server sends the same few all the time."""

from __future__ import annotations

import base64
from functools import lru_cache
from urllib.parse import unquote

import hpack

Metadata = tuple[tuple[str, str | bytes], ...]
_BLOCKS_MAX = 4_096


@lru_cache(maxsize=_BLOCKS_MAX)
def decoded(block: bytes) -> Metadata:
    """The headers of a block that refers to no dynamic table."""
    decoder = hpack.Decoder()
    decoder.header_table_size = 0
    headers: list[tuple[str, str | bytes]] = []
    for name, value in decoder.decode(block, raw=True):
        key = name.decode("ascii")
        if key.endswith("-bin"):
            headers.append((key, _unpacked(value)))
        elif key == "grpc-message":
            headers.append((key, unquote(value.decode("ascii", "replace"))))
        else:
            headers.append((key, value.decode("ascii", "replace")))
    return tuple(headers)


def _unpacked(value: bytes) -> bytes:
    """As gRPC's true-binary metadata has it: a zero and the bytes themselves; or base64."""
    if value.startswith(b"\0"):
        return value[1:]
    return base64.b64decode(value + b"=" * (-len(value) % 4))
