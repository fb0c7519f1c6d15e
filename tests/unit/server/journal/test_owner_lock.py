"""The lock beside a journal file: held, looked at, given back."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from server.journal import owner_lock
from server.journal.errors import JournalOwned
from server.journal.owner_lock import OwnerLock, owner_of


def test_the_owner_is_named_while_it_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert owner_of(path) == ""
    lock = OwnerLock(path, "process 7")
    assert owner_of(path) == "process 7"
    with pytest.raises(JournalOwned, match="process 7"):
        OwnerLock(path, "process 8")
    lock.release()
    assert owner_of(path) == ""
    OwnerLock(path, "process 8").release()


def test_whoever_looks_is_in_nobody_s_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking takes the lock for an instant; an owner that meets it tries again."""
    path = tmp_path / "lock"
    looker = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looker, fcntl.LOCK_SH)
    waits: list[float] = []

    def until_it_has_looked(seconds: float) -> None:
        waits.append(seconds)
        os.close(looker)

    monkeypatch.setattr(owner_lock.time, "sleep", until_it_has_looked)
    lock = OwnerLock(path, "process 7")
    assert len(waits) == 1
    assert owner_of(path) == "process 7"
    lock.release()


def test_two_may_look_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    OwnerLock(path, "process 7").release()
    looker = os.open(path, os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    assert owner_of(path) == ""
    os.close(looker)
