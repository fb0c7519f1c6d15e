"""Solves waves, and dual prices, in a process of its own: ``python -m
server.application.solver_process``.

Takes a SOCKET and a number of BYTES. Connects to the pool's socket, says READY when its kernels
and libraries are there, and then answers one job after another, telling better answers as it finds
them. Its memory is limited to BYTES of address space; it goes when the socket closes. The solvers
it runs have been seen to abort: whoever speaks to it must expect its end at any time.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from typing import Any

from engine.routing.waves.budget import Budget, ClockBudget, WorkBudget
from engine.routing.waves.solver import Progress, solve_wave
from engine.routing.waves.warmup import warm_up
from server.application.solver_messages import (
    HEAD,
    Kind,
    answer_frame,
    frame,
    numbers_of,
    wave_of_job,
)
from server.routing.prices.dual_job import DualJob
from server.routing.prices.dual_solve import solved as dual_prices

_TELL_EVERY_S = 0.2
_NICENESS = 5


def _receive(channel: socket.socket, size: int) -> bytes:
    """`size` bytes; fewer where the other side has closed."""
    data = bytearray()
    while len(data) < size:
        part = channel.recv(min(1 << 20, size - len(data)))
        if not part:
            break
        data += part
    return bytes(data)


def solve(channel: socket.socket, numbers: dict[str, Any]) -> None:
    """One job: progress, then the answer."""
    wave = wave_of_job(numbers)
    told = -_TELL_EVERY_S

    def tell(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_EVERY_S:
            told = time.monotonic()
            channel.sendall(
                answer_frame(
                    Kind.PROGRESS, progress.answer(), stage=progress.stage, is_deterministic=False
                )
            )

    clock = ClockBudget(int(numbers["ms"]) / 1000, time.monotonic)
    work_s = int(numbers["work_ms"]) / 1000
    budget: Budget = WorkBudget(work_s, until=clock.left_s) if work_s else clock
    answer = solve_wave(
        wave,
        budget,
        seed=int(numbers["seed"]),
        gap_enough=int(numbers["gap_enough_millionths"]) / 1e6,
        progress=tell,
    )
    budget.left_s()  # notes a clock that came first
    channel.sendall(
        answer_frame(Kind.ANSWER, answer, stage="done", is_deterministic=budget.is_deterministic)
    )


def price(channel: socket.socket, numbers: dict[str, Any]) -> None:
    """Dual prices of one job."""
    channel.sendall(frame(Kind.ANSWER, dual_prices(DualJob.from_numbers(numbers)).numbers()))


def main(arguments: list[str]) -> int:
    """The program."""
    path, bytes_most = arguments[0], int(arguments[1])
    os.nice(_NICENESS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(path)
        warm_up(kernels_only=False)
        resource.setrlimit(resource.RLIMIT_AS, (bytes_most, bytes_most))
        channel.sendall(frame(Kind.READY, {"pid": os.getpid()}))
        while head := _receive(channel, HEAD.size):
            kind, size = HEAD.unpack(head)
            work = price if kind == Kind.PRICES else solve
            work(channel, numbers_of(_receive(channel, size)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
