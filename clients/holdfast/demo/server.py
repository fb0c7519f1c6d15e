"""The server as a process of its own: started, killed, started again, stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from holdfast.demo.redis_server import free_port

STOP_S = 20.0


class ServerFailed(RuntimeError):
    """The server ended by itself; the message has the end of its log."""


class ServerProcess:
    """``holdfast serve`` on a free port of loopback, with its journal in `directory`."""

    def __init__(self, directory: Path, journal: str = "") -> None:
        """`journal` is the URL of one that lies elsewhere."""
        self.directory = directory
        self.journal = journal
        self.data = directory / "data"
        self.target = f"127.0.0.1:{free_port()}"
        self.log_path = directory / "server.log"
        self._log: IO[bytes] = self.log_path.open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's number; 0 while there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it; it recovers from its journal before it serves."""
        # Settings of the caller's own server must not leak into this one.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "holdfast", "serve", *self.flags()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=environment,
        )

    def flags(self) -> list[str]:
        """What it is told."""
        told = ["--listen", self.target, "--metrics-listen", "off", "--data", str(self.data)]
        return [*told, "--journal", self.journal] if self.journal else told

    def check(self) -> None:
        """Raises ServerFailed when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            lines = self.log_path.read_text("utf-8", "replace").strip().splitlines()
            tail = " | ".join(lines[-5:]) or "its log is empty"
            raise ServerFailed(f"the server ended with code {self._process.returncode}: {tail}")

    def kill(self) -> None:
        """SIGKILL: it gets no chance to do anything about it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        self._log.close()
