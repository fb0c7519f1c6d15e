"""Who calls: the name that request ids, the audit and (later) quotas go by.

Over mTLS it is the certificate's SPIFFE id, else its first DNS name, else its common name. Over
plaintext and one-sided TLS everyone is the same nameless caller.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from engine.hashing import wide_key_of
from server.caller import Caller

if TYPE_CHECKING:
    import grpc

# header.actor_bytes is one byte; a longer name is kept as its key.
_CALLER_BYTES_MAX = 128
_CACHED_MAX = 10_000

NOBODY = Caller(b"")
_callers: OrderedDict[bytes, Caller] = OrderedDict()


def caller_of(context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
    """The caller behind this call."""
    identities = context.peer_identities()
    if not identities:
        return NOBODY
    key: str = context.peer_identity_key() or ""
    auth = context.auth_context()
    spiffe = auth.get("peer_spiffe_id")
    name = bytes(next(iter(spiffe))) if spiffe else bytes(next(iter(identities)))
    if not spiffe and key != "x509_common_name" and auth.get("x509_common_name"):
        name = name or bytes(next(iter(auth["x509_common_name"])))
    return _known(name)


def nobody(_: grpc.aio.ServicerContext[Any, Any]) -> Caller:
    """The caller over plaintext: there is nothing to look at."""
    return NOBODY


def _known(name: bytes) -> Caller:
    found = _callers.get(name)
    if found is None:
        short = name
        if len(name) > _CALLER_BYTES_MAX:
            short = b"%016x%016x" % wide_key_of(name)
        found = Caller(short)
        if len(_callers) >= _CACHED_MAX:
            _callers.popitem(last=False)
        _callers[name] = found
    return found
