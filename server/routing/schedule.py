"""From now to the carrier: on which day a node picks, and which pickup its parcels make.

For each node the next days it picks on, and for each of its services the pickup each of them
makes and those that follow where it is full. That is so until a cutoff or a pickup has passed or a
day ends; then only the nodes concerned are worked out anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from engine.hashing import key_of
from engine.positions import SCOPE_CAPACITY, SCOPE_SLOT, position_key
from server.routing.calendars import DAYS_AHEAD, WorkCalendar
from server.routing.kernels.filling import UNLIMITED

Integers = NDArray[np.int64]

PICK_DAYS: Final = 3
"""Days a node may pick an order on: the next where there is capacity left."""
NEVER: Final = -1
NOT_FOUND: Final = -1

_SLOT_BYTES_MAX: Final = 64
_DAY = timedelta(days=1)
_FAR_MS: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class Call:
    """When a carrier calls: weekdays (none: the node's working days) and minute of the day; and how
    many parcels it takes."""

    weekdays: frozenset[int]
    minute: int
    capacity: int = UNLIMITED


@dataclass(frozen=True, slots=True)
class NodeTimes:
    """How a node works."""

    zone: ZoneInfo
    calendar: WorkCalendar
    cutoff_minute: int | None
    processing_ms: int


@dataclass(frozen=True, slots=True)
class ServicePickups:
    """A service's calls at one node, and the days the carrier works."""

    calls: tuple[Call, ...]
    calendar: WorkCalendar


@dataclass(frozen=True, slots=True)
class _Day:
    """One day a node may pick on."""

    day: date
    ready_ms: int


class _Pickup(NamedTuple):
    """One call of a carrier, on its day."""

    moment_ms: int
    day: int
    """Its ordinal."""
    capacity: int


@dataclass(frozen=True, slots=True)
class _Calls:
    """What a service's calls at a node come to."""

    pickups: list[_Pickup]
    """By their time."""
    first: list[int]
    """By pick day: index of the first that its parcels make; NEVER."""


class Schedule:
    """Pick days and pickups of all nodes, as of a moment. D = PICK_DAYS, the last service is the
    customer who collects.

    The pickups of a service at a node lie next to each other, by their time: from the first that
    the parcels make each next one may take them. C is the room for all of them.
    """

    def __init__(
        self,
        names: Sequence[str],
        times: Sequence[NodeTimes],
        services: Sequence[str],
        pickups: Sequence[Sequence[ServicePickups | None]],
    ) -> None:
        """`pickups`: by service and node; None where the service does not call."""
        nodes, columns = len(names), len(services) + 1
        self._names = names
        self._times = times
        self._services = services
        self._pickups = pickups
        self._valid_until_ms = np.zeros(nodes, np.int64)
        self._soonest_ms = 0
        self.renewals = 0
        """Changes whenever the arrays do."""
        self._keys = np.array([key_of(name.encode()) for name in names], np.uint64)
        self.pick_day = np.zeros((PICK_DAYS, nodes), np.int64)
        """(D, N) ordinals of days; 0 where the node works no more."""
        self.pick_key = np.zeros((PICK_DAYS, nodes), np.uint64)
        """(D, N) keys of the day's capacity."""
        self.first_pickup = np.full((PICK_DAYS, nodes, columns), NEVER, np.int64)
        """(D, N, S) index of the first pickup the day's parcels make; NEVER."""
        self.pickups_end = np.zeros((nodes, columns), np.int64)
        """(N, S) index behind the last one."""
        self._room_from = _room(pickups, nodes)
        count = int(self._room_from[-1, 0])
        self.ready_ms = np.full(count, NEVER, np.int64)
        """(C,) when the carrier calls, or the customer may come."""
        self.ready_day = np.zeros(count, np.int64)
        """(C,) the same as a day of the node's."""
        self.slot_default = np.full(count, UNLIMITED, np.int64)
        """(C,) parcels it takes where the ledger says nothing of its slot."""
        self.slot_key = np.zeros(count, np.uint64)
        """(C,) keys of its slot; 0 without one."""
        self.pick_row = np.full(self.pick_key.shape, NOT_FOUND, np.int64)
        """(D, N) rows of the day's capacity in the ledger, as far as they were looked for."""
        self.pick_seen = np.full(self.pick_key.shape, NOT_FOUND, np.int64)
        """(D, N) how many positions the ledger had when a row was looked for."""
        self.slot_row = np.full(self.slot_key.shape, NOT_FOUND, np.int64)
        """(C,) the same of slots."""
        self.slot_seen = np.full(self.slot_key.shape, NOT_FOUND, np.int64)

    def at(self, now_ms: int) -> None:
        """Make it so for this moment. O(nodes whose time has come)."""
        if now_ms < self._soonest_ms:
            return
        self.renewals += 1
        due = np.flatnonzero(self._valid_until_ms <= now_ms).tolist()
        known: dict[tuple[NodeTimes, ServicePickups], _Calls] = {}
        days: dict[NodeTimes, tuple[list[_Day], int]] = {}
        for node in due:
            self._renew(node, now_ms, days, known)
        self._soonest_ms = int(self._valid_until_ms.min(initial=_FAR_MS))

    def forget_rows(self) -> None:
        """The ledger's state is another one."""
        for rows in (self.pick_row, self.pick_seen, self.slot_row, self.slot_seen):
            rows[...] = NOT_FOUND

    def slot_of(self, node: int, service: int, ready_ms: int) -> str:
        """Name of the slot of a pickup."""
        local = datetime.fromtimestamp(ready_ms / 1000, self._times[node].zone)
        return slot_name(self._services[service], local)

    def pickups_of(self, node: int) -> slice:
        """Where the pickups of a node lie."""
        return slice(int(self._room_from[node, 0]), int(self._room_from[node + 1, 0]))

    def key_of_slot(self, node: int, slot: str) -> np.uint64:
        """Key of a slot at a node."""
        key: np.uint64 = position_key(
            np.uint64(key_of(slot.encode())), self._keys[node], SCOPE_SLOT
        )
        return key

    def _renew(
        self,
        node: int,
        now_ms: int,
        days: dict[NodeTimes, tuple[list[_Day], int]],
        known: dict[tuple[NodeTimes, ServicePickups], _Calls],
    ) -> None:
        times = self._times[node]
        if times not in days:
            days[times] = _pick_days(times, now_ms)
        picks, until_ms = days[times]
        key = self._keys[node]
        self.pick_day[:, node] = 0
        self.first_pickup[:, node] = NEVER
        self.pick_row[:, node] = self.pick_seen[:, node] = NOT_FOUND
        own = self.pickups_of(node)
        self.slot_key[own] = 0
        self.slot_row[own] = self.slot_seen[own] = NOT_FOUND
        for level, pick in enumerate(picks):
            self.pick_day[level, node] = pick.day.toordinal()
            text = pick.day.isoformat().encode()
            self.pick_key[level, node] = position_key(np.uint64(key_of(text)), key, SCOPE_CAPACITY)
        for service, by_node in enumerate(self._pickups):
            called = by_node[node]
            if called is None:
                continue
            if (times, called) not in known:
                known[times, called] = _calls_after(times, called, picks)
            calls = known[times, called]
            begin = self._write(node, service, calls)
            for place, pickup in enumerate(calls.pickups, begin):
                name = self.slot_of(node, service, pickup.moment_ms).encode()
                self.slot_key[place] = position_key(np.uint64(key_of(name)), key, SCOPE_SLOT)
            if picks and picks[0].ready_ms == now_ms + times.processing_ms:
                first = calls.first[0]
                if first != NEVER:
                    missed_ms = calls.pickups[first].moment_ms - times.processing_ms + 1
                    until_ms = min(until_ms, missed_ms)
        collected = [
            _Pickup(pick.ready_ms, _local(pick.ready_ms, times).toordinal(), UNLIMITED)
            for pick in picks
        ]
        self._write(node, len(self._services), _Calls(collected, list(range(len(picks)))))
        self._valid_until_ms[node] = until_ms

    def _write(self, node: int, service: int, calls: _Calls) -> int:
        """Write down a service's pickups but for their slots; the index of the first."""
        begin = int(self._room_from[node, service])
        self.pickups_end[node, service] = begin + len(calls.pickups)
        for place, pickup in enumerate(calls.pickups, begin):
            self.ready_ms[place], self.ready_day[place], self.slot_default[place] = pickup
        for level, first in enumerate(calls.first):
            self.first_pickup[level, node, service] = NEVER if first == NEVER else begin + first
        return begin


def slot_name(service: str, local: datetime) -> str:
    """Name of a pickup's slot: the service, and when it calls in the node's time."""
    name = f"{service}@{local:%Y-%m-%dT%H:%M}"
    if len(name.encode()) <= _SLOT_BYTES_MAX:
        return name
    return f"{key_of(service.encode()):016x}@{local:%Y-%m-%dT%H:%M}"


def _local(moment_ms: int, times: NodeTimes) -> datetime:
    return datetime.fromtimestamp(moment_ms / 1000, times.zone)


def _midnight_ms(day: date, times: NodeTimes) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=times.zone).timestamp() * 1000)


