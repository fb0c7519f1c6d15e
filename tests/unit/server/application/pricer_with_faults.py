"""A solver that does what its first argument says when it is to solve prices. Run by its path.

Everything else is `server.application.solver_process` itself.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import numpy as np

from server.application import solver_process
from server.routing.prices.dual_job import DualJob
from server.routing.prices.price_table import PriceTable

CRASH, HANG, NONSENSE, SOUND = "CRASH", "HANG", "NONSENSE", "SOUND"

_dual_prices = solver_process.dual_prices


def dual_prices(job: DualJob) -> Any:
    """As asked for, or worse."""
    fault = sys.argv[1]
    if fault == CRASH:
        os._exit(134)
    if fault == HANG:
        os.kill(os.getpid(), signal.SIGSTOP)
    if fault == NONSENSE:
        return PriceTable.of(["n"], ["k"], np.full((1, 1), 1e300))
    return _dual_prices(job)


if __name__ == "__main__":
    solver_process.dual_prices = dual_prices
    sys.exit(solver_process.main(sys.argv[2:]))
