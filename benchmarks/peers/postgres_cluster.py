"""A PostgreSQL cluster of one's own: a free port of loopback, a directory that goes away.

The programs are those on the machine (the newest of /usr/lib/postgresql, else the PATH), else
Debian's package, installed with the rights there are and not without saying so. A cluster that runs
already is never spoken to.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.demo.redis_server import free_port

_USER = "peer"
_START_S_MAX = 30.0
_SYSTEM = Path("/usr/lib/postgresql")
# Durable as it comes; the rest is what a machine of its own would be given.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "effective_cache_size": "4GB",
    "wal_buffers": "16MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "wal_compression": "on",
    "jit": "off",
    "autovacuum_naptime": "5s",
    "max_connections": "100",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}


class PostgresFailed(RuntimeError):
    """There is no PostgreSQL to be had, or it does not start; the message says why."""


def programs(say: Callable[[str], None]) -> Path:
    """The folder with initdb and pg_ctl. Raises PostgresFailed that says how to get them."""
    found = _there()
    if found is None:
        _install(say)
        found = _there()
    if found is None:
        raise PostgresFailed("no PostgreSQL on this machine; Debian: apt-get install postgresql")
    return found


def _there() -> Path | None:
    folders = [path.parent for path in _SYSTEM.glob("*/bin/initdb")]
    if folders:
        return max(folders, key=lambda folder: float(folder.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _install(say: Callable[[str], None]) -> None:
    """Install Debian's package as root, without a cluster of its own. Raises PostgresFailed."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", "postgresql"]
    say(f"no PostgreSQL here: installing Debian's package ({' '.join(command)})")
    environment = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PostgresFailed(f"Debian's package could not be installed: {reason}")


class PostgresCluster:
    """One cluster for the length of a block."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._programs = programs(say)
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))
        self.port = free_port()
        self._data = self.directory / "data"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the postmaster; its backends are its children."""
        assert self._process is not None
        return self._process.pid

    @property
    def dsn(self) -> str:
        """Where it is reached."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"

    def version(self) -> str:
        """Such as ``PostgreSQL 15.8``."""
        line = self._run("postgres", "--version")
        return "PostgreSQL " + line.split(") ")[1].split()[0]

    def sql(self, text: str) -> str:
        """Run statements; what they print, without decoration."""
        return self._run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.dsn, given=text).strip()

    def _run(self, program: str, *arguments: str, given: str = "") -> str:
        done = subprocess.run(
            [*self._as_nobody_special(), str(self._programs / program), *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
        )
        if done.returncode:
            raise PostgresFailed(f"{program}: {done.stderr.strip()}")
        return done.stdout

    def _as_nobody_special(self) -> list[str]:
        """PostgreSQL does not run as root: as the user that its package made."""
        if os.geteuid() != 0:
            return []
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def _start(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
        data = str(self._data)
        self._run("initdb", "-D", data, "-U", _USER, "-A", "trust", "--locale=C", "-EUTF8")
        told = {
            **SETTINGS,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
        }
        flags = [part for name, value in told.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [*self._as_nobody_special(), str(self._programs / "postgres"), "-D", data, *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
            process_group=0,
        )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        """Raises PostgresFailed when it ends instead, or takes too long."""
        assert self._process is not None
        until = time.monotonic() + _START_S_MAX
        while True:
            try:
                self.sql("SELECT 1")
                return
            except PostgresFailed as fault:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise PostgresFailed(f"PostgreSQL does not start: {fault}") from None
            time.sleep(0.05)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        """Immediate shutdown: its data go with it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)