def _minute_ms(day: date, minute: int, times: NodeTimes) -> int:
    local = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=times.zone)
    return int(local.timestamp() * 1000)


def _pick_days(times: NodeTimes, now_ms: int) -> tuple[list[_Day], int]:
    """The next days this node picks on, and until when that is so."""
    now = _local(now_ms, times)
    today = now.date()
    until_ms = _midnight_ms(today + _DAY, times)
    picks: list[_Day] = []
    first: date | None = today
    if times.calendar.works(today):
        cutoff_ms = until_ms
        if times.cutoff_minute is not None:
            cutoff_ms = _minute_ms(today, times.cutoff_minute, times)
        if now_ms < cutoff_ms:
            picks.append(_Day(today, now_ms + times.processing_ms))
            until_ms = min(until_ms, cutoff_ms)
        first = today + _DAY
    while first is not None and len(picks) < PICK_DAYS:
        first = times.calendar.next_from(first)
        if first is not None:
            picks.append(_Day(first, _midnight_ms(first, times) + times.processing_ms))
            first += _DAY
    return picks, until_ms


def _room(pickups: Sequence[Sequence[ServicePickups | None]], nodes: int) -> Integers:
    """(N + 1, S) where the pickups of each service at each node begin; the last row is the end."""
    room = np.full((nodes, len(pickups) + 1), PICK_DAYS, np.int64)
    for service, by_node in enumerate(pickups):
        room[:, service] = [
            PICK_DAYS * len(called.calls) if called is not None else 0 for called in by_node
        ]
    begin = np.zeros((nodes + 1, len(pickups) + 1), np.int64)
    begin.ravel()[1 : room.size + 1] = np.cumsum(room)
    return begin


