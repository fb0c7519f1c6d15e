"""How long a thread wanted the processor: what it used, and what it waited for it.

On a machine that others work on too, a loop that is always busy may get a quarter of a core: its
processor time alone would call it idle. Linux tells both in schedstat; elsewhere the processor time
has to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

_SCHEDSTAT = Path("/proc/thread-self/schedstat")


def wanted_s() -> Callable[[], float]:
    """A clock of the calling thread: seconds for which it ran or could have run. 10 us a look."""
    try:
        _read(_SCHEDSTAT)
    except (OSError, ValueError, IndexError):
        return time.thread_time
    return lambda: _read(_SCHEDSTAT)


def _read(path: Path) -> float:
    used_ns, waited_ns = path.read_bytes().split()[:2]
    return (int(used_ns) + int(waited_ns)) / 1e9
