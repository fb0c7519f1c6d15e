"""Runs a program and stands between it and its disk: ``python -m ...trap [options] -- program``.

The program waits at every write to and sync of a file in ``--watch`` until this process lets it go
on. So what is durable is known at every moment; a sync or a write can be made to fail as the kernel
would; and the program can be killed exactly between two calls, with or without the power.

Orders come as lines of JSON on standard input, events leave as lines on standard output (`Orders`
of `trapped` are the other side). When standard input ends, so does the program.

``--files offsets``: files written at offsets (SQLite). ``--files appended``: files that only grow
(Redis' append file). ``--plain``: no trap at all, only to start, signal and kill.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import ctypes
import errno
import json
import os
import random
import select
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

from tests.robustness.failpoints import seccomp
from tests.robustness.failpoints.disk import AppendedFile, Image

_SYNCS = ("fsync", "fdatasync")
_PR_SET_PDEATHSIG = 1
# SQLite's index of its log: mapped memory, made anew after every crash.
_NEVER_SYNCED = ("-shm", ".lock")
_FILE_BYTES_MAX = 256 * 1024 * 1024
Key = tuple[int, int]


class Trap:
    """One program, and what is known of its files."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._watch = str(Path(options.watch).resolve())
        self._by_offsets = options.files == "offsets"
        self._images: dict[Key, Image] = {}
        self._appended: dict[Key, AppendedFile] = {}
        self._failing: dict[str, int] = {}
        self._kill_after: dict[str, int] = {}
        self._kill_seed: int | None = None
        self._counts = {"write": 0, "sync": 0}
        self._syncs_failed = 0
        self._listener = -1
        self._ended = False
        self._pid = 0
        self._remember_what_is_there()
        self._start(options)

    # --- The program ---------------------------------------------------------------------------

    def _start(self, options: argparse.Namespace) -> None:
        calls = [*_SYNCS]
        if self._by_offsets:
            calls += ["pwrite64", "ftruncate"]
        if options.full_disk:
            calls.append("write")
        ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            # A file that may not grow is an error to be told, not a reason to die.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            if not options.plain:
                try:
                    listener = seccomp.listen(calls)
                except OSError as error:
                    theirs.sendall(str(error).encode()[:500])
                    os._exit(97)
                handed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))
                theirs.sendmsg([b"+"], [handed])
                os.close(listener)
            theirs.close()
            with open(os.devnull) as nothing:
                os.dup2(nothing.fileno(), 0)
            os.dup2(2, 1)
            os.execvp(options.program[0], options.program)
        theirs.close()
        if not options.plain:
            told, rights, _, _ = ours.recvmsg(512, socket.CMSG_SPACE(4))
            if not rights:
                os.waitpid(self._pid, 0)
                say(event="unsupported", reason=told.decode(errors="replace"))
                raise SystemExit(3)
            self._listener = array.array("i", rights[0][2])[0]
        say(event="started", pid=self._pid)

    def run(self) -> None:
        """Until the program has ended and nobody gives orders any more."""
        waiter = os.pidfd_open(self._pid)
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(waiter, select.POLLIN)
        if self._listener >= 0:
            poll.register(self._listener, select.POLLIN)
        orders = bytearray()
        while True:
            for descriptor, what in poll.poll():
                if descriptor == self._listener:
                    if what & select.POLLIN:
                        self._heard()
                    else:
                        poll.unregister(descriptor)
                elif descriptor == waiter:
                    poll.unregister(waiter)
                    self._reap()
                else:
                    chunk = os.read(0, 65536)
                    if not chunk:
                        self._kill()
                        return
                    orders += chunk
                    while b"\n" in orders:
                        line, _, orders = orders.partition(b"\n")
                        self._obey(json.loads(line))

    def _kill(self) -> None:
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        if not self._ended:
            self._ended = True
            _, status = os.waitpid(self._pid, 0)
            say(event="ended", status=os.waitstatus_to_exitcode(status))

    def _obey(self, order: dict[str, Any]) -> None:
        what = order["do"]
        told: dict[str, Any] = {}
        if what == "kill":
            self._kill()
        elif what == "cut":
            self._kill()
            told = self._cut_power(order["seed"])
        elif what == "fail":
            self._failing[order["call"]] = getattr(errno, order["error"])
        elif what == "heal":
            self._failing.clear()
        elif what == "cut_at":
            self._kill_after = {order["call"]: self._counts[order["call"]] + order["count"]}
            self._kill_seed = order["seed"]
        elif what == "counts":
            told = {**self._counts, "syncs_failed": self._syncs_failed}
        say(event="done", do=what, **told)

    # --- Its calls -----------------------------------------------------------------------------

    def _heard(self) -> None:
        call = seccomp.receive(self._listener)
        if call is None:
            return
        try:
            key = self._key(call)
            kind = "sync" if call.name in _SYNCS else "write"
            if key is not None:
                self._counts[kind] += 1
                if self._counts[kind] == self._kill_after.get(kind):
                    self._kill()
                    seed = self._kill_seed
                    lost = self._cut_power(seed) if seed is not None else {}
                    say(event="cut", call=call.name, **lost)
                    return
                if kind in self._failing:
                    if kind == "sync":
                        self._syncs_failed += 1
                        if self._by_offsets:
                            self._image(key).sync_failed()
                    seccomp.refuse(self._listener, call, self._failing[kind])
                    return
                self._note(call, key)
        except (FileNotFoundError, ProcessLookupError):
            pass  # it died meanwhile; there is nobody to answer
        seccomp.let(self._listener, call)

    def _key(self, call: seccomp.SystemCall) -> Key | None:
        """Which watched file the call is about; None: none of them."""
        link = f"/proc/{call.thread}/fd/{call.arguments[0]}"
        path = os.readlink(link)
        if not path.startswith(self._watch + os.sep) or path.endswith(_NEVER_SYNCED):
            return None
        found = os.stat(link)
        return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None

    def _note(self, call: seccomp.SystemCall, key: Key) -> None:
        if not self._by_offsets:
            if call.name in _SYNCS:
                size = os.stat(f"/proc/{call.thread}/fd/{call.arguments[0]}").st_size
                self._appended.setdefault(key, AppendedFile()).durable_bytes = size
            return
        image = self._image(key)
        if call.name in _SYNCS:
            image.synced()
        elif call.name == "ftruncate":
            image.truncate(call.arguments[1])
        elif call.name == "pwrite64":
            with open(f"/proc/{call.thread}/mem", "rb", buffering=0) as memory:
                memory.seek(call.arguments[1])
                image.write(call.arguments[3], memory.read(call.arguments[2]))

    def _image(self, key: Key) -> Image:
        return self._images.setdefault(key, Image())

    # --- The disk ------------------------------------------------------------------------------

    def _files(self) -> dict[Key, Path]:
        found = {}
        for folder, _, names in os.walk(self._watch):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    known = path.stat()
                    if stat.S_ISREG(known.st_mode) and known.st_size <= _FILE_BYTES_MAX:
                        found[known.st_dev, known.st_ino] = path
        return found

    def _remember_what_is_there(self) -> None:
        """What lies there before the program starts is on the disk."""
        for key, path in self._files().items():
            if path.name.endswith(_NEVER_SYNCED):
                continue
            if self._by_offsets:
                self._images[key] = Image(bytearray(path.read_bytes()))
            else:
                self._appended[key] = AppendedFile(path.stat().st_size)

    def _cut_power(self, seed: int) -> dict[str, int]:
        """Give every file the bytes it would have."""
        chance = random.Random(seed)
        not_synced = changed = 0
        for key, path in sorted(self._files().items(), key=lambda item: item[1]):
            if path.name.endswith("-shm"):
                path.unlink()
                continue
            held = path.read_bytes()
            if key in self._images:
                image = self._images[key]
                not_synced += sum(len(body or b"") for _, body in image.pending)
                left = image.after_power_cut(chance)
            elif key in self._appended:
                appended = self._appended[key]
                not_synced += len(held) - appended.durable_bytes
                left = appended.after_power_cut(held, chance)
            else:
                continue
            if left != held:
                path.write_bytes(left)
                changed += 1
        return {"files_changed": changed, "bytes_not_synced": not_synced}


def say(**event: Any) -> None:
    """Tell whoever gives the orders."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watch", required=True)
    parser.add_argument("--files", choices=("offsets", "appended"), default="offsets")
    parser.add_argument("--full-disk", action="store_true", help="writes can be made to fail")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("program", nargs="+")
    Trap(parser.parse_args(arguments)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
