"""A small program that starts and ends solvers for `solver_pool`, run by its path.

Reads one JSON object a line: ``{"start": [...]}`` starts a command, ``{"end": pid}`` kills one that
it started and waits until it is gone; either is answered with ``{"pid": ...}``, a command that can
not be started with the reason, ``{"failed": ...}``. Ends with its input, and everything it started
with it. Imports next to nothing, for the reason that `launcher`
gives: starting a process from a large one stops the writer.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys


def main() -> int:
    """The program."""
    # Ctrl-C reaches all processes of a terminal: the server decides what is to end, and when.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for line in sys.stdin.buffer:
            request = json.loads(line)
            if "start" in request:
                try:
                    # Of its own output it gets none: that is for answers, and must end with it.
                    started = subprocess.Popen(
                        request["start"], stdin=subprocess.DEVNULL, stdout=sys.stderr
                    )
                except OSError as fault:  # no memory, or too many processes: perhaps not for long
                    answer: dict[str, int | str] = {"failed": str(fault)}
                else:
                    running[started.pid] = started
                    answer = {"pid": started.pid}
            else:
                ended = running.pop(request["end"], None)
                if ended is not None:
                    ended.kill()
                    ended.wait()
                answer = {"pid": request["end"]}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
