"""What is put under load: the server, perhaps its standby, the journal, proxies between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.core_time import core_seconds
from benchmarks.measure import cores
from benchmarks.resident import resident_bytes
from holdfast import aio
from holdfast.demo.redis_server import RedisProcess, free_port
from loadtests.faultproxy import FaultProxy
from loadtests.scenario import Scenario

ROOT = Path(__file__).parents[1]
_START_S_MAX = 120.0
_STOP_S_MAX = 90.0
# The judge reads the journal from its first record on.
_KEEPS_ALL = ("--snapshot-commands", "1000000000")


def core_of_server() -> set[int] | None:
    """The server's core; None where there is no choice."""
    there = cores()
    return {there[0]} if len(there) > 1 else None


def cores_of_callers() -> set[int] | None:
    """Everybody else's."""
    there = cores()
    return set(there[1:]) if len(there) > 1 else None


def pinned(command: Sequence[str], to: set[int] | None) -> list[str]:
    """The command kept on some cores, where the system has a way to do so."""
    taskset = shutil.which("taskset")
    if to is None or taskset is None:
        return list(command)
    return [taskset, "-c", ",".join(map(str, sorted(to))), *command]


class ServerProcess:
    """``python -m server`` on loopback, on some cores."""

    def __init__(self, *, flags: Sequence[str], cores: set[int] | None) -> None:
        self._cores = cores
        self.target = f"127.0.0.1:{free_port()}"
        self.metrics_port = free_port()
        self._flags = tuple(flags)
        self._process: subprocess.Popen[bytes] | None = None
        self.deaths = 0
        """How often it ended and was not told to."""
        self.drains_s: list[float] = []

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it is there; a death is counted once."""
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        self.deaths += 1
        self._process = None
        return False

    def launch(self) -> None:
        """Start it, and do not wait."""
        command = [
            *(sys.executable, "-m", "server", "--listen", self.target),
            *("--metrics-listen", f"127.0.0.1:{self.metrics_port}", "--log-level", "warning"),
            *self._flags,
        ]
        self._process = subprocess.Popen(
            pinned(command, self._cores), cwd=ROOT, stdin=subprocess.DEVNULL
        )

    async def ready(self, *, service: str = "") -> float:
        """Wait until health says SERVING; returns the seconds. Raises RuntimeError."""
        started = time.monotonic()
        async with aio.Client(self.target) as client:
            while True:
                with contextlib.suppress(Exception):
                    await client.wait_until_serving(0.5, service=service)
                    return time.monotonic() - started
                if not self.is_running:
                    raise RuntimeError(f"the server on {self.target} ended instead of serving")
                if time.monotonic() - started > _START_S_MAX:
                    raise RuntimeError(f"{self.target} does not serve after {_START_S_MAX:.0f} s")

    async def stop(self) -> float:
        """SIGTERM; returns the seconds until it had ended."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL."""
        await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> float:
        if not self.is_running:
            return 0.0
        process = self._process
        assert process is not None
        started = time.monotonic()
        process.send_signal(how)
        try:
            await asyncio.to_thread(process.wait, _STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
        self._process = None
        took_s = time.monotonic() - started
        if how is signal.SIGTERM:
            self.drains_s.append(took_s)
            if process.returncode:
                self.deaths += 1
        return took_s

    def core_seconds(self) -> float:
        """Processor time it has used; 0 where it does not run or the system does not tell."""
        return 0.0 if self._process is None else core_seconds(self.pid) or 0.0

    def resident_bytes(self) -> int:
        """Its memory; 0 where it does not run or the system does not tell."""
        if self._process is None:
            return 0
        with contextlib.suppress(OSError):
            return resident_bytes(self.pid)
        return 0


class House:
    """An async context manager; everything it started ends with it."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-load-"))
        self.redis: RedisProcess | None = None
        self.redis_proxy: FaultProxy | None = None
        self.servers: list[ServerProcess] = []

    @property
    def target(self) -> str:
        """What callers are given."""
        return ",".join(server.target for server in self.servers)

    @property
    def journal_url(self) -> str:
        """Where the journal is read afterwards."""
        if self.redis is not None:
            return self.redis.journal_url()
        return f"sqlite://{self.directory / 'data' / 'journal.sqlite3'}"

    @property
    def deaths(self) -> int:
        """Servers that ended and were not told to, so far."""
        return sum(server.deaths for server in self.servers)

    async def __aenter__(self) -> House:
        try:
            await self._begin()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _begin(self) -> None:
        settings = self._scenario.server
        (self.directory / "data").mkdir()
        flags = ["--data", str(self.directory / "data"), *_KEEPS_ALL, *settings.flags]
        if settings.journal == "redis":
            self.redis = await asyncio.to_thread(RedisProcess)
            here = cores_of_callers()
            if here is not None and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(self.redis.pid, here)
            port = self.redis.port
            if any(event.kind == "slow_redis" for event in self._scenario.events):
                self.redis_proxy = FaultProxy(port)
                await self.redis_proxy.start()
                port = self.redis_proxy.port
            flags += ["--journal", f"redis://127.0.0.1:{port}/0"]
        if settings.standby:
            flags.append("--standby")
        self.servers.append(ServerProcess(flags=flags, cores=core_of_server()))
        if settings.standby:
            # Not beside the other one: a start takes seconds of a core, which that one needs.
            self.servers.append(ServerProcess(flags=flags, cores=cores_of_callers()))
        self.servers[0].launch()
        await self.servers[0].ready()
        for standby in self.servers[1:]:
            standby.launch()
            await standby.ready(service="holdfast.ready")

    async def __aexit__(self, *_: object) -> None:
        for server in self.servers:
            await server.kill()
        if self.redis_proxy is not None:
            await self.redis_proxy.close()
        if self.redis is not None:
            self.redis.close()
        shutil.rmtree(self.directory, ignore_errors=True)
