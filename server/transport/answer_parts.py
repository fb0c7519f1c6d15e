"""Commands that went to the ledger as one piece: each part's share of the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from engine.outcomes import Outcomes


def parts_of(answer: Outcomes, counts: Sequence[int]) -> Iterator[Outcomes]:
    """The outcomes of parts of so many commands each, which are all there are."""
    if len(counts) == 1:
        yield answer
        return
    ends = np.concatenate(([0], np.cumsum(answer.rows["detail_count"], dtype=np.int64)))
    row = 0
    for count in counts:
        until = row + count
        details = answer.details[ends[row] : ends[until]]
        yield Outcomes(answer.rows[row:until], details, answer.changed)
        row = until
