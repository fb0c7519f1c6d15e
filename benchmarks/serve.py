"""The server as it is, and beside its services one empty call: ``python -m benchmarks.serve``.

``/benchmarks.Empty/Reply`` gives as many bytes as a message's first two say and does nothing else.
It lives on the same gRPC server, in the same process and event loop, and as many hands take it in
as take creates in (`server.transport.hands`), so that what a real call costs over it is what our
own code costs. The server ends when its standard input does: with whoever started it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, Final

import grpc

EMPTY: Final = "/benchmarks.Empty/Reply"
_CREATE = "/holdfast.v1.ReservationService/CreateReservation"
_ZEROS = bytes(1 << 16)


def empty_message(message_bytes: int, reply_bytes: int) -> bytes:
    """A message of that size that asks for a reply of that size; at least 2 and at most 65,535."""
    return reply_bytes.to_bytes(2, "little") + bytes(message_bytes - 2)


async def _empty(raw: bytes, context: Any) -> bytes:
    return _ZEROS[: raw[0] | raw[1] << 8]


def _end_with_parent() -> None:
    # Not through `sys.stdin`: its lock would be held when the interpreter ends.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    """Serve; `arguments` are those of ``holdfast serve``."""
    from server.__main__ import main as serve
    from server.transport import server
    from server.transport.hands import HANDS

    threading.Thread(target=_end_with_parent, daemon=True).start()
    usual_hands = server.Hands
    HANDS[EMPTY] = HANDS[_CREATE]

    def hands_for_empty_calls_too(
        served: grpc.aio.Server, handlers: server.Handlers, **rest: Any
    ) -> server.Hands:
        empty = grpc.unary_unary_rpc_method_handler(_empty)
        return usual_hands(served, {**handlers, EMPTY: empty}, **rest)

    server.Hands = hands_for_empty_calls_too  # type: ignore[misc,assignment]
    return serve(arguments, program="python -m benchmarks.serve")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
