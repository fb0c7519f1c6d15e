"""The threads that hear the network do not interrupt the event loop.

grpc.aio has a thread that waits for the core's events and hands each to the event loop, five for a
create; the core has some that read from connections. On a busy processor the system lets a thread
that wakes up go first, so that the loop was stopped for each event and each message: two switches
for two microseconds of work. As batch threads they go when the loop waits, or their turn has come,
and then take all there is. In turn on the same core: 117 us a create with the interruptions of the
first, 91 without; in a flash sale 141 us a call with those of the others, 118 without.

The threads' names are grpcio's own and no document promises them: where there are none such nothing
changes. tests/wire/test_hands.py fails on that day.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

_POLLER: Final = "_poll_wrapper"
# The second one starts further ones of the first name, which take after it.
_READERS: Final = ("event_engine", "lifeguard")
_TASKS: Final = Path("/proc/self/task")


def pollers() -> list[int]:
    """Threads of this process that hear the core, by their ids of the system."""
    found = (thread.native_id for thread in threading.enumerate() if _POLLER in thread.name)
    return [each for each in found if each is not None]


def readers() -> list[int]:
    """Threads of the core that read from connections, and the one that starts them."""
    found = []
    for task in _TASKS.iterdir():
        try:
            name = (task / "comm").read_text().strip()
        except OSError:  # it has just ended
            continue
        if name in _READERS:
            found.append(int(task.name))
    return found


def keep_in_background() -> None:
    """Have them yield to the event loop, on Linux. A server of grpc.aio must have been started."""
    if not hasattr(os, "SCHED_BATCH"):
        return
    for each in [*pollers(), *readers()]:
        try:
            os.sched_setscheduler(each, os.SCHED_BATCH, os.sched_param(0))
        except ProcessLookupError:
            continue
