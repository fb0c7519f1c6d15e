"""The server as it is, and beside its services one empty call: ``python -m benchmarks.serve``.

``/benchmarks.Empty/Reply312`` answers any message with 312 bytes and does nothing else. It lives on
the same gRPC server, in the same process and event loop, so that what a real call costs over it is
what our own code costs. The server ends when its standard input does: with whoever started it.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import grpc

_PREFIX = "/benchmarks.Empty/"
_METHOD = re.compile(r"/benchmarks\.Empty/Reply(\d+)")


def empty_method(reply_bytes: int) -> str:
    """The path of the empty call whose reply has that many bytes."""
    return f"/benchmarks.Empty/Reply{reply_bytes}"


class _EmptyCalls(grpc.GenericRpcHandler):
    """Finds the empty call of any size by its path."""

    def __init__(self) -> None:
        self._handlers: dict[str, Any] = {}

    def service(self, handler_call_details: Any) -> Any:
        """The handler of an empty call; None for every other method."""
        path = handler_call_details.method
        if not path.startswith(_PREFIX):  # asked first of every call: real ones pass at once
            return None
        if path not in self._handlers:
            found = _METHOD.fullmatch(path)
            if found is None:
                return None
            self._handlers[path] = _handler(int(found[1]))
        return self._handlers[path]


def _handler(reply_bytes: int) -> Any:
    reply = bytes(reply_bytes)

    async def empty(raw: bytes, context: Any) -> bytes:
        return reply

    return grpc.unary_unary_rpc_method_handler(empty)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    """Serve; `arguments` are those of ``holdfast serve``."""
    from server.__main__ import main as serve

    threading.Thread(target=_end_with_parent, daemon=True).start()
    make_server = grpc.aio.server

    def make_server_with_empty_calls(*given: Any, **named: Any) -> grpc.aio.Server:
        made = make_server(*given, **named)
        made.add_generic_rpc_handlers((_EmptyCalls(),))
        return made

    grpc.aio.server = make_server_with_empty_calls
    return serve(arguments, program="python -m benchmarks.serve")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
