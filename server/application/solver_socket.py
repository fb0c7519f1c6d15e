"""The socket over which solvers speak to their pool, in a folder that only this user can reach.

A server that is killed leaves its own behind: the next one to start removes what nobody listens on.

Invariant: no socket of a server that lives is removed. It has its name only once somebody listens
on it, and a folder without one may be of a server that just starts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path
from typing import Final

_PREFIX: Final = "holdfast-solver-"
_NAME: Final = "socket"


def listening() -> tuple[socket.socket, Path]:
    """A new one, and its place. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(folder / "unnamed"))
        made.listen()
        return made, (folder / "unnamed").rename(folder / _NAME)
    except OSError:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise


def remove(place: Path) -> None:
    """Take it away with its folder."""
    with contextlib.suppress(OSError):  # somebody else did, or put something beside it
        place.unlink()
        place.parent.rmdir()


def remove_abandoned() -> None:
    """Those of this user whose servers are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if is_ours and _is_abandoned(folder / _NAME):
                remove(folder / _NAME)


def _is_abandoned(place: Path) -> bool:
    if not place.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        # A server that is too busy to answer has it wait: that is an answer.
        caller.setblocking(False)
        try:
            caller.connect(str(place))
        except ConnectionRefusedError:
            return True
    return False
