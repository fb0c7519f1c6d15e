"""The real server under harm: ``python -m tests.robustness [--quick] [--runs N] [--fault K] ...``.

Without ``--quick`` each run has a ledger of its own and a seed of its own. With it one ledger with
each kind of journal goes through all faults, one after another, and is judged after each.

Standard output ends with one line of JSON. The status is 0 when nothing was lost, oversold, doubled
or replayed otherwise, and every fault's own properties held. A run that fails is printed with the
command that does it again; what the kernel schedules in between is not part of the seed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.robustness.failpoints.launcher import PLANTED
from tests.robustness.failpoints.server_process import SMALL
from tests.robustness.failpoints.trapped import Trapped
from tests.robustness.faults.size import FULL, LARGE, QUICK, Size
from tests.robustness.faults.table import BOTH, FAULTS, LARGE_FAULTS, Fault
from tests.robustness.session import Session
from tests.robustness.validate.findings import PROPERTY, TOTALS

_SHOWN_MAX = 12
# No run takes a tenth of it; one that hangs must not hang whoever waits for the verdict.
_RUN_S_MAX = 300.0


@dataclass(slots=True)
class Report:
    """What became of all runs."""

    runs: int = 0
    writes: int = 0
    faults: set[int] = field(default_factory=set)
    totals: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(TOTALS, 0)))
    skipped: list[str] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)
    by_fault: dict[str, list[int]] = field(default_factory=dict)
    """Title and journal -> [runs, runs that failed]."""

    def line(self, seconds: float) -> str:
        """The last line of the output."""
        return json.dumps(
            {
                "faults": sorted(self.faults),
                "runs": self.runs,
                "acknowledged_writes": self.writes,
                **self.totals,
                "skipped": self.skipped,
                "seconds": round(seconds, 1),
            }
        )

    def add(self, line: dict[str, Any]) -> None:
        """Take over what another process reports."""
        self.runs += line["runs"]
        self.writes += line["acknowledged_writes"]
        self.faults |= set(line["faults"])
        self.skipped += line["skipped"]
        self.totals.update({name: line[name] for name in TOTALS})

    def show(self) -> None:
        """The table and the figures, for people."""
        for name, (runs, failed) in sorted(self.by_fault.items()):
            print(f"{name}: {runs} runs, {failed} failed")
        for name, values in sorted(self.figures.items()):
            middle, most = statistics.median(values), max(values)
            print(f"{name}: median {middle:g}, most {most:g}, of {len(values)}")


async def harm(
    session: Session, fault: Fault, size: Size, plant: str | None, report: Report
) -> bool:
    """Do one fault to a session and judge it; whether all is well."""
    seen_findings, seen_writes = len(session.findings.found), len(session.history.acknowledged)
    session.chance = random.Random(f"{session.seed}/{fault.number}")
    started_s = time.monotonic()
    try:
        async with asyncio.timeout(_RUN_S_MAX * (4 if size is LARGE else 1)):
            await fault.harm(session, size)
            if fault.judged:
                await session.judge()
    except Exception as error:  # noqa: BLE001 - whatever it is, this run has failed
        session.findings.add(PROPERTY, f"the run broke off: {error!r}")
        traceback.print_exc()
    took_s = time.monotonic() - started_s
    found = session.findings.found[seen_findings:]
    report.runs += 1
    report.faults.add(fault.number)
    writes = len(session.history.acknowledged) - seen_writes
    report.writes += writes
    told = "ok" if not found else f"{len(found)} findings"
    print(f"{fault.name}, {session.kind}: {told}, {writes} answers, {took_s:.1f} s", flush=True)
    if found:
        print(f"    {again(fault, session, size, plant)}")
        for finding in found[:_SHOWN_MAX]:
            print(f"    {finding}")
    return not found


def again(fault: Fault, session: Session, size: Size, plant: str | None) -> str:
    """What to type to do this run again."""
    how = "--quick" if size is QUICK else "--large" if size is LARGE else "--runs 1"
    bug = f" --plant '{plant}'" if plant else ""
    return (
        f"python -m tests.robustness {how} --fault {fault.number} --journal {session.kind} "
        f"--seed {session.seed}{bug}"
    )


def gather(session: Session, fault_names: list[tuple[str, bool]], report: Report) -> None:
    """Take over what a session found and measured."""
    report.totals.update(session.findings.totals())
    for name, values in session.figures.items():
        report.figures.setdefault(f"{name} [{session.kind}]", []).extend(values)
    for name, is_well in fault_names:
        row = report.by_fault.setdefault(f"{name}, {session.kind}", [0, 0])
        row[0] += 1
        row[1] += not is_well


async def run(options: argparse.Namespace, report: Report) -> None:
    """All runs that were asked for."""
    chosen = [
        fault
        for fault in (LARGE_FAULTS if options.large else FAULTS)
        if options.fault is None or fault.number == options.fault
    ]
    journals = BOTH if options.journal is None else (options.journal,)
    if options.quick:
        for journal in journals:
            faults = [
                fault for fault in chosen if journal in fault.journals and journal in fault.quick
            ]
            await one_session(journal, options.seed, faults, QUICK, options.plant, report)
        return
    size = LARGE if options.large else FULL
    for number in range(1 if options.large else options.runs):
        for fault in chosen:
            for journal in journals:
                if journal in fault.journals:
                    seed = options.seed + number
                    await one_session(journal, seed, [fault], size, options.plant, report)


async def one_session(
    journal: str, seed: int, faults: list[Fault], size: Size, plant: str | None, report: Report
) -> None:
    """One ledger, and all that is done to it."""
    session = Session(journal, seed, flags=() if size is LARGE else SMALL)
    session.hook(plant)
    if size is LARGE:
        session.options = ""  # as in production: a page of a large journal takes its time
    done = []
    async with session:
        for fault in faults:
            if fault.needs_trap and not Trapped.has_trap:
                report.skipped.append(f"{fault.name}, {journal}: the kernel forbids the trap")
                continue
            is_well = await harm(session, fault, size, plant, report)
            done.append((fault.name, is_well))
            if not is_well:
                break  # what is left of the ledger says nothing about the next fault
    gather(session, done, report)


async def side_by_side(arguments: list[str], report: Report) -> None:
    """Each kind of journal in a process of its own, at the same time: servers begin on one core."""
    programs = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.robustness", *arguments, "--journal", journal),
            stdout=asyncio.subprocess.PIPE,
        )
        for journal in BOTH
    ]
    for program in programs:
        told, _ = await program.communicate()
        *lines, last = told.decode().splitlines() or [""]
        print("\n".join(lines), flush=True)
        try:
            report.add(json.loads(last))
        except ValueError:
            report.totals["failed_properties"] += 1
            print(f"it broke off: {last}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="all faults on one ledger each")
    parser.add_argument("--large", action="store_true", help="a million of everything, for figures")
    parser.add_argument("--runs", type=int, default=3, help="of each fault (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first (default: %(default)s)")
    parser.add_argument("--fault", type=int, choices=sorted({fault.number for fault in FAULTS}))
    parser.add_argument("--journal", choices=BOTH, help="only this one")
    parser.add_argument("--plant", choices=sorted(PLANTED), help="a bug that has to be found")
    options = parser.parse_args(arguments)
    report = Report()
    started_s = time.monotonic()
    if options.quick and options.journal is None:
        asyncio.run(side_by_side(arguments, report))
    else:
        try:
            asyncio.run(run(options, report))
        except KeyboardInterrupt:
            print("interrupted: what follows is what was done by then")
        report.show()
    print(report.line(time.monotonic() - started_s))
    return 1 if any(report.totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
