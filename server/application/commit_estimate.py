"""How long a commit will take, for refusing early what would miss its deadline.

The estimate is the shortest of the last few commits, and it is forgotten after a second. Both make
it forgiving: one stalled commit must not make the shard refuse everything that follows, and where
nothing commits any more nothing is known.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_COMMITS: Final = 8
_VALID_S: Final = 1.0


class CommitEstimate:
    """The shortest of the last `_COMMITS` commits within the last second."""

    def __init__(self) -> None:
        self._recent_s: deque[float] = deque(maxlen=_COMMITS)
        self._noted_s = 0.0

    def note(self, now_s: float, commit_s: float) -> None:
        """A commit that took `commit_s` has just ended."""
        self._recent_s.append(commit_s)
        self._noted_s = now_s

    def commit_ms(self, now_s: float) -> float:
        """Milliseconds the next commit takes at least; 0 when that is not known."""
        if not self._recent_s or now_s - self._noted_s > _VALID_S:
            return 0.0
        return min(self._recent_s) * 1e3
