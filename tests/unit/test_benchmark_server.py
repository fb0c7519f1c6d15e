"""A benchmark's server that does not get ready is told of, and leaves nothing behind."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import server_process
from benchmarks.server_process import ServerProcess


class Process:
    """One that was started."""

    pid = 1
    returncode: int | None = None
    stdin = None
    was_killed = False

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self.was_killed = True

    def wait(self, timeout: float | None = None) -> int:
        return 0


class Serving:
    """A client whose server serves."""

    def __init__(self, target: str) -> None: ...

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait_until_serving(self, timeout: float, *, service: str) -> None: ...


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Process:
    """A server that serves, and that has still to claim a byte of its memory."""
    made = Process()
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def opened(address: str, *, timeout: float) -> Any:
        return io.BytesIO(b"\nholdfast_memory_claim_left_bytes 1.0\n")

    clock = SimpleNamespace(perf_counter=lambda: now_s, sleep=sleep)
    popen = SimpleNamespace(Popen=lambda *_, **__: made, PIPE=-1)
    monkeypatch.setattr(server_process, "time", clock)
    monkeypatch.setattr(server_process, "subprocess", popen)
    monkeypatch.setattr(server_process, "Client", Serving)
    monkeypatch.setattr("urllib.request.urlopen", opened)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return made


def test_a_server_that_never_has_its_memory_is_an_error(process: Process, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="has not the memory it claims after 120 s"):
        ServerProcess(core=None, claims_memory=True).__enter__()
    assert process.was_killed
    assert not list(tmp_path.iterdir())


def test_a_server_that_left_while_it_claimed_is_an_error(process: Process) -> None:
    process.returncode = 9
    with pytest.raises(RuntimeError, match="the server left with 9"):
        ServerProcess(core=None, claims_memory=True).__enter__()


def test_who_does_not_ask_for_the_memory_does_not_wait_for_it(process: Process) -> None:
    with ServerProcess(core=None):
        assert not process.was_killed
    assert process.was_killed
