"""How much a run does: little, for every change; more, for a campaign."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Counts are of answers, durations in seconds."""

    rounds: int
    answers: int
    shoppers: int
    stalls_s: tuple[float, ...]
    down_s: float
    calm_s: float
    """How long callers are watched after a stall, once two seconds have passed."""
    holds: int
    """That expire in the same second."""


QUICK = Size(
    rounds=1, answers=120, shoppers=8, stalls_s=(0.6,), down_s=0.3, calm_s=0.0, holds=10_000
)
FULL = Size(
    rounds=4, answers=400, shoppers=16, stalls_s=(1.0, 5.0), down_s=3.0, calm_s=3.0, holds=20_000
)
LARGE = Size(
    rounds=1,
    answers=400,
    shoppers=32,
    stalls_s=(30.0,),
    down_s=30.0,
    calm_s=10.0,
    holds=1_000_000,
)
