"""An answer is cut into the parts that its commands came in, with nothing lost or mixed up."""

from __future__ import annotations

import numpy as np
import pytest

from engine.outcomes import DETAIL, OUTCOME, Outcomes
from server.transport.answer_parts import parts_of


def answered(*detail_counts: int) -> Outcomes:
    """An answer whose revisions number the commands, and the lines of its details theirs."""
    rows = np.zeros(len(detail_counts), OUTCOME)
    rows["revision"] = np.arange(len(rows))
    rows["detail_count"] = detail_counts
    details = np.zeros(sum(detail_counts), DETAIL)
    details["line"] = np.repeat(np.arange(len(rows)), detail_counts)
    return Outcomes(rows, details, np.array([7], np.int32))


@pytest.mark.parametrize("counts", [[4], [1, 3], [2, 0, 2], [1, 1, 1, 1], [0, 4]])
def test_each_part_has_the_outcomes_and_details_of_its_own_commands(counts: list[int]) -> None:
    answer = answered(2, 0, 1, 3)
    parts = list(parts_of(answer, counts))
    assert [len(part.rows) for part in parts] == counts
    assert np.array_equal(np.concatenate([part.rows for part in parts]), answer.rows)
    for part in parts:
        whose = np.repeat(part.rows["revision"], part.rows["detail_count"])
        assert part.details["line"].tolist() == whose.tolist()
        assert part.changed.tolist() == [7]
