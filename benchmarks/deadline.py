"""Ends a process that takes too long: asked first, so that it clears up, then for good."""

from __future__ import annotations

import subprocess
import threading
from typing import Any

_PATIENCE_S = 15.0


class Deadline:
    """From now until `cancel`."""

    def __init__(self, process: subprocess.Popen[Any], seconds: float) -> None:
        self._process = process
        self._timers = [
            threading.Timer(seconds, process.terminate),
            threading.Timer(seconds + _PATIENCE_S, process.kill),
        ]
        for timer in self._timers:
            timer.daemon = True
            timer.start()

    def cancel(self) -> None:
        """The process has ended."""
        for timer in self._timers:
            timer.cancel()
