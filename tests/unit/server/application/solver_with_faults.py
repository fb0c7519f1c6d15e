"""A solver that does what a wave's first order tells it to, by its unrouted cost. Run by its path.

Everything else is `server.application.solver_process` itself.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from engine.routing.waves.budget import Budget
from engine.routing.waves.wave import Wave
from server.application import solver_process

CRASH, CRASH_LATE, HANG, SPIN, GREED = 700_001, 700_002, 700_003, 700_004, 700_005

_solve_wave = solver_process.solve_wave


def solve_wave(wave: Wave, budget: Budget, **options: Any) -> Any:
    """As asked for, or worse."""
    fault = wave.orders[0].unrouted_cost
    if fault == CRASH:
        os._exit(134)
    if fault == HANG:
        os.kill(os.getpid(), signal.SIGSTOP)
    if fault == SPIN:
        while True:
            pass
    if fault == GREED:
        return bytearray(1 << 46)
    answer = _solve_wave(wave, budget, **options)
    if fault == CRASH_LATE:
        os._exit(139)
    return answer


if __name__ == "__main__":
    solver_process.solve_wave = solve_wave
    sys.exit(solver_process.main(sys.argv[1:]))
