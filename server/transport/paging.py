"""Pages of lists: sizes and tokens.

A token is opaque to callers: the query it belongs to (as a digest) and the place to go on at. One
of another query is refused with FIELD_INVALID. Places are row numbers or revisions, which stay
true while the ledger changes: a page never repeats a row of the page before.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from engine import limits
from server.transport.validation import Checker

_TOKEN = struct.Struct(">8sq")
# Rows of one page, however many are asked for: nothing else is done while a page is written, and a
# row takes some 10 us. With a thousand every hold beside a list waited 15 ms for it.
_ROWS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Page:
    """What page of which query is asked for."""

    size: int
    after: int
    """Place to go on at; 0: the beginning."""
    digest: bytes

    def token(self, after: int) -> str:
        """Token of the page that goes on at `after`; "" for -1."""
        if after < 0:
            return ""
        return base64.urlsafe_b64encode(_TOKEN.pack(self.digest, after)).decode().rstrip("=")


def page_of(check: Checker, request: Any) -> Page:
    """The page a list request asks for; violations go to `check`."""
    size = request.page_size
    if size < 0:
        check.invalid("page_size", size, "is negative")
    size = min(size, _ROWS_AT_ONCE) if size > 0 else limits.page_size_default
    query = type(request)()
    query.CopyFrom(request)
    query.ClearField("page_size")
    query.ClearField("page_token")
    name = type(request).DESCRIPTOR.full_name.encode()
    digest = blake2b(
        query.SerializeToString(deterministic=True), digest_size=8, key=name[-64:]
    ).digest()
    after = 0
    if request.page_token:
        after = _place(check, request.page_token, digest)
    return Page(size, after, digest)


def _place(check: Checker, token: str, digest: bytes) -> int:
    size = len(token.encode("utf-8", "surrogatepass"))
    if size > limits.page_token_bytes_max:
        check.beyond(
            "page_token", f"{size} bytes", "page_token_bytes_max", limits.page_token_bytes_max
        )
        return 0
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        owner, after = _TOKEN.unpack(raw)
    except (ValueError, binascii.Error, struct.error):
        check.invalid("page_token", token, "is no token of this server")
        return 0
    if owner != digest:
        check.invalid("page_token", token, "belongs to another query")
    elif after < 0:
        check.invalid("page_token", token, "is no token of this server")
    return int(after)
