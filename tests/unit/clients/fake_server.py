"""A real gRPC server that gives canned answers: what clients are tested against.

Each method has a script: a list of answers, one for each call, the last one repeated. An answer
is a reply message, a `Refusal`, a `Silence`, or a function of the request that returns one of
these. Streams take their script one message at a time.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.descriptor_pool import Default
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

import holdfast.v1.admin_service_pb2
import holdfast.v1.availability_service_pb2
import holdfast.v1.inventory_service_pb2
import holdfast.v1.network_service_pb2
import holdfast.v1.reservation_service_pb2  # noqa: F401  (each registers its messages)


@dataclass(frozen=True)
class Refusal:
    """An error status, with the details a Holdfast server would send."""

    code: grpc.StatusCode
    reason: str = ""
    message: str = "refused"
    metadata: dict[str, str] = field(default_factory=dict)
    details: Sequence[Message] = ()
    retry_after_s: float | None = None
    pushback: str | None = None

    def status(self) -> status_pb2.Status:
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        details: list[Message] = list(self.details)
        if self.reason:
            details.append(
                error_details_pb2.ErrorInfo(
                    domain="holdfast", reason=self.reason, metadata=self.metadata
                )
            )
        if self.retry_after_s is not None:
            delay = Duration()
            delay.FromMilliseconds(round(self.retry_after_s * 1_000))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        for detail in details:
            packed = Packed()
            packed.Pack(detail)
            status.details.append(packed)
        return status

    def abort(self, context: grpc.ServicerContext) -> None:
        trailing: list[tuple[str, str | bytes]] = []
        if self.reason or self.details or self.retry_after_s is not None:
            trailing.append(("grpc-status-details-bin", self.status().SerializeToString()))
        if self.pushback is not None:
            trailing.append(("grpc-retry-pushback-ms", self.pushback))
        context.set_trailing_metadata(tuple(trailing))
        context.abort(self.code, self.message)


class Silence:
    """No answer until the caller gives up."""


@dataclass
class Received:
    """One call as it arrived."""

    method: str
    request: Any
    time_remaining_s: float | None


Answer = Message | Refusal | Silence
Script = Answer | Callable[[Any], Answer]


class FakeServer(grpc.GenericRpcHandler):
    """Serves on a free port of loopback; a context manager."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Script]] = {}
        self.streams: dict[str, Callable[[Iterator[Any]], Iterator[Answer]]] = {}
        self.received: list[Received] = []
        self._counts: dict[str, int] = defaultdict(int)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(32))
        self._server.add_generic_rpc_handlers((self,))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def script(self, method: str, *answers: Script) -> None:
        """The answers of a unary method, in order; the last one repeats."""
        self.scripts[method] = list(answers)

    def stream(self, method: str, answers: Callable[[Iterator[Any]], Iterator[Answer]]) -> None:
        """The answers of a streaming method: called with its requests, once for each stream."""
        self.streams[method] = answers

    def requests(self, method: str) -> list[Any]:
        """The requests of `method` so far."""
        return [each.request for each in self.received if each.method == method]

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        service, name = details.method.lstrip("/").split("/")
        method = Default().FindServiceByName(service).methods_by_name[name]
        decode = GetMessageClass(method.input_type).FromString
        if name in self.streams:
            make = (
                grpc.stream_stream_rpc_method_handler
                if method.client_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(self._streaming(name, method.client_streaming), decode, _encode)
        if name in self.scripts:
            return grpc.unary_unary_rpc_method_handler(self._unary(name), decode, _encode)
        return None

    def _unary(self, name: str) -> Callable[[Any, grpc.ServicerContext], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            with self._lock:
                self.received.append(Received(name, request, context.time_remaining()))
                turn = min(self._counts[name], len(self.scripts[name]) - 1)
                self._counts[name] += 1
            given = self.scripts[name][turn]
            return self._give(given(request) if callable(given) else given, context)

        return answer

    def _streaming(self, name: str, both: bool) -> Callable[[Any, grpc.ServicerContext], Any]:
        def noted(requests: Iterator[Any]) -> Iterator[Any]:
            for request in requests:
                with self._lock:
                    self.received.append(Received(name, request, None))
                yield request

        def answer(requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            arriving = noted(requests if both else iter([requests]))
            for given in self.streams[name](arriving):
                yield self._give(given, context)

        return answer

    def _give(self, given: Any, context: grpc.ServicerContext) -> Any:
        if isinstance(given, Refusal):
            given.abort(context)
        if isinstance(given, Silence):
            gone = threading.Event()
            if context.add_callback(gone.set):
                while not gone.wait(0.05) and not self._stopping.is_set():
                    pass
            context.abort(grpc.StatusCode.UNKNOWN, "the caller is gone")
        return given

    def __enter__(self) -> FakeServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.stop(None).wait()


def _encode(message: Message) -> bytes:
    return message.SerializeToString()
