"""From kill -9 to SERVING with 1,000,000 positions and 1,000,000 open three-line holds.

The ledger is filled over the wire, its server killed while it runs, and started again; the time is
from the start of the new process to the first health check that says SERVING, so Python, the
libraries and the compiled kernels are in it. Twice over:

* **without a snapshot**: the whole journal is replayed, as after a crash just before the first
  snapshot, which is the most a server ever has to replay: one is due every 1,000,000 commands;
* **with a snapshot**: the one that the server writes by itself when it is due.

The figure is the greater of the two medians. After each start the revision must be that of the
last acknowledged answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.calls import Caller, all_of
from benchmarks.catalogue import catalogue
from benchmarks.measure import Say, Spread
from benchmarks.requests import BULK_CREATE, Requests
from benchmarks.server_process import ServerProcess
from benchmarks.shop_on_server import define, stock
from holdfast import Client
from holdfast.v1 import reservation_service_pb2 as wire

POSITIONS = 1_000_000
HOLDS = 1_000_000
HOLDS_PER_MESSAGE = 1_000
ROUNDS = 3
_NO_SNAPSHOT = ("--snapshot-commands", str(10**9))
_SNAPSHOT_S_MAX = 60.0


def run(say: Say) -> dict[str, float]:
    """Measure."""
    shop = catalogue(POSITIONS)
    requests = Requests(shop)
    # A start may use every core there is, as in production.
    server = ServerProcess(core=None, flags=_NO_SNAPSHOT)
    with server:
        with Client(server.target) as client:
            define(client, shop)
            stock(client, shop)
        messages = requests.bulks(HOLDS // HOLDS_PER_MESSAGE, HOLDS_PER_MESSAGE)
        revision = asyncio.run(_send(server, messages))
        say(f"{POSITIONS:,} positions, {HOLDS:,} open holds; {_sizes(server.directory)}")
        replayed = _restarts(server, revision, say, "without a snapshot")

        server.flags = ()
        server.kill()
        server.start()
        revision = asyncio.run(_send(server, requests.bulks(1, HOLDS_PER_MESSAGE)))
        seconds = _wait_for_snapshot(server.directory)
        say(f"the server wrote its snapshot in {seconds:.1f} s; {_sizes(server.directory)}")
        loaded = _restarts(server, revision, say, "with a snapshot")
    return {"restart_seconds_1m": max(replayed.median, loaded.median)}


async def _send(server: ServerProcess, messages: Sequence[bytes]) -> int:
    """Send bulk creates; the greatest revision acknowledged."""
    caller = Caller(server.target, connections=1)
    _, replies = await all_of(caller.method(BULK_CREATE), messages, in_flight=2)
    await caller.close()
    return max(wire.BulkCreateReservationsResponse.FromString(reply).revision for reply in replies)


def _restarts(server: ServerProcess, revision: int, say: Say, how: str) -> Spread:
    """Kill and start some times. Raises RuntimeError when an acknowledged step is gone."""
    seconds = []
    for _ in range(ROUNDS):
        server.kill()
        seconds.append(server.start())
        with Client(server.target) as client:
            status = client.status()
        holds = status.shards[0].open_holds
        if status.revision < revision or holds < HOLDS:
            raise RuntimeError(f"revision {status.revision} of {revision}, {holds} holds are left")
    spread = Spread.of(seconds)
    memory = server.resident_bytes() / 1024**2
    say(f"{how}: {spread.show()} s to SERVING; {memory:,.0f} MiB resident")
    return spread


def _wait_for_snapshot(data: Path) -> float:
    started = time.perf_counter()
    while not any(data.rglob("*.snapshot")):
        if time.perf_counter() - started > _SNAPSHOT_S_MAX:
            raise RuntimeError(f"no snapshot after {_SNAPSHOT_S_MAX:.0f} s")
        time.sleep(0.05)
    return time.perf_counter() - started


def _sizes(data: Path) -> str:
    """What lies in the directory, in words."""
    files = [path for path in data.rglob("*") if path.is_file()]
    snapshots = sum(path.stat().st_size for path in files if path.suffix == ".snapshot")
    total = sum(path.stat().st_size for path in files)
    journal = (total - snapshots) / 1024**2
    return f"journal {journal:,.0f} MiB, snapshots {snapshots / 1024**2:,.0f} MiB"
