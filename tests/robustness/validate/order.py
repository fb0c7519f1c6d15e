"""One order for all, that respects real time; and no caller ever sees the ledger go back."""

from __future__ import annotations

from tests.robustness.traffic.history import History
from tests.robustness.validate.answers import revision_of
from tests.robustness.validate.findings import ORDER, Findings
from tests.robustness.validate.journal import Replayed

_BEGINS, _ENDS = 0, 1
Event = tuple[float, int, int, bool, str]
"""(moment, begins or ends, revision, whether it writes, name)"""


def judge_order(history: History, told: Replayed, findings: Findings) -> None:
    """What ended before something else began comes before it in the ledger too."""
    newest, newest_name = 0, ""
    # At the same moment a beginning counts as before an end: they overlap.
    for _, what, revision, writes, name in sorted(_events(history, told)):
        if what == _ENDS:
            if revision > newest:
                newest, newest_name = revision, name
        elif revision < newest or (revision == newest and writes):
            findings.add(
                ORDER,
                f"{name} at revision {revision} began after {newest_name} had ended at {newest}",
            )


def _events(history: History, told: Replayed) -> list[Event]:
    events: list[Event] = []
    for write in history.writes:
        revision = revision_of(write, told)
        if revision is not None and write.answered_s is not None:
            name = f"{write.kind} {write.request_id}"
            events.append((write.sent_s, _BEGINS, revision, True, name))
            events.append((write.answered_s, _ENDS, revision, True, name))
    for read in history.reads:
        name = f"a read of caller {read.client}"
        events.append((read.sent_s, _BEGINS, read.revision, False, name))
        events.append((read.answered_s, _ENDS, read.revision, False, name))
    return events


def judge_readers(history: History, findings: Findings) -> None:
    """Of two reads of one caller the later one is not older."""
    newest: dict[int, tuple[float, int]] = {}
    for read in sorted(history.reads, key=lambda read: read.sent_s):
        answered_s, revision = newest.get(read.client, (0.0, 0))
        if read.sent_s >= answered_s and read.revision < revision:
            findings.add(
                ORDER,
                f"caller {read.client} read revision {read.revision} after {revision}",
            )
        if read.revision >= revision:
            newest[read.client] = (read.answered_s, read.revision)
