"""Solvers of waves in processes of their own, which may die.

Owns: `SolverPool`. A job goes to an idle solver, which tells every better answer it finds. Whatever
becomes of the solver, there is an answer when the budget ends:

- it answers in time: its answer;
- it ends or hangs: the best answer it has told, else the orders routed one after another by the
  kernels in this process, a few at a time. It is replaced by a new one.

Dual prices are solved beside waves (`price`): by a solver that no wave wants, one job after
another. Without prices nothing is worse than it was, so nobody makes up for a solver that fails.

A hung solver is known by its deadline alone: nothing that it does can be trusted to say so. Part of
the budget is kept back for what this process does without it.

Solvers are started by a small process (`solver_starter`) and speak over a Unix socket that only
this user can reach; the first wave starts them, unless they are to be there from the start. A
solver is replaced after some jobs, for what its libraries may have lost. Who brings a job never
waits for one to be started but for one to be idle: a caller that goes away, or whose time is short,
must not cut a start in two. Where one could not be started, the next job has it tried again.

Callers: `server.lifecycle` (start and end), services that route waves, `price_solves`. One event
loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from engine.routing.waves.answer import WaveAnswer
from engine.routing.waves.in_turn import route_in_slices
from engine.routing.waves.wave import Wave
from server import logs
from server.application import solver_socket
from server.application.pace import Pace
from server.application.solver_messages import (
    FRAME_BYTES_MAX,
    HEAD,
    Kind,
    answer_of,
    frame,
    job_frame,
    numbers_of,
    stage_of,
)

Prices = TypeVar("Prices")

_log = logs.get("solver_pool")

_STARTER: Final = Path(__file__).with_name("solver_starter.py")
_COMMAND: Final = (sys.executable, "-m", "server.application.solver_process")
_ORDERS_PER_SLICE: Final = 4
_KEPT_BACK_S_PER_ORDER: Final = 0.0004
"""What routing an order in this process takes, with room to spare."""
_KEPT_BACK_MOST: Final = 0.5
"""Of the budget."""
_SOLVER_PART: Final = 0.85
"""Of the time until it would be ended that a solver is told to finish in."""
_SENT_AT_ONCE: Final = 1 << 18
"""Bytes of a job: a large wave is a hundred megabytes, which nobody is to wait for."""
_BROKEN: Final = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
)
"""What a solver that ended, or that talks nonsense, looks like from here."""


class PoolFullError(Exception):
    """As many jobs wait as may."""


class NotPriced(enum.StrEnum):
    """Why dual prices were not solved."""

    CRASHED = "CRASHED"
    """The solver ended, or said what are no prices."""
    HUNG = "HUNG"
    """It was ended at the deadline."""
    UNSERVED = "UNSERVED"
    """None was free until then, or there are none, or the job is larger than they take."""


class NotPricedError(Exception):
    """Dual prices were not solved."""

    def __init__(self, why: NotPriced) -> None:
        super().__init__(why.value)
        self.why = why


class Source(enum.StrEnum):
    """Where an answer is from."""

    SOLVER = "SOLVER"
    """A solver that finished."""
    TOLD = "TOLD"
    """The last that a solver told before it ended or was ended."""
    KERNELS = "KERNELS"
    """This process, one order after another."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a solver tells of a wave: an answer, and what it was at."""

    answer: WaveAnswer
    """Without its prices (`due`) until the last."""
    stage: str
    is_deterministic: bool
    """Whether no clock had to do with it."""


@dataclass(frozen=True, slots=True)
class Solved:
    """A wave's answer, and where it is from."""

    answer: WaveAnswer
    source: Source
    is_deterministic: bool
    """Whether the same wave, seed and work have it on every machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How much of the machine solvers may have."""

    solvers: int = 1
    """0: every wave is routed by the kernels of this process."""
    at_start: bool = False
    """Whether solvers are started with the pool, and not by the first wave."""
    waiting_max: int = 16
    jobs_per_solver_max: int = 200
    memory_bytes_max: int = 4 << 30
    """Address space of one solver."""
    start_s_max: float = 120.0
    """Until a new solver must be ready: it may have to compile."""


