"""Memory a process really has, as the system counts it."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path


def resident_bytes(pid: int | None = None) -> int:
    """Resident bytes of a process, by default this one.

    Where there is no /proc only this process is known, by its greatest size so far.
    """
    status = Path(f"/proc/{pid or os.getpid()}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    if pid is not None:
        raise OSError(f"no way to know the memory of process {pid} on {sys.platform}")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
