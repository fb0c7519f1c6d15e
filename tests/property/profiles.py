"""How long hypothesis looks: every day in CI, or in a campaign (HOLDFAST_PROFILE=campaign).

The everyday profile is derandomised: the same examples on every machine. A campaign looks for new
ones; what it finds prints its steps, which make a test of their own.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_PROFILES = {
    "everyday": settings(
        _COMMON, derandomize=True, database=None, max_examples=80, stateful_step_count=40
    ),
    "campaign": settings(_COMMON, max_examples=5000, stateful_step_count=80),
}

PROFILE = _PROFILES[os.environ.get("HOLDFAST_PROFILE", "everyday")]
