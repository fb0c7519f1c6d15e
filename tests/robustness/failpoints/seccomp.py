"""Stops a process at chosen system calls, and lets its parent say what becomes of each.

The kernel's own means (seccomp user notification, Linux 5.5 and later): no compiler, no root, and
it works on any binary. `listen` is called in the child before it becomes another program; `receive`
and the two answers in its parent. See seccomp_unotify(2).

Callers: `trap`.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_NUMBERS: Final = {
    "x86_64": {
        "seccomp": 317,
        "write": 1,
        "pwrite64": 18,
        "fsync": 74,
        "fdatasync": 75,
        "ftruncate": 77,
    },
    "aarch64": {
        "seccomp": 277,
        "write": 64,
        "pwrite64": 68,
        "fsync": 82,
        "fdatasync": 83,
        "ftruncate": 46,
    },
}
_PR_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER: Final = 1
_NEW_LISTENER: Final = 1 << 3
_ALLOW: Final = 0x7FFF0000
_NOTIFY: Final = 0x7FC00000
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_CONTINUE: Final = 1
_NOTIFICATION: Final = struct.Struct("<QIIiIQ6Q")
_RESPONSE: Final = struct.Struct("<QqiI")


@dataclass(frozen=True, slots=True)
class SystemCall:
    """One call that waits for its answer. `thread` is the kernel's number of who made it."""

    number: int
    thread: int
    name: str
    arguments: tuple[int, ...]


def numbers() -> dict[str, int]:
    """System calls of this machine by name; empty where the trap does not know it."""
    if platform.system() != "Linux":
        return {}
    return _NUMBERS.get(platform.machine(), {})


def listen(names: Sequence[str]) -> int:
    """From here on this process waits at each of `names`; the descriptor that hears of it.

    Raises OSError where the kernel, or a container's rules, do not allow it.
    """
    known = numbers()
    if not known:
        raise OSError(f"no table of system calls for {platform.system()} {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    steps = [(_LOAD_WORD, 0, 0, 0)]
    for place, name in enumerate(names):
        steps.append((_JUMP_IF_EQUAL, len(names) - place, 0, known[name]))
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(
        struct.pack("<HxxxxxxQ", len(steps), ctypes.addressof(code))
    )
    descriptor: int = libc.syscall(
        known["seccomp"], _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(program)
    )
    if descriptor < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"seccomp: {os.strerror(error)}")
    return descriptor


def receive(listener: int) -> SystemCall | None:
    """The next call that waits; None when whoever made it is gone meanwhile."""
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except FileNotFoundError:
        return None
    number, thread, _, which, _, _, *arguments = _NOTIFICATION.unpack(buffer)
    name = next((name for name, known in numbers().items() if known == which), str(which))
    return SystemCall(number, thread, name, tuple(arguments))


def let(listener: int, call: SystemCall) -> None:
    """Let the call happen."""
    _answer(listener, call, 0, _CONTINUE)


def refuse(listener: int, call: SystemCall, error: int) -> None:
    """Let the call fail with `error`; it does not happen."""
    _answer(listener, call, -error, 0)


def _answer(listener: int, call: SystemCall, error: int, flags: int) -> None:
    try:
        fcntl.ioctl(listener, _SEND, bytearray(_RESPONSE.pack(call.number, 0, error, flags)))
    except FileNotFoundError:
        return  # whoever made it is gone
