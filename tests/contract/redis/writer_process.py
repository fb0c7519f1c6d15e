"""One writer in a process of its own: ``python writer_process.py URL HOLDER``.

It claims, then appends one batch for every line it is given. It says what came of it, a word a
line: ``claimed``, ``durable``, ``fenced`` (and ends with status 3), ``lost`` (the lease has gone).
"""

from __future__ import annotations

import asyncio
import sys

from server.journal.errors import JournalError, JournalFenced
from server.journal.genesis import JournalIdentity
from server.journal.opening import open_journal
from server.journal.record import Entry

FENCED = 3


def say(word: str) -> None:
    print(word, flush=True)


async def write(url: str, holder: str) -> int:
    def lost(error: JournalError) -> None:
        say("lost")

    journal = await open_journal(url, JournalIdentity(ledger_id="ledger-1"))
    try:
        await journal.claim(holder, lost)
        say("claimed")
        number = 0
        while line := await asyncio.to_thread(sys.stdin.readline):
            number += 1
            payload = f"{holder}: {line.strip()}".encode()
            await journal.append(Entry(number, number, number, 0, payload))
            say("durable")
    except JournalFenced:
        say("fenced")
        return FENCED
    finally:
        await journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(write(*sys.argv[1:])))
