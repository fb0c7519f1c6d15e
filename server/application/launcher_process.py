"""A small program that starts others: what `launcher` speaks to, run by its path.

Reads one JSON object a line, ``{"command": [...], "input": "..."}``, runs the command with that
input, and answers with one line, ``{"status": 0, "output": "...", "complaint": "..."}``. Ends with
its input, or by SIGTERM, which ends the command too. Imports next to nothing: it is started with
every server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

_running: subprocess.Popen[bytes] | None = None


def _end(*_: object) -> None:
    if _running is not None:
        _running.kill()
    os._exit(128 + signal.SIGTERM)


def main() -> int:
    """The program."""
    global _running
    signal.signal(signal.SIGTERM, _end)
    # Ctrl-C reaches all processes of a terminal: the server decides what is to end, and when.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _running = subprocess.Popen(
            request["command"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, complaint = _running.communicate(request["input"].encode())
        status, _running = _running.returncode, None
        answer = {
            "status": status,
            "output": output.decode(errors="replace"),
            "complaint": complaint.decode(errors="replace"),
        }
        try:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # The server was killed meanwhile: nobody is left to tell, nor to read a complaint.
            os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
