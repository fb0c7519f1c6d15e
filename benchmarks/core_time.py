"""Processor time of other processes, as the system counts it."""

from __future__ import annotations

import os
from pathlib import Path


def core_seconds(pid: int) -> float | None:
    """What a process has used, in seconds; None where it is gone or the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
