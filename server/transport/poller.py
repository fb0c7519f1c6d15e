"""The thread that hears gRPC's core does not interrupt the event loop.

grpc.aio has a thread that waits for the core's events and hands each to the event loop, five for a
create. On a busy core the system lets a thread that wakes up go first, so that the loop was stopped
for each event: two switches for two microseconds of work. As a batch thread it goes when the loop
waits, or its turn has come, and hands over all there are. In turn on the same core: 117 us a create
with the interruptions, 91 without; an empty call 78 and 60.

The thread's name is grpcio's own and no document promises it: where there is none such nothing
changes. tests/wire/test_hands.py fails on that day.
"""

from __future__ import annotations

import os
import threading
from typing import Final

_NAME: Final = "_poll_wrapper"


def pollers() -> list[int]:
    """Threads of this process that hear the core, by their ids of the system."""
    found = (thread.native_id for thread in threading.enumerate() if _NAME in thread.name)
    return [each for each in found if each is not None]


def keep_poller_in_background() -> None:
    """Have them yield to the event loop, on Linux. A server of grpc.aio must have been started."""
    if hasattr(os, "SCHED_BATCH"):
        for each in pollers():
            os.sched_setscheduler(each, os.SCHED_BATCH, os.sched_param(0))
