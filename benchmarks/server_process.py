"""A real server in a process of its own, on loopback, in a directory that goes with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.core_time import core_seconds
from benchmarks.measure import pin
from benchmarks.resident import resident_bytes
from holdfast import Client, HoldfastError
from holdfast.demo.redis_server import free_port

_START_S_MAX = 60.0
_STOP_S_MAX = 20.0
_CLAIM_S_MAX = 120.0


class ServerProcess:
    """Starts with ``with``, or by `start`; ends, by its pid, with the block."""

    def __init__(
        self, *, core: int | None, flags: tuple[str, ...] = (), claims_memory: bool = False
    ) -> None:
        """`core`: the one it is kept on; None: any. `flags` count from the next start on.
        `claims_memory`: it has the memory of its tables before a start is over."""
        self._core = core
        self.flags = flags
        self._claims_memory = claims_memory
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self.target = ""

    @property
    def directory(self) -> Path:
        """Where its journal lies."""
        assert self._directory is not None
        return self._directory

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, service: str = "") -> float:
        """Start it; returns the seconds until health says SERVING. Raises RuntimeError.

        `service` is what health is asked for: "holdfast.ready" waits for a standby that keeps up.
        """
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
        self.target = f"127.0.0.1:{free_port()}"
        command = [
            *(sys.executable, "-m", "benchmarks.serve"),
            *("--listen", self.target, "--log-level", "warning"),
            *("--data", str(self._directory), *self.flags),
        ]
        metrics = f"127.0.0.1:{free_port()}" if self._claims_memory else "off"
        command += ["--metrics-listen", metrics, *(["--claim-memory"] * self._claims_memory)]
        started = time.perf_counter()
        # Where a core can be chosen, the child keeps the one it was started on.
        with _on_core(self._core):
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        with Client(self.target) as client:
            self._wait(lambda: _serves(client, service), _START_S_MAX, "does not serve")
            serving_s = time.perf_counter() - started
        if self._claims_memory:
            self._wait(lambda: _has_memory(metrics), _CLAIM_S_MAX, "has not the memory it claims")
        return serving_s

    def _wait(self, is_so: Callable[[], bool], s_max: float, trouble: str) -> None:
        """Until it is so; the server's `trouble` is that it is not after `s_max`."""
        assert self._process is not None
        began = time.perf_counter()
        while not is_so():
            if self._process.poll() is not None:
                raise RuntimeError(f"the server left with {self._process.returncode}")
            if time.perf_counter() - began > s_max:
                raise RuntimeError(f"the server {trouble} after {s_max:.0f} s")

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._ended()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._ended()

    def _ended(self) -> None:
        assert self._process is not None
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def core_s(self) -> float | None:
        """Processor time it has used in seconds; None where the system does not tell."""
        return core_seconds(self.pid)

    def resident_bytes(self) -> int:
        """Its memory."""
        return resident_bytes(self.pid)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._clear_away()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._clear_away()

    def _clear_away(self) -> None:
        try:
            if self._process is not None:
                # Its directory goes anyway: no need to wait for a last snapshot.
                self.kill()
        finally:
            if self._directory is not None:
                shutil.rmtree(self._directory, ignore_errors=True)


def _serves(client: Client, service: str) -> bool:
    """Whether it does; a moment to find no."""
    with contextlib.suppress(HoldfastError):
        client.wait_until_serving(0.25, service=service)
        return True
    return False


def _has_memory(metrics: str) -> bool:
    """Whether the server at this address of its metrics has all it claims; a moment to find no."""
    address = f"http://{metrics}/metrics"
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as reply:
        if b"\nholdfast_memory_claim_left_bytes 0.0\n" in reply.read():
            return True
    time.sleep(0.2)
    return False


@contextlib.contextmanager
def _on_core(core: int | None):  # type: ignore[no-untyped-def]
    """Start children on `core`: they inherit it."""
    if core is None or not hasattr(os, "sched_getaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
