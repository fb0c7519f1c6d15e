"""Who gets in: the adaptive limit, divided by class and, when it is full, between callers.

Work is let in by `enter` and gone by `leave`. Now and then, when a window of time is over, the time
answers took goes into the limit; there is no timer, so a clock that a test moves drives all of it.

Invariants
1. `in_flight` is the number of `enter`s that let in, less the `leave`s; it never falls below 0.
2. SETTLE is refused only when SETTLE itself fills the limit: nothing else can keep it out.
3. A class below SETTLE is let in only while everything under way fills less than its share.
4. While at least half of the limit is in use and several callers came lately, none has more under
   way than an even part of it or `_CALLER_MIN`, unless it is SETTLE.
5. While the loop is busy all the time and more urgent work comes too, less and less of ROUTE is let
   in: a plan takes many times what its refusal takes, and what waits behind it is nowhere to be
   seen. Where nothing but ROUTE comes, none of it is refused for that.

Callers: the transport, on the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from server.admission.classes import CLASS_SHARES, WorkClass
from server.admission.gradient_limit import GradientLimit

# An enum's attribute takes 60 ns to look up in Python 3.11, a name of the module 10.
_SETTLE: Final = WorkClass.SETTLE
_ROUTE: Final = WorkClass.ROUTE
_WINDOW_S: Final = 0.1
# A window ends with this many answers, or after a second: one answer alone says little.
_ANSWERS_MIN: Final = 10
_WINDOW_S_MAX: Final = 1.0
# Callers are counted as present for one to two of these.
_PRESENT_S: Final = 1.0
_FAIR_FROM: Final = 0.5
# Where callers are many, most of them have nothing under way: each may have this many.
_CALLER_MIN: Final = 8
_RETRY_MS_MIN: Final = 10
_RETRY_MS_MAX: Final = 5_000
# Overloaded after two windows in a row that were congested or refused someone; over after 2 s
# without any.
_BAD_WINDOWS: Final = 2
_CALM_S: Final = 2.0
# Of routing, this part at least is let in while the loop is busy; how it falls and comes back.
_ROUTE_SHARE_MIN: Final = 0.02
_ROUTE_FALL: Final = 0.5
_ROUTE_RISE: Final = 1.15


@dataclass(frozen=True, slots=True)
class Shed:
    """Why work is not let in, and when to come back."""

    limit: str
    """``admission_limit``, ``fair_share`` or ``busy_loop``."""
    retry_ms: int


class _Presence:
    """What one caller has under way, and when it was here last."""

    __slots__ = ("in_flight", "period")

    def __init__(self) -> None:
        self.in_flight = 0
        self.period = -2


class Limiter:
    """Lets work in, by class and caller."""

    def __init__(
        self,
        limit: GradientLimit,
        *,
        age_s: Callable[[], float] = lambda: 0.0,
        elapsed_s: Callable[[], float] = time.monotonic,
        busy_s: Callable[[], float] = lambda: 0.0,
        busy_share_max: float = 0.95,
    ) -> None:
        """`age_s`: how long the oldest thing that waits in the ledger has waited; it stands in for
        answers where none come. `busy_s`: seconds the loop wanted the processor for; one that was
        busy for more than `busy_share_max` of two windows counts as overloaded, although the calls
        it has no time to look at are nowhere to be seen.
        """
        self._limit = limit
        self._age_s = age_s
        self._elapsed_s = elapsed_s
        self._busy_s = busy_s
        self._busy_share_max = busy_share_max
        self.in_flight = 0
        self.class_in_flight = [0] * len(WorkClass)
        self.admitted = [0] * len(WorkClass)
        self._callers: dict[Hashable, _Presence] = {}
        self._present = 0
        self._period = -1
        self._caller_limit = 1 << 30
        self._route_share = 1.0
        self._route_credit = 0.0
        self._urgent = 0
        self._settle_limit = limit.limit
        self._class_limits = [0] * len(WorkClass)
        self._spread_limits()
        # Of the running window.
        self._began_s = elapsed_s()
        self._busy_began_s = busy_s()
        self._took_s = 0.0
        self._answers = 0
        self._entered = 0
        self._refused = 0
        self._in_flight_max = 0
        # Of the windows before.
        self._wait_ms = 0.0
        self._demand = 1.0
        self._bad_windows = 0
        self._bad_s = float("-inf")
        self._shortest_before_s = 0.0
        self._shortest_s = float("inf")
        self.busy_share = 0.0
        """The part of the last tenth of a second or more in which the loop was busy. However few of
        the answers tell of the ledger: those who wait for company ask for it."""
        self._share_began_s = self._began_s
        self._share_busy_s = self._busy_began_s

    @property
    def limit(self) -> int:
        """How much may be under way now."""
        return self._limit.limit

    @property
    def tolerated_ms(self) -> float:
        """How long an answer may take before the limit falls, in milliseconds."""
        return self._limit.tolerated_ms

    @property
    def shortest_s(self) -> float:
        """The shortest answer of the last window; 0 where there was none, and where nobody was let
        in since for so long that it says nothing: those who are dropped for it do not come in, so
        they could not find out that a stall is over."""
        if self._elapsed_s() - self._began_s > _WINDOW_S_MAX:
            return 0.0
        return self._shortest_before_s

    @property
    def is_busy(self) -> bool:
        """Whether the loop has no time left, as far as the last window tells: one that nobody ended
        for so long says nothing of now."""
        is_fresh = self._elapsed_s() - self._began_s <= _WINDOW_S_MAX
        return is_fresh and self.busy_share > self._busy_share_max

    @property
    def is_overloaded(self) -> bool:
        """Whether more comes than can be answered in time, now or a moment ago."""
        if self._bad_windows >= _BAD_WINDOWS:
            return self._elapsed_s() - self._bad_s <= _CALM_S
        return False

    @property
    def callers(self) -> int:
        """Callers that came lately, the refused ones too."""
        return self._present

    def enter(self, work: WorkClass, caller: Hashable) -> Shed | None:
        """Let one piece of work in, or say why not. O(1)."""
        now_s = self._elapsed_s()
        if now_s - self._began_s >= _WINDOW_S:
            self._maybe_end_window(now_s)
        presence = self._seen(caller, now_s)
        if work is _SETTLE:
            if self.class_in_flight[work] >= self._settle_limit:
                return self._shed("admission_limit")
        elif self.in_flight >= self._class_limits[work]:
            return self._shed("admission_limit")
        elif (
            presence.in_flight >= self._caller_limit
            and self.in_flight >= self._limit.limit * _FAIR_FROM
        ):
            return self._shed("fair_share")
        elif work is _ROUTE and self._route_share < 1.0:
            self._route_credit += self._route_share
            if self._route_credit < 1.0:
                return self._shed("busy_loop")
            self._route_credit -= 1.0
        presence.in_flight += 1
        self.in_flight += 1
        self.class_in_flight[work] += 1
        self.admitted[work] += 1
        self._entered += 1
        if work < _ROUTE:
            self._urgent += 1
        if self.in_flight > self._in_flight_max:
            self._in_flight_max = self.in_flight
        return None

    def leave(self, work: WorkClass, caller: Hashable, took_s: float | None) -> None:
        """It is done. `took_s`: how long the ledger's answer took; None says nothing of that."""
        self.in_flight -= 1
        self.class_in_flight[work] -= 1
        presence = self._callers[caller]
        presence.in_flight -= 1
        if took_s is not None:
            self._took_s += took_s
            self._answers += 1
            if took_s < self._shortest_s:
                self._shortest_s = took_s

    # --- Callers -----------------------------------------------------------------------------

    def _seen(self, caller: Hashable, now_s: float) -> _Presence:
        period = int(now_s / _PRESENT_S)
        if period != self._period:
            self._forget(period)
        presence = self._callers.get(caller)
        if presence is None:
            presence = self._callers[caller] = _Presence()
        if presence.period < period - 1:
            self._present += 1
            self._caller_limit = self._even_part(self._present)
        presence.period = period
        return presence

    def _forget(self, period: int) -> None:
        """A period is over: drop those who have nothing under way and were not here in the last
        one. O(callers), once a second."""
        self._period = period
        gone = []
        present = 0
        for caller, presence in self._callers.items():
            if presence.period >= period - 1:
                present += 1
            elif not presence.in_flight:
                gone.append(caller)
        for caller in gone:
            del self._callers[caller]
        self._present = present
        self._caller_limit = self._even_part(present)

    # --- Windows -----------------------------------------------------------------------------

    def _look_at_loop(self, now_s: float) -> None:
        busy_s = self._busy_s()
        self.busy_share = (busy_s - self._share_busy_s) / (now_s - self._share_began_s)
        self._share_began_s, self._share_busy_s = now_s, busy_s

    def _maybe_end_window(self, now_s: float) -> None:
        if now_s - self._share_began_s >= _WINDOW_S:
            self._look_at_loop(now_s)
        if self._answers < _ANSWERS_MIN and now_s - self._began_s < _WINDOW_S_MAX:
            return
        age_s = self._age_s() if self.in_flight else 0.0
        took_s = max(self._took_s / self._answers if self._answers else 0.0, age_s)
        took_ms = took_s * 1e3
        is_congested = took_ms > self._limit.tolerated_ms
        if took_ms > 0:
            self._limit.update(took_ms, self._in_flight_max)
            self._wait_ms = took_ms
        elif self._refused:
            # Nothing waits in the ledger, and those who come now never tell of it: the limit would
            # stay where a stall left it until somebody buys again.
            self._limit.rise()
        self._spread_limits()
        busy_s = self._busy_s()
        busy_share = (busy_s - self._busy_began_s) / (now_s - self._began_s)
        is_busy = busy_share > self._busy_share_max
        if is_busy and self._urgent:
            self._route_share = max(_ROUTE_SHARE_MIN, self._route_share * _ROUTE_FALL)
        else:
            self._route_share = min(1.0, self._route_share * _ROUTE_RISE)
        if is_congested or self._refused or is_busy:
            self._bad_windows += 1
            if self._bad_windows >= _BAD_WINDOWS:
                self._bad_s = now_s
        elif now_s - self._bad_s > _CALM_S:
            self._bad_windows = 0
        self._demand = (self._entered + self._refused) / max(1, self._entered)
        # Of a window that nobody ended for long it is not known when its answers came.
        is_fresh = self._answers and now_s - self._began_s <= 2 * _WINDOW_S_MAX
        self._shortest_before_s = self._shortest_s if is_fresh else 0.0
        self._shortest_s = float("inf")
        self._began_s = now_s
        self._busy_began_s = busy_s
        self._took_s = 0.0
        self._answers = self._entered = self._refused = self._urgent = 0
        self._in_flight_max = self.in_flight

    def _spread_limits(self) -> None:
        limit = self._limit.limit
        self._settle_limit = limit
        self._class_limits = [max(1, int(limit * share)) for share in CLASS_SHARES]
        self._caller_limit = self._even_part(self._present)

    def _even_part(self, callers: int) -> int:
        return max(_CALLER_MIN, self._limit.limit // max(1, callers))

    def _shed(self, name: str) -> Shed:
        """As long as an answer takes, times how much more comes than gets in: if all came back
        then, one in turn would get in."""
        self._refused += 1
        wait_ms = max(self._wait_ms, _RETRY_MS_MIN) * self._demand
        return Shed(name, int(max(_RETRY_MS_MIN, min(_RETRY_MS_MAX, wait_ms))))
