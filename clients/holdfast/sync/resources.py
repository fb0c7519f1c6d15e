"""One kind of resource of the network: ``client.nodes``, ``client.items``, ..."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from holdfast.binding import Waits
from holdfast.calls.network import Kind
from holdfast.times import Span
from holdfast.values.network import BatchUpsert

ResourceT = TypeVar("ResourceT")


class Resources(Generic[ResourceT]):
    """Create, read, list and delete resources of one kind."""

    def __init__(self, client: Waits, kind: Kind[ResourceT]) -> None:
        self._client = client
        self._kind = kind

    def upsert(
        self, resource: ResourceT, *, request_id: str | None = None, timeout: Span | None = None
    ) -> ResourceT:
        """Create or replace one; returns it as it is now. Raises EtagMismatch, InvalidRequest."""
        return self._client._wait(self._kind.upsert(resource, request_id, timeout))

    def upsert_all(
        self,
        resources: Iterable[ResourceT],
        *,
        request_id: str | None = None,
        timeout: Span | None = None,
    ) -> BatchUpsert:
        """Create or replace up to 10,000 nodes or items; good rows land, bad ones are reported."""
        return self._client._wait(self._kind.upsert_all(resources, request_id, timeout))

    def get(self, name: str, *, timeout: Span | None = None) -> ResourceT:
        """Read one. Raises NotFound."""
        return self._client._wait(self._kind.get(name, timeout))

    def list(self, *, page_size: int = 0, timeout: Span | None = None) -> Iterator[ResourceT]:
        """Go through all, in the order they were made."""
        return self._client._iterate(self._kind.list(page_size, timeout))

    def delete(
        self, name: str, *, request_id: str | None = None, timeout: Span | None = None
    ) -> int:
        """Delete one; returns the revision that did. Raises NotFound, ResourceInUse."""
        return self._client._wait(self._kind.delete(name, request_id, timeout))
