"""Ledger time against the callers' clock: a jump is noticed, an honest clock is not blamed."""

from __future__ import annotations

from tests.robustness.faults.clocks import ledger_time_complaints
from tests.robustness.traffic.history import OK, Answer, Write


def hold(sent_s: float, answered_s: float, ledger_ms: int) -> Write:
    """A hold of five seconds that was made at `ledger_ms`."""
    answer = Answer(OK, 1, "id", "HELD", ledger_ms + 5_000)
    return Write(0, "reserve", "id", {"ttl": 5.0}, sent_s, answered_s, answer)


def test_a_clock_that_goes_as_fast_has_no_complaints() -> None:
    writes = [hold(at, at + 0.010, 1_000_000 + round(at * 1_000) + 5) for at in range(100)]
    assert ledger_time_complaints(writes) == []


def test_a_late_answer_bounds_nothing() -> None:
    writes = [hold(1.0, 1.01, 1_005), hold(2.0, 60.0, 2_005), hold(61.0, 61.01, 61_005)]
    assert ledger_time_complaints(writes) == []


def test_a_jump_of_a_few_milliseconds_is_noticed() -> None:
    writes = [hold(1.0, 1.004, 1_002), hold(2.0, 2.004, 2_002 + 40)]
    (complaint,) = ledger_time_complaints(writes)
    assert "moved by 36 ms" in complaint
    assert ledger_time_complaints([hold(1.0, 1.004, 1_002), hold(2.0, 2.004, 2_002 - 40)])
