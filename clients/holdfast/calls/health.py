"""The standard health check, grpc.health.v1."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from holdfast.calls.call import Call, Method, timeout_s
from holdfast.codec import WireEnum
from holdfast.errors import NotServing
from holdfast.times import Span

CHECK = Method("grpc.health.v1.Health", "Check", health_pb2.HealthCheckResponse)


class Health(WireEnum):
    """What a server says of itself."""

    UNKNOWN = "UNKNOWN"
    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    SERVICE_UNKNOWN = "SERVICE_UNKNOWN"


def health(service: str = "", *, timeout: Span | None = None) -> Call[Health]:
    """Whether the server serves; of one `service`, or as a whole. Raises NotFound, Unavailable."""
    request = health_pb2.HealthCheckRequest(service=service)
    return Call(CHECK, request, _health, timeout_s(timeout), is_read=True)


def serving(service: str = "") -> Call[None]:
    """Nothing, once the server serves. Raises NotServing while it does not."""
    request = health_pb2.HealthCheckRequest(service=service)
    return Call(CHECK, request, _serving, 1.0, is_read=True)


def _serving(reply: health_pb2.HealthCheckResponse) -> None:
    answer = _health(reply)
    if answer is not Health.SERVING:
        raise NotServing(f"the server answers {answer}")


def _health(reply: health_pb2.HealthCheckResponse) -> Health:
    return Health(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))
