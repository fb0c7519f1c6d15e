"""Brown-out: what the operator says wins; otherwise the limiter does."""

from __future__ import annotations

import pytest

from server.admission.brownout import Brownout, Mode


@pytest.mark.parametrize(
    ("mode", "overloaded", "active"),
    [
        (Mode.AUTO, False, False),
        (Mode.AUTO, True, True),
        (Mode.ON, False, True),
        (Mode.ON, True, True),
        (Mode.OFF, False, False),
        (Mode.OFF, True, False),
    ],
)
def test_when_cheaper_answers_are_given(mode: Mode, overloaded: bool, active: bool) -> None:
    brownout = Brownout(mode, lambda: overloaded)
    assert brownout.is_active is active
    assert brownout.cached_availability is active
    assert brownout.greedy_routing is active
