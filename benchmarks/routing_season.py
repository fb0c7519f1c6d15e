"""What looking ahead saves: opportunity costs in the replica of `benchmarks.season`.

Of the opportunity costs that need no forecast, both keys are those of the one to be recommended
there, dual prices solved anew from the orders that have come.
"""

from __future__ import annotations

from benchmarks.measure import Say
from benchmarks.season.run import (
    PACED,
    PACED_WINDOWS,
    RESOLVED,
    RESOLVED_WINDOWS,
    SETTINGS,
    simulate,
)

SEEDS = 6


def run(say: Say) -> dict[str, float]:
    """What the recommended prices save, and the part of the clairvoyant's saving they reach."""
    season = simulate(SETTINGS[0], SEEDS, say)
    for policy in (PACED, PACED_WINDOWS, RESOLVED, RESOLVED_WINDOWS):
        saving, closed = season.saving(policy), season.closed(policy)
        say(
            f"{policy}: {saving.show('.2f')} % of the myopic optimum's cost, "
            f"{closed.show()} % of the gap to the clairvoyant's bound"
        )
    return {
        "season_saving_percent": season.saving(RESOLVED).value,
        "clairvoyant_gap_closed_percent": season.closed(RESOLVED).value,
    }