@dataclass(slots=True)
class PoolCounts:
    """What has happened since the start."""

    jobs: int = 0
    solved: int = 0
    crashed: int = 0
    """Solvers that ended in the middle of a job, or said what is no answer."""
    hung: int = 0
    """Solvers that were ended at a job's deadline."""
    unserved: int = 0
    """Jobs whose time went by before a solver was free."""
    refused: int = 0
    by_kernels: int = 0
    browned_out: int = 0
    started: int = 0
    recycled: int = 0


class _Solver:
    """One solver's process and the line to it."""

    def __init__(
        self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid, self.reader, self.writer = pid, reader, writer
        self.jobs = 0


class SolverPool:
    """Some solvers, and a queue in front of them."""

    def __init__(
        self, limits: PoolLimits | None = None, *, command: Sequence[str] = _COMMAND
    ) -> None:
        """`command`: the solver's program; it is given the socket and the memory limit."""
        self.limits = limits or PoolLimits()
        self.counts = PoolCounts()
        self._command = tuple(command)
        self._socket: Path | None = None
        self._starter: asyncio.subprocess.Process | None = None
        self._server: asyncio.Server | None = None
        self._asking = asyncio.Lock()
        self._idle: asyncio.Queue[_Solver] = asyncio.Queue()
        self._freed = asyncio.Event()
        self._starting: dict[int, float] = {}
        self._solvers: set[_Solver] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._under_way = 0
        self._coming = 0
        """Solvers that are about to be started."""

    @property
    def pids(self) -> list[int]:
        """Of the solvers that are ready or at work."""
        return sorted(solver.pid for solver in self._solvers)

    @property
    def waiting(self) -> int:
        """Jobs that wait for a solver."""
        return self._waiting

    @property
    def idle(self) -> int:
        """Solvers that wait for a job."""
        return self._idle.qsize()

    async def start(self) -> None:
        """Be ready to start solvers, and start them where they are wanted at the start; they need
        not be ready when this returns."""
        if not self.limits.solvers:
            return
        solver_socket.remove_abandoned()
        listening, self._socket = solver_socket.listening()
        self._server = await asyncio.start_unix_server(self._greet, sock=listening)
        self._starter = await _start_starter()
        if self.limits.at_start:
            self._start_missing()

    def _start_missing(self) -> None:
        """Start as many as there should be and are not, beside whoever asks for one."""
        if self._starter is not None:
            there = len(self._solvers) + len(self._starting) + self._coming
            for _ in range(self.limits.solvers - there):
                self._start_another(None)

    async def close(self) -> None:
        """End everything. May be called twice."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        starter, self._starter = self._starter, None
        if starter is not None:
            assert starter.stdin is not None
            starter.stdin.close()
            await starter.wait()
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for solver in self._solvers:
            solver.writer.close()
        self._solvers.clear()
        place, self._socket = self._socket, None
        if place is not None:
            solver_socket.remove(place)

    async def ready(self) -> None:
        """Wait until a solver is idle."""
        self._start_missing()
        solver = await self._idle.get()
        self._idle.put_nowait(solver)

    async def solve(
        self,
        wave: Wave,
        *,
        budget_s: float,
        seed: int = 1,
        gap_enough: float = 0.0,
        work_s: float = 0.0,
        is_browned_out: bool = False,
        progress: Callable[[Told], None] | None = None,
    ) -> Solved:
        """An answer within `budget_s`; `seed` and `gap_enough` as `solve_wave` takes them.

        `work_s`: counted work at most, 0 for what the time allows. `is_browned_out`: by the
        kernels alone. Raises PoolFullError, and ValueError for a budget of nothing.
        """
        if not budget_s > 0:
            raise ValueError(f"budget_s is {budget_s}, not more than 0")
        self.counts.jobs += 1
        if is_browned_out:
            self.counts.browned_out += 1
            return await self._by_kernels(wave)
        if self._starter is None:
            return await self._by_kernels(wave)
        waiting = self._under_way - self.limits.solvers
        if waiting >= self.limits.waiting_max:
            self.counts.refused += 1
            raise PoolFullError(f"{waiting} waves wait, as many as waiting_max allows")
        self._under_way += 1
        try:
            return await self._by_solver(
                wave,
                budget_s=budget_s,
                seed=seed,
                gap_enough=gap_enough,
                work_s=work_s,
                progress=progress,
            )
        finally:
            self._under_way -= 1

    async def price(
        self,
        job: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], Prices],
        *,
        budget_s: float,
    ) -> Prices:
        """Dual prices within `budget_s`, by a solver that no wave wants. `job`: its numbers. `read`
        makes prices of the answer's numbers, or raises ValueError or KeyError for what are none.

        Raises NotPricedError.
        """
        if self._starter is None:
            raise NotPricedError(NotPriced.UNSERVED)
        deadline = asyncio.get_running_loop().time() + budget_s
        # Made in a thread: the decisions of hundreds of orders are a megabyte.
        try:
            data = await asyncio.to_thread(frame, Kind.PRICES, job)
        except ValueError as fault:  # of a network that is too large
            raise NotPricedError(NotPriced.UNSERVED) from fault
        solver = await self._living(deadline, self._spare)
        if solver is None:
            raise NotPricedError(NotPriced.UNSERVED)
        try:
            async with asyncio.timeout_at(deadline):
                await _send(solver, data)
                _, body = await _receive(solver.reader)
            prices = read(numbers_of(body))
        except TimeoutError:
            self.counts.hung += 1
            self._replace(solver)
            raise NotPricedError(NotPriced.HUNG) from None
        except _BROKEN as fault:
            self.counts.crashed += 1
            self._replace(solver)
            raise NotPricedError(NotPriced.CRASHED) from fault
        except asyncio.CancelledError:
            self._replace(solver)
            raise
        self._free(solver)
        return prices

    async def _spare(self) -> _Solver:
        """One that is idle and that no wave waits for."""
        while self._idle.qsize() <= self._waiting:
            self._freed.clear()
            await self._freed.wait()
        return self._idle.get_nowait()

    async def _by_solver(
        self,
        wave: Wave,
        *,
        budget_s: float,
        seed: int,
        gap_enough: float,
        work_s: float,
        progress: Callable[[Told], None] | None,
    ) -> Solved:
        loop = asyncio.get_running_loop()
        kept_back_s = min(
            _KEPT_BACK_MOST * budget_s, len(wave.orders) * _KEPT_BACK_S_PER_ORDER + 0.05
        )
        deadline = loop.time() + budget_s - kept_back_s
        solver = await self._next_solver(deadline)
        if solver is None:
            self.counts.unserved += 1
            return await self._by_kernels(wave)
        last: list[Told] = []

        def note(told: Told) -> None:
            last[:] = [told]
            if progress is not None:
                progress(told)

        try:
            async with asyncio.timeout_at(deadline):
                # The job is made in a thread: thousands of orders are tens of milliseconds.
                data = await asyncio.to_thread(
                    job_frame,
                    wave,
                    seconds=max(0.01, _SOLVER_PART * (deadline - loop.time())),
                    seed=seed,
                    gap_enough=gap_enough,
                    work_s=work_s,
                )
                told = await _ask(solver, data, wave, note)
        except TimeoutError:
            self.counts.hung += 1
            self._replace(solver)
        except _BROKEN:
            self.counts.crashed += 1
            self._replace(solver)
        except asyncio.CancelledError:
            self._replace(solver)
            raise
        else:
            self.counts.solved += 1
            self._give_back(solver)
            return Solved(told.answer, Source.SOLVER, told.is_deterministic)
        if last:
            return Solved(last[0].answer, Source.TOLD, False)
        return await self._by_kernels(wave)

    async def _next_solver(self, deadline: float) -> _Solver | None:
        """A solver that lives, or None when the deadline comes first."""
        self._waiting += 1
        try:
            return await self._living(deadline, self._idle.get)
        finally:
            self._waiting -= 1

    async def _living(
        self, deadline: float, take: Callable[[], Awaitable[_Solver]]
    ) -> _Solver | None:
        """The first that lives of those that `take` gives; None when the deadline comes first."""
        self._restart_overdue()
        self._start_missing()
        try:
            async with asyncio.timeout_at(deadline):
                while (solver := await take()).reader.at_eof():
                    self.counts.crashed += 1
                    self._replace(solver)
                return solver
        except TimeoutError:
            return None

    async def _by_kernels(self, wave: Wave) -> Solved:
        self.counts.by_kernels += 1
        slices = route_in_slices(wave, _ORDERS_PER_SLICE)
        answer = await asyncio.to_thread(next, slices)  # laying it out takes long by itself
        pace = Pace()
        while answer is None:
            await pace.turn()
            answer = next(slices)
        return Solved(answer, Source.KERNELS, True)

    # -- solvers come and go

    async def _tell_starter(self, request: dict[str, Any]) -> int:
        """The process that it started or ended. Raises OSError where it could not."""
        async with self._asking:
            line = await self._asked(request)
            if not line and self._starter is not None:
                # It has ended, and mostly what it had started with it: those are replaced by and
                # by, as they are found to be gone.
                with contextlib.suppress(ProcessLookupError):
                    self._starter.kill()
                await self._starter.wait()
                self._starter = await _start_starter()
                line = await self._asked(request)
        if not line:
            raise OSError("the process that starts solvers has ended")
        answer = json.loads(line)
        if "pid" not in answer:
            raise OSError(answer["failed"])
        return int(answer["pid"])

    async def _asked(self, request: dict[str, Any]) -> bytes:
        """What the process that starts solvers says; nothing where it has ended."""
        starter = self._starter
        if starter is None:
            raise OSError("the pool is closed")
        assert starter.stdin is not None
        assert starter.stdout is not None
        if starter.returncode is not None:
            return b""
        try:
            starter.stdin.write(json.dumps(request).encode() + b"\n")
            await starter.stdin.drain()
            return await starter.stdout.readline()
        except (BrokenPipeError, ConnectionResetError):
            return b""

    async def _start_one(self) -> None:
        assert self._socket is not None
        own = (str(self._socket), str(self.limits.memory_bytes_max))
        pid = await self._tell_starter({"start": [*self._command, *own]})
        self._starting[pid] = asyncio.get_running_loop().time()
        self.counts.started += 1

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A solver has connected: it is idle once it says that it is ready."""
        try:
            kind, body = await _receive(reader)
            pid = int(numbers_of(body)["pid"])
        except (*_BROKEN, TypeError):
            writer.close()
            return
        if kind is not Kind.READY or self._starting.pop(pid, None) is None:
            writer.close()
            return
        solver = _Solver(pid, reader, writer)
        self._solvers.add(solver)
        self._free(solver)

    def _restart_overdue(self) -> None:
        """Give up solvers that never got ready."""
        now = asyncio.get_running_loop().time()
        for pid, since in list(self._starting.items()):
            if now - since > self.limits.start_s_max:
                del self._starting[pid]
                self.counts.crashed += 1
                self._start_another(pid)

    def _give_back(self, solver: _Solver) -> None:
        solver.jobs += 1
        if solver.jobs >= self.limits.jobs_per_solver_max:
            self.counts.recycled += 1
            self._replace(solver)
        else:
            self._free(solver)

    def _free(self, solver: _Solver) -> None:
        """It has nothing to do: a wave may have it, or where none waits a job of prices."""
        self._idle.put_nowait(solver)
        self._freed.set()

    def _replace(self, solver: _Solver) -> None:
        solver.writer.close()
        self._solvers.discard(solver)
        self._start_another(solver.pid)

    def _start_another(self, ended: int | None) -> None:
        """In place of a process that is to be ended, if any."""
        self._coming += 1
        task = asyncio.ensure_future(self._end_and_start(ended))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_and_start(self, ended: int | None) -> None:
        try:
            if ended is not None:
                await self._tell_starter({"end": ended})
            await self._start_one()
        except OSError as fault:
            _log.warning("a solver could not be started, the next job tries", reason=str(fault))
        finally:
            self._coming -= 1


async def _start_starter() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        # Isolated and without site-packages: it needs the standard library alone.
        *(sys.executable, "-I", "-S", str(_STARTER)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def _receive(reader: asyncio.StreamReader) -> tuple[Kind, bytes]:
    kind, size = HEAD.unpack(await reader.readexactly(HEAD.size))
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {size} bytes is above {FRAME_BYTES_MAX}")
    return Kind(kind), await reader.readexactly(size)


async def _send(solver: _Solver, data: memoryview) -> None:
    for begin in range(0, len(data), _SENT_AT_ONCE):
        solver.writer.write(data[begin : begin + _SENT_AT_ONCE])
        await solver.writer.drain()


async def _ask(solver: _Solver, data: memoryview, wave: Wave, note: Callable[[Told], None]) -> Told:
    await _send(solver, data)
    while True:
        kind, body = await _receive(solver.reader)
        numbers = numbers_of(body)
        told = Told(answer_of(wave, numbers), stage_of(numbers), bool(numbers["is_deterministic"]))
        if kind is Kind.ANSWER:
            return told
        note(told)
