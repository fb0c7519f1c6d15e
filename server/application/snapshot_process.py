"""Writes one snapshot in a process of its own: ``python -m server.application.snapshot_process``.

It opens the journal read-only, loads the newest snapshot, replays what came after and saves the
result. Replay is deterministic, so this is the writer's own state at that record, and the writer
never pauses; the price is a second copy of the state in memory for as long as it runs.

Prints one JSON object: the snapshots that may be relied on, newest first, each read back and
verified, and the size of the new one. Ends with status 1 and one sentence on stderr when it could
not.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from server.application.recovery import replay, snapshot_bytes, take_snapshot
from server.journal.errors import JournalError, SnapshotDamaged
from server.journal.genesis import JournalIdentity
from server.journal.opening import open_journal
from server.journal.port import Journal
from server.journal.snapshot import SnapshotName

# The two that recovery may need: the newest, and the one before in case the newest is damaged.
SNAPSHOTS_KEPT = 2
# The writer and its callers go first.
_NICENESS = 10


async def write_snapshot(
    journal_url: str, identity: JournalIdentity
) -> tuple[list[SnapshotName], int]:
    """Save a snapshot of the journal's end. (the newest that are whole, newest first; its bytes)"""
    journal = await open_journal(journal_url, identity)
    try:
        replayed, _ = await replay(journal)
        taken = await take_snapshot(replayed, journal)
        return await _whole(journal, taken), snapshot_bytes(replayed.state)
    finally:
        await journal.close()


async def _whole(journal: Journal, taken: SnapshotName) -> list[SnapshotName]:
    """`taken` and what is whole behind it, read back. Raises SnapshotDamaged when `taken` is not.

    An older one that is damaged is passed over, as recovery does; it goes with the next trim.
    """
    whole: list[SnapshotName] = []
    for name in await journal.snapshots.list():
        try:
            await journal.snapshots.load(name)
        except SnapshotDamaged:
            if name == taken:
                raise
            continue
        whole.append(name)
        if len(whole) == SNAPSHOTS_KEPT:
            break
    return whole


def main() -> int:
    """The program. Reads one JSON object, as `server.application.snapshots` gives it."""
    request: dict[str, Any] = json.load(sys.stdin)
    os.nice(_NICENESS)
    try:
        names, size_bytes = asyncio.run(
            write_snapshot(request["journal"], JournalIdentity(**request["identity"]))
        )
    except JournalError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    whole = [[*name.record_id, name.revision] for name in names]
    sys.stdout.write(json.dumps({"snapshots": whole, "size_bytes": size_bytes}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
