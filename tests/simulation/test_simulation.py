"""The everyday seeds, and proof that the simulator finds the bugs it is there for."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import replay_command
from tests.simulation.planted import PLANTED
from tests.simulation.simulator import simulate

_EVERYDAY_SEEDS = 240
_CHUNK = 20
_SEEDS_TO_CATCH_MAX = 25

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("first", range(0, _EVERYDAY_SEEDS, _CHUNK))
def test_nothing_is_oversold_lost_or_done_twice(first: int) -> None:
    operations = crashes = 0
    for seed in range(first, first + _CHUNK):
        result = simulate(seed)
        assert not result.findings, f"{replay_command(seed)}\n" + "\n".join(result.findings[:10])
        operations += result.operations
        crashes += result.crashes
    # A simulator in which nothing happens finds nothing.
    assert operations > 50 * _CHUNK
    assert crashes > _CHUNK // 2


@pytest.mark.parametrize("bug", sorted(PLANTED))
def test_a_planted_bug_is_caught(bug: str) -> None:
    flaws, kinds = PLANTED[bug]
    for seed in range(_SEEDS_TO_CATCH_MAX):
        found = {finding.partition(":")[0] for finding in simulate(seed, flaws).findings}
        if found & kinds:
            return
    pytest.fail(f"{bug!r} went unnoticed for {_SEEDS_TO_CATCH_MAX} seeds")


def test_a_seed_always_gives_the_same_run() -> None:
    assert simulate(7) == simulate(7)
    assert simulate(8) != simulate(7)
