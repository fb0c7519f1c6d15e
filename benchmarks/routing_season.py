"""What looking ahead saves: the replica of `benchmarks.season`, paced prices and windows on top."""

from __future__ import annotations

from benchmarks.measure import Say
from benchmarks.season.run import PACED, PACED_WINDOWS, SETTINGS, simulate

SEEDS = 6


def run(say: Say) -> dict[str, float]:
    """The saving of both together, and the part of the clairvoyant's that prices alone reach."""
    season = simulate(SETTINGS[0], SEEDS, say)
    saving, closed = season.saving(PACED_WINDOWS), season.closed(PACED)
    say(f"windows with paced prices save {saving.show('.2f')} % of the myopic optimum's cost")
    say(f"paced prices close {closed.show()} % of the gap to the clairvoyant's bound")
    return {"season_saving_percent": saving.value, "clairvoyant_gap_closed_percent": closed.value}
