"""A small program that starts and ends solvers for `solver_pool`, run by its path.

Reads one JSON object a line: ``{"start": [...]}`` starts a command, ``{"end": pid}`` kills one that
it started and waits until it is gone; either is answered with ``{"pid": ...}``. Ends with its
input, and everything it started with it. Imports next to nothing, for the reason that `launcher`
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
                started = subprocess.Popen(request["start"], stdin=subprocess.DEVNULL)
                running[started.pid] = started
                pid = started.pid
            else:
                pid = request["end"]
                ended = running.pop(pid, None)
                if ended is not None:
                    ended.kill()
                    ended.wait()
            sys.stdout.write(json.dumps({"pid": pid}) + "\n")
            sys.stdout.flush()
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
