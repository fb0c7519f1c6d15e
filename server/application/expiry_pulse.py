"""Wakes the sequencer when the next hold expires, also when nobody calls.

At most one timer is armed, for the earliest expiry. When that hold is confirmed or cancelled the
timer is left to fire in vain, which is cheaper than moving it with every batch.
"""

from __future__ import annotations

from collections.abc import Callable

from server.application.clock import Clock, Timer


class ExpiryPulse:
    """Calls `wake` once ledger time reaches what it was last aimed at."""

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._timer: Timer | None = None
        self._armed_for_ms = 0

    def aim(self, next_expiry_ms: int) -> None:
        """Make sure of a wake-up at `next_expiry_ms`, or of none with -1. O(1)."""
        if next_expiry_ms < 0:
            return
        if self._timer is not None:
            if self._armed_for_ms <= next_expiry_ms:
                return  # it fires before; whoever is woken aims anew
            self._timer.cancel()
        self._armed_for_ms = next_expiry_ms
        self._timer = self._clock.call_at(next_expiry_ms, self._fire)

    def stop(self) -> None:
        """No wake-up any more, until the next `aim`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._wake()
