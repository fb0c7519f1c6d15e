"""A bucket of tokens that fills with time: so many a second, so many at once. Pure but for debt:

work whose size shows only when it is read may take more than there is, and the bucket owes it.
"""

from __future__ import annotations


class TokenBucket:
    """`per_second` tokens a second, at most `burst` of them saved up."""

    __slots__ = ("_at_s", "_tokens", "burst", "per_second")

    def __init__(self, per_second: float, burst: float, now_s: float) -> None:
        if per_second <= 0 or burst < 1:
            raise ValueError(
                f"per_second must be above 0 and burst at least 1, not {per_second} and {burst}"
            )
        self.per_second = per_second
        self.burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, tokens: float, now_s: float) -> float:
        """Take `tokens` where at least one is there, also when that leaves a debt.

        Returns 0.0, or the seconds until one is there; nothing was taken then. O(1).
        """
        passed_s = max(0.0, now_s - self._at_s)
        self._tokens = min(self.burst, self._tokens + passed_s * self.per_second)
        self._at_s = max(self._at_s, now_s)
        # Sums of fractions: a token that is there but for rounding is there.
        if self._tokens < 1.0 - 1e-9:
            return (1.0 - self._tokens) / self.per_second
        self._tokens -= tokens
        return 0.0
