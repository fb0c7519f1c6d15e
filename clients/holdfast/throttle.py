"""Client-side throttling: send less to a server that turns most calls away.

Adaptive throttling of Google's SRE book (Beyer et al., 2016, chapter "Handling Overload"): over
the last seconds (the book: two minutes) a client counts its `requests` and those the server
`accepts`, and drops a new one on the spot with probability
max(0, (requests - k * accepts) / (requests + 1)). It always lets some through, which is how it
notices that the server is back.

The book's formula alone does not come back from a spike: it remembers which *part* of the calls was
accepted, so after a tenfold spike a client with normal traffic goes on sending a tenth of it, of
which all is accepted, and grows from there by the factor k in every window. Fifty simulated clients
with k = 1.3 had not recovered 40 s after a spike of 60 s. So nothing is dropped when for `calm_s`
no call was turned away: in the same simulation they were back after one second, and sent the server
as little more than it could take during the spike (1.3 times its capacity). And the window is two
seconds: in two minutes of normal traffic there are so many accepted calls that most of a spike of
one minute would pass before anything is dropped, and with ten seconds twice what the server could
take was sent for the first eight.
"""

from __future__ import annotations

import threading
from collections import deque

_SLICES = 24


class Throttle:
    """Counts over a sliding window; safe to share between threads. Off unless given to a client.

    `k` is how many calls are sent for each that is accepted before any is dropped: 2 is the
    book's default, 1.3 held goodput at 10 times capacity in our own measurements. `calm_s` is how
    long after the last call that was turned away none is dropped any more.
    """

    def __init__(self, k: float = 2.0, window_s: float = 2.0, calm_s: float = 1.0) -> None:
        if k < 1 or window_s <= 0:
            raise ValueError(f"k must be at least 1 and window_s above 0, not {k} and {window_s}")
        if calm_s <= 0:
            raise ValueError(f"calm_s must be above 0, not {calm_s}")
        self.k = k
        self.window_s = window_s
        self.calm_s = calm_s
        self._turned_away_s = float("-inf")
        self._slices: deque[list[float]] = deque()  # [slice number, requests, accepts]
        self._latest: list[float] = [float("-inf"), 0, 0]
        self._requests = 0.0
        self._accepts = 0.0
        self._lock = threading.Lock()

    def admit(self, now_s: float, chance: float) -> bool:
        """Count a call at `now_s` seconds; False: drop it. `chance` is drawn evenly from 0 to 1."""
        with self._lock:
            current = self._current(now_s)
            drop = (self._requests - self.k * self._accepts) / (self._requests + 1)
            current[1] += 1
            self._requests += 1
            return chance >= drop or now_s - self._turned_away_s > self.calm_s

    def turned_away(self, now_s: float) -> None:
        """The server turned a call away, or did not answer it."""
        with self._lock:
            self._turned_away_s = max(self._turned_away_s, now_s)

    def accepted(self, now_s: float) -> None:
        """The server answered a call, be it with a refusal."""
        with self._lock:
            self._current(now_s)[2] += 1
            self._accepts += 1

    def _current(self, now_s: float) -> list[float]:
        """The counts of the slice of time around `now_s`, older ones dropped."""
        number = now_s * _SLICES // self.window_s
        if number != self._latest[0]:
            while self._slices and self._slices[0][0] <= number - _SLICES:
                _, requests, accepts = self._slices.popleft()
                self._requests -= requests
                self._accepts -= accepts
            self._latest = [number, 0, 0]
            self._slices.append(self._latest)
        return self._latest