def _calls_after(times: NodeTimes, called: ServicePickups, picks: Sequence[_Day]) -> _Calls:
    """For each pick day the first call its parcels make; those are followed by the other calls of
    that day."""
    places: dict[_Pickup, int] = {}
    first: list[int] = []
    for pick in picks:
        found = _next_calls(times, called, pick)
        for one in found:
            places.setdefault(one, len(places))
        first.append(places[found[0]] if found else NEVER)
    return _Calls(list(places), first)


def _next_calls(times: NodeTimes, called: ServicePickups, pick: _Day) -> list[_Pickup]:
    """The calls after the parcels are ready, by their time, of the first day with any; none where
    there is no such day. Of calls at the same moment, which have one slot, the last one counts."""
    day = _local(pick.ready_ms, times).date()
    for _ in range(DAYS_AHEAD):
        found: dict[int, int] = {}
        if called.calendar.works(day) and day not in times.calendar.holidays:
            for call in called.calls:
                weekdays = call.weekdays or times.calendar.weekdays
                moment = _minute_ms(day, call.minute, times)
                if day.weekday() in weekdays and moment >= pick.ready_ms:
                    found[moment] = call.capacity
        if found:
            return [_Pickup(at, day.toordinal(), found[at]) for at in sorted(found)]
        day += _DAY
    return []
