"""``python -m benchmarks.peers`` (``make bench-peers``): measure, compare, write it down.

All contestants are started first and stay; the rounds of one are between those of the others, so
that whatever else the machine does touches all alike. Each has every core there is, as has the
driver: what its processes used is told beside its speed. In the end each one's stock must be short
of exactly the units whose orders were acknowledged.

Ends with one JSON line. `--no-write` leaves docs/ as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.calls import CONNECTIONS, IN_FLIGHT, Caller, p99
from benchmarks.catalogue import Catalogue, catalogue
from benchmarks.figures import Figure
from benchmarks.orders import LINES
from benchmarks.peers import page
from benchmarks.peers.contestants import CONTESTANTS, Contestant
from benchmarks.peers.driver import Round, drive
from benchmarks.peers.plot import drawing
from benchmarks.peers.results import HOT, UNIFORM, WORKLOADS, Results
from benchmarks.requests import CREATE, Requests
from holdfast.v1 import reservation_service_pb2 as wire

ROOT = Path(__file__).resolve().parents[2]
POSITIONS = 100_000
_WARM_S = 1.0
_ORDERS_A_SECOND_MAX = 12_000

TARGETS = (
    Figure(
        "redis_over_sqlite_ratio",
        "peers",
        "CreateReservation with the journal in Redis over the same with SQLite",
        0.80,
        form=".2f",
    ),
    Figure(
        "journal_redis_bulk_reservations_per_second",
        "journal",
        "the writer on Redis fed directly: reservations a second, durable",
        150_000,
    ),
)


def say(line: str) -> None:
    """Print one line of progress."""
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Returns the exit status: 1 when a contestant's stock is not what it sold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--no-journal", action="store_true", help="without the writer fed directly")
    parser.add_argument("--no-write", action="store_true", help="leave docs/ as it is")
    asked = parser.parse_args(arguments)
    # Whoever ends this ends all that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    load = os.getloadavg()[0]
    shop = catalogue(POSITIONS)
    results = Results()
    sold: dict[str, tuple[int, int]] = {}
    with contextlib.ExitStack() as running:
        contestants = []
        for start in CONTESTANTS:
            contestants.append(running.enter_context(start(shop, say)))
            say(f"{contestants[-1].title}: {contestants[-1].describe}")
        acknowledged = asyncio.run(
            _measure(contestants, shop, results, rounds=asked.rounds, seconds=asked.seconds)
        )
        for each in contestants:
            sold[each.name] = (each.sold(), acknowledged[each.name] * LINES)
    figures = {} if asked.no_journal else _journal()
    figures["redis_over_sqlite_ratio"] = results.ratio(
        "holdfast_redis", "holdfast_sqlite", UNIFORM
    ).median
    say("")
    for line in (*page.table(results), "", *page.ratios(results), ""):
        say(line)
    for target in TARGETS:
        if target.key in figures:
            value = figures[target.key]
            say(
                f"{target.meaning}: {value:{target.form}}, target {target.shown_target()}: "
                f"{target.verdict(value)}"
            )
    wrong = {name: pair for name, pair in sold.items() if pair[0] != pair[1]}
    for name, (gone, wanted) in wrong.items():
        say(f"{name}: {gone:,} units are gone from its stock, {wanted:,} were acknowledged")
    if not asked.no_write and not wrong:
        text = page.section(
            results, rounds=asked.rounds, seconds=asked.seconds, load=load, figures=figures
        )
        page.write(ROOT / "docs/performance.md", text)
        subtitle = (
            f"{CONNECTIONS} connections, {IN_FLIGHT} calls in flight on each, {POSITIONS:,} "
            "positions; bars: median round, lines: least to greatest"
        )
        (ROOT / "docs/img/peers.svg").write_text(drawing(results, subtitle))
    print(json.dumps({"stock_is_right": not wrong, **_keys(results), **figures}), flush=True)
    return int(bool(wrong))


async def _measure(
    contestants: Sequence[Contestant],
    shop: Catalogue,
    results: Results,
    *,
    rounds: int,
    seconds: float,
) -> dict[str, int]:
    """All rounds. (orders acknowledged by each, warming up included)"""
    callers = {each.name: Caller(each.target) for each in contestants}
    acknowledged = dict.fromkeys(callers, 0)
    requests = {UNIFORM: Requests(shop, seed=1), HOT: Requests(shop, seed=2, hot=1)}
    for number in range(-1, rounds):  # the first one is to warm up
        length = _WARM_S if number < 0 else seconds
        for workload in WORKLOADS:
            # Forwards and backwards in turn: nobody is always the one after somebody else.
            for each in contestants if number % 2 else reversed(contestants):
                ready = requests[workload].creates(int(_ORDERS_A_SECOND_MAX * length))
                calls = callers[each.name].method(CREATE)
                if number < 0:
                    await _try_out(calls[0], requests[workload])
                    acknowledged[each.name] += 1
                before = each.core_s()
                latencies, took = await drive(
                    calls, iter(ready), seconds=length, in_flight=IN_FLIGHT
                )
                used = each.core_s() - before
                acknowledged[each.name] += len(latencies)
                if number < 0:
                    results.titles[each.name] = each.title
                    results.described[each.name] = each.describe
                    continue
                taken = Round(
                    orders=len(latencies),
                    seconds=took,
                    p50_ms=sorted(latencies)[len(latencies) // 2] * 1e3,
                    p99_ms=p99(latencies) * 1e3,
                    core_ms_per_order=used / len(latencies) * 1e3,
                )
                results.note(each.name, workload, taken)
                say(
                    f"round {number + 1}, {workload}, {each.name}: "
                    f"{taken.orders_per_second:,.0f} orders/s, p50 {taken.p50_ms:.1f} ms, "
                    f"p99 {taken.p99_ms:.1f} ms, {taken.core_ms_per_order:.2f} core-ms an order"
                )
    for caller in callers.values():
        await caller.close()
    return acknowledged


async def _try_out(call, requests: Requests) -> None:  # type: ignore[no-untyped-def]
    """The reply is a reservation, and the same request gets the same one again."""
    (message,) = requests.creates(1)
    replies = [wire.CreateReservationResponse.FromString(await call(message)) for _ in range(2)]
    first, again = (reply.reservation.reservation_id for reply in replies)
    if not first or first != again:
        raise RuntimeError(f"the same request made {first!r} and {again!r}")


def _journal() -> dict[str, float]:
    """What the writer does when it is fed directly: `benchmarks.journal`, in its own process."""
    say("the writer, fed directly:")
    started = time.perf_counter()
    command = [sys.executable, "-u", "-m", "benchmarks.peers.journal_here"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    for line in done.stdout.splitlines()[:-1]:
        say(f"  {line}")
    say(f"  ({time.perf_counter() - started:.0f} s)")
    taken: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return taken


def _keys(results: Results) -> dict[str, float]:
    found = {}
    for name, workload in results.rounds:
        key = f"{name}_{'hot' if workload == HOT else 'uniform'}"
        found[f"{key}_orders_per_second"] = round(
            results.orders_per_second(name, workload).median, 1
        )
        found[f"{key}_p99_ms"] = round(results.median(name, workload, "p99_ms"), 2)
    return found


if __name__ == "__main__":
    sys.exit(main())
