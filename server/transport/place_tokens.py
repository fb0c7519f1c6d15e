"""What a place in a queue is known by: its number, its owner and its turn, signed.

A token is enough by itself: a server that was restarted, or another one with the same secret and
the same ledger, reads from it which place it is and until when its turn lasts. Nobody can make one,
or a better one of their own.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

place_token_bytes_max: Final = 256
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BqqBB")  # version, key, end of the turn, bytes of queue and owner
_MAC_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class PlaceToken:
    """What a token says."""

    queue: str
    owner: str
    key: int
    turn_end_ms: int
    """Until when its turn lasts; 0: it had not come when the token was made."""


class PlaceTokens:
    """Makes and reads tokens of one ledger."""

    def __init__(self, secret: bytes, ledger_id: str) -> None:
        self._key = blake2b(ledger_id.encode(), key=secret[:64], digest_size=32).digest()

    def write(self, token: PlaceToken) -> str:
        """The token's text."""
        queue, owner = token.queue.encode(), token.owner.encode()
        head = _HEAD.pack(_VERSION, token.key, token.turn_end_ms, len(queue), len(owner))
        body = head + queue + owner
        return base64.urlsafe_b64encode(body + self._mac(body, b"place")).decode().rstrip("=")

    def read(self, text: str) -> PlaceToken | None:
        """What a token says; None where it was not made here."""
        if len(text) > place_token_bytes_max or not text.isascii():
            return None
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(body) < _HEAD.size or not hmac.compare_digest(mac, self._mac(body, b"place")):
            return None
        version, key, turn_end_ms, queue_bytes, owner_bytes = _HEAD.unpack_from(body)
        names = body[_HEAD.size :]
        if version != _VERSION or len(names) != queue_bytes + owner_bytes:
            return None
        return PlaceToken(
            names[:queue_bytes].decode(), names[queue_bytes:].decode(), key, turn_end_ms
        )

    def reservation_id(self, queue: str, key: int) -> str:
        """The name of the one reservation that a place makes: nobody else can guess it, and the
        ledger makes it once."""
        body = struct.pack(">q", key) + queue.encode()
        return f"turn-{self._mac(body, b'reservation').hex()}"

    def _mac(self, body: bytes, purpose: bytes) -> bytes:
        return blake2b(body, key=self._key, digest_size=_MAC_BYTES, person=purpose).digest()
