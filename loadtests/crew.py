"""The generator processes, from the side of whoever orders them about."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from loadtests.house import ROOT, cores_of_callers, pinned
from loadtests.recording import Recording
from loadtests.scenario import Scenario, to_parts

_LINE_BYTES_MAX = 1 << 20
# Before everybody else on its core.
_WITNESS_NICE = -15


class WorkerFailed(RuntimeError):
    """A generator process ended, or said something that is no answer."""


class Crew:
    """An async context manager over all workers of a scenario."""

    def __init__(self, scenario: Scenario, target: str, directory: Path) -> None:
        self._scenario = scenario
        self._target = target
        self._directory = directory
        self._workers: list[asyncio.subprocess.Process] = []
        self._witness: asyncio.subprocess.Process | None = None
        self.is_witness_first = False
        """Whether there is a witness and the system lets it go first."""
        self.evidence_files: list[Path] = []

    async def __aenter__(self) -> Crew:
        count = self._scenario.callers.processes
        for _ in range(count):
            self._workers.append(await self._started())
        if self._scenario.callers.witness_rate:
            self._witness = await self._started()
            try:
                os.setpriority(os.PRIO_PROCESS, self._witness.pid, _WITNESS_NICE)
                self.is_witness_first = True
            except OSError:  # only root may
                pass
        parts = to_parts(self._scenario)
        await self._order(
            [
                {
                    "do": "prepare",
                    "scenario": parts,
                    "target": self._target,
                    "part": part,
                    # The witness' arrivals are a whole of their own.
                    "parts": count if part < count else 1,
                }
                for part in range(len(self._everybody))
            ]
        )
        return self

    @property
    def size(self) -> int:
        """Processes, with the witness."""
        return len(self._everybody)

    async def _started(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *pinned([sys.executable, "-m", "loadtests.worker"], cores_of_callers()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            limit=_LINE_BYTES_MAX,
        )

    @property
    def _everybody(self) -> list[asyncio.subprocess.Process]:
        return self._workers if self._witness is None else [*self._workers, self._witness]

    async def warm_up(self, seconds: float) -> None:
        """Let each of them make every kind of call a few times."""
        await self._order(
            [
                {
                    "do": "warm_up",
                    "seconds": seconds,
                    "evidence": str(self._evidence(f"warm-up-{part}")),
                }
                for part in range(len(self._everybody))
            ]
        )

    async def saturate(self) -> tuple[float, float]:
        """The server's capacity: calls answered a second, and journeys a second."""
        load = self._scenario.load
        answers = await self._order(
            [
                {
                    "do": "saturate",
                    "seconds": load.saturation_s,
                    "in_flight": max(1, load.in_flight // len(self._workers)),
                    "evidence": str(self._evidence(f"saturation-{part}")),
                }
                for part in range(len(self._workers))
            ]
        )
        return (
            sum(answer["calls_per_second"] for answer in answers),
            sum(answer["journeys_per_second"] for answer in answers),
        )

    async def run(
        self,
        stretches: list[tuple[float, float, float]],
        *,
        start: float,
        cut_at: list[float],
        grace_s: float,
    ) -> tuple[Recording, Recording | None]:
        """Let them all begin journeys from `start` on, a moment of the monotonic clock. What all of
        them found, and what the witness alone did."""
        everybody = self._everybody
        files = [self._directory / f"recording-{part}.json" for part in range(len(everybody))]
        rate = self._scenario.callers.witness_rate
        steady = [(seconds, rate, rate) for seconds, _, _ in stretches]
        await self._order(
            [
                {
                    "do": "run",
                    "stretches": stretches if part < len(self._workers) else steady,
                    "start": start,
                    "cut_at": cut_at,
                    "grace_s": grace_s,
                    "recording": str(file),
                    "evidence": str(self._evidence(f"run-{part}")),
                }
                for part, file in enumerate(files)
            ]
        )
        recordings = [Recording.from_json(json.loads(file.read_text())) for file in files]
        told = Recording()
        for recording in recordings:
            told.add(recording)
        return told, None if self._witness is None else recordings[-1]

    def _evidence(self, name: str) -> Path:
        file = self._directory / f"evidence-{name}.json"
        self.evidence_files.append(file)
        return file

    async def _order(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One order to each of the first so many, and all their answers. Raises WorkerFailed."""
        told = self._everybody[: len(orders)]
        for worker, order in zip(told, orders, strict=True):
            assert worker.stdin is not None
            worker.stdin.write(json.dumps(order).encode() + b"\n")
            await worker.stdin.drain()
        return list(await asyncio.gather(*(self._answer(worker) for worker in told)))

    async def _answer(self, worker: asyncio.subprocess.Process) -> dict[str, Any]:
        assert worker.stdout is not None
        line = await worker.stdout.readline()
        if not line:
            raise WorkerFailed(f"a generator ended with {await worker.wait()}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def __aexit__(self, *_: object) -> None:
        for worker in self._everybody:
            if worker.returncode is None:
                assert worker.stdin is not None
                worker.stdin.close()
                try:
                    await asyncio.wait_for(worker.wait(), 10)
                except TimeoutError:
                    worker.kill()
                    await worker.wait()
