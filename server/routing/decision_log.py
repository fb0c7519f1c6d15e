"""Which decisions the ledger keeps: found by request and by reservation, the oldest to go first.

The decisions themselves are documents of the ledger, so they are journaled with the holds they led
to. This is only their index; it is read anew when the state is another one.
"""

from __future__ import annotations

from collections import OrderedDict

from engine.state import State
from server.documents import ROUTING_DECISION
from server.routing.decisions import Decision, index_of


class DecisionLog:
    """The index of the kept decisions."""

    def __init__(self, most: int) -> None:
        """`most`: decisions kept."""
        self.most = most
        self._read_from: tuple[State, int] | None = None
        self._by_request: dict[tuple[int, int], str] = {}
        self._numbers: dict[str, dict[int, bool]] = {}
        """Of each reservation: its decisions, and whether each has a plan."""
        self._kept: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Request of each kept decision, the oldest first. A plain dict would be slow to say
        which comes first once many of the first have gone."""

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def refresh(self, state: State, documents_version: int) -> None:
        """Index this state's decisions. O(decisions) once a state, else O(1)."""
        if self._read_from == (state, documents_version):
            return
        self._read_from = (state, documents_version)
        self._by_request, self._numbers, self._kept = {}, {}, OrderedDict()
        found = []
        for (kind, name), (body, _) in list(state.documents.items()):
            if kind == ROUTING_DECISION:
                found.append((index_of(body), name))
        for (_, request, has_plan), name in sorted(found):
            self.added(name, request, has_plan)

    def added(self, name: str, request: tuple[int, int], has_plan: bool) -> None:
        """A decision was put, or put anew."""
        reservation_id, number = _parts(name)
        if request != (0, 0):
            self._by_request[request] = name
        self._numbers.setdefault(reservation_id, {})[number] = has_plan
        self._kept.setdefault(name, request)

    def removed(self, name: str) -> None:
        """A decision was deleted."""
        request = self._kept.pop(name, (0, 0))
        if self._by_request.get(request) == name:
            del self._by_request[request]
        reservation_id, number = _parts(name)
        numbers = self._numbers.get(reservation_id, {})
        numbers.pop(number, None)
        if not numbers:
            self._numbers.pop(reservation_id, None)

    def beyond(self, coming: int) -> list[str]:
        """Names of the oldest, which must go when so many more come."""
        excess = len(self._kept) + coming - self.most
        names = iter(self._kept)
        return [next(names) for _ in range(min(excess, len(self._kept)))] if excess > 0 else []

    def has_request(self, request: tuple[int, int]) -> bool:
        """Whether a decision of this request is kept."""
        return request in self._by_request

    def by_request(self, state: State, request: tuple[int, int]) -> tuple[str, Decision] | None:
        """The decision of a request, and its name."""
        name = self._by_request.get(request) if request != (0, 0) else None
        return None if name is None else self._read(state, name)

    def latest(self, state: State, reservation_id: str) -> tuple[str, Decision] | None:
        """The newest decision with a plan about a reservation, and its name."""
        numbers = self._numbers.get(reservation_id, {})
        planned = [number for number, has_plan in numbers.items() if has_plan]
        return self._read(state, name_of(reservation_id, max(planned))) if planned else None

    def reservations(self) -> list[str]:
        """Reservations that a decision with a plan is kept about, sorted."""
        return sorted(name for name, numbers in self._numbers.items() if any(numbers.values()))

    def next_name(self, reservation_id: str) -> str:
        """For one more decision about a reservation."""
        return name_of(reservation_id, max(self._numbers.get(reservation_id, {}), default=-1) + 1)

    def _read(self, state: State, name: str) -> tuple[str, Decision] | None:
        document = state.documents.get((ROUTING_DECISION, name))
        return None if document is None else (name, Decision.from_bytes(document[0]))


def name_of(reservation_id: str, number: int) -> str:
    """Name of a reservation's decision of this number, from 0."""
    return f"{reservation_id}\0{number}"


def _parts(name: str) -> tuple[str, int]:
    reservation_id, _, number = name.rpartition("\0")
    return reservation_id, int(number)
