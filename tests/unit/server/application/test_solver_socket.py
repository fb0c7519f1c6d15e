"""Sockets of servers that are gone are removed, and nothing else is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.application import solver_socket
from server.application.solver_pool import PoolLimits, SolverPool

KILLED = (
    "import os, signal; from server.application import solver_socket;"
    "kept = solver_socket.listening(); os.kill(os.getpid(), signal.SIGKILL)"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def names_in(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


@pytest.fixture
def living(folder: Path) -> Iterator[Path]:
    """The place of a socket that a server listens on."""
    listening, place = solver_socket.listening()
    with listening:
        yield place


@pytest.fixture
def abandoned(folder: Path) -> Path:
    """The place of one whose server is gone."""
    listening, place = solver_socket.listening()
    listening.close()
    return place


def test_what_a_killed_server_left_is_removed(folder: Path) -> None:
    command = [sys.executable, "-c", KILLED]
    ended = subprocess.run(command, env={**os.environ, "TMPDIR": str(folder)}, check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = names_in(folder)
    assert (folder / left / "socket").is_socket()
    solver_socket.remove_abandoned()
    assert not names_in(folder)


def test_that_of_a_living_server_stays_and_may_be_reached(living: Path, abandoned: Path) -> None:
    solver_socket.remove_abandoned()
    assert living.is_socket()
    assert not abandoned.parent.exists()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.connect(str(living))


def test_that_of_a_server_too_busy_to_answer_stays(folder: Path) -> None:
    listening, place = solver_socket.listening()
    listening.listen(0)
    callers = []
    with listening:
        while True:
            callers.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            callers[-1].setblocking(False)
            try:
                callers[-1].connect(str(place))
            except BlockingIOError:
                break
        solver_socket.remove_abandoned()
        assert place.is_socket()
    for caller in callers:
        caller.close()


def test_that_of_a_server_that_just_starts_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one looks in the moment before anybody listens."""
    listen = socket.socket.listen

    def later(made: socket.socket) -> None:
        solver_socket.remove_abandoned()
        listen(made)

    monkeypatch.setattr(socket.socket, "listen", later)
    listening, place = solver_socket.listening()
    with listening:
        assert place.is_socket()


def test_that_of_another_user_stays(abandoned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: abandoned.stat().st_uid + 1)
    solver_socket.remove_abandoned()
    assert abandoned.is_socket()


def test_what_is_no_such_folder_stays(abandoned: Path, tmp_path: Path) -> None:
    elsewhere = abandoned.parent.rename(tmp_path / "elsewhere")
    link = tmp_path / "holdfast-solver-link"
    link.symlink_to(elsewhere)
    file = tmp_path / "holdfast-solver-file"
    file.touch()
    named = tmp_path / "holdfast-solver-named" / "socket"
    named.parent.mkdir()
    named.touch()
    solver_socket.remove_abandoned()
    assert (elsewhere / "socket").is_socket()
    assert link.is_symlink()
    assert file.is_file()
    assert named.is_file()


def test_what_somebody_put_beside_it_stays(abandoned: Path) -> None:
    note = abandoned.with_name("note")
    note.touch()
    solver_socket.remove_abandoned()
    assert note.exists()


def test_a_socket_that_can_not_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = tmp_path / ("far" * 40)
    far.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(far))
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        solver_socket.listening()
    assert not names_in(far)


async def test_a_pool_removes_what_others_left_and_leaves_nothing(
    abandoned: Path, folder: Path
) -> None:
    pool = SolverPool(PoolLimits())
    await pool.start()
    (own,) = names_in(folder)
    assert own != abandoned.parent.name
    assert (folder / own).stat().st_mode & 0o077 == 0
    await pool.close()
    assert not names_in(folder)
