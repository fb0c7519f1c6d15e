"""One run of the simulator: a seed in, findings out. The same seed gives the same run."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from engine import commands
from server.journal.errors import JournalError
from tests.simulation.clients import NODES, SKUS, Client
from tests.simulation.history import History
from tests.simulation.orders import count, define
from tests.simulation.validate import validate
from tests.simulation.virtual_loop import Standstill, run_virtual
from tests.simulation.world import HOUR_MS, Flaws, World

_TROUBLES_MAX = 12


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one seed."""

    seed: int
    findings: tuple[str, ...]
    operations: int = 0
    answered: int = 0
    records: int = 0
    revision: int = 0
    crashes: int = 0
    rebuilds: int = 0
    snapshots: int = 0
    simulated_s: float = 0.0


def simulate(seed: int, flaws: Flaws | None = None) -> Result:
    """Run `seed` to its end. Deterministic; O(operations), some tens of milliseconds."""
    try:
        return run_virtual(_run(seed, flaws or Flaws()))
    except Standstill as error:
        return Result(seed=seed, findings=(f"stuck: {error}",))


async def _run(seed: int, flaws: Flaws) -> Result:
    world = World(random.Random(seed), flaws)
    history = History()
    loop = asyncio.get_running_loop()
    try:
        await world.start()
        await _stock(world)
        clients = [Client(number, world, history, seed) for number in range(1, 6)]
        busy = [loop.create_task(client.run(world.chance.randint(10, 30))) for client in clients]
        trouble = loop.create_task(_trouble(world, seed))
        await asyncio.gather(*busy)
        await trouble
        await _calm_down(world)
        world.findings += validate(world.disk, world.state, history)
    except JournalError as error:
        # Whatever the faults were, the journal must be readable again.
        world.findings.append(f"replay: {type(error).__name__}: {error}")
    return Result(
        seed=seed,
        findings=tuple(world.findings),
        operations=len(history.operations),
        answered=sum(operation.completed_s is not None for operation in history.operations),
        records=len(world.disk.trimmed) + len(world.disk.records),
        revision=world.state.revision if world.sequencer is not None else -1,
        crashes=world.crashes,
        rebuilds=world.rebuilds,
        snapshots=world.snapshots,
        simulated_s=loop.time(),
    )


async def _stock(world: World) -> None:
    """The ledger's names and first stock, before anything goes wrong."""
    assert world.sequencer is not None
    batches = [define(commands.SKU, SKUS), define(commands.NODE, NODES)]
    batches += [count(sku, node, world.chance.randint(0, 8)) for sku in SKUS for node in NODES]
    for batch in batches:
        await world.sequencer.submit(batch)


async def _trouble(world: World, seed: int) -> None:
    """Crashes, full disks, stalls, snapshots and clock jumps, for a while."""
    chance = random.Random(f"trouble {seed}")
    for _ in range(chance.randint(2, _TROUBLES_MAX)):
        await asyncio.sleep(chance.expovariate(1 / 0.25))
        kind = chance.choice(("crash", "crash", "full", "stall", "snapshot", "snapshot", "wall"))
        if kind == "wall":
            world.wall_skew_ms += chance.choice((-HOUR_MS, HOUR_MS))
        elif kind == "snapshot":
            await world.snapshot()
        elif kind == "stall":
            world.weather.stall_s = chance.uniform(0.05, 0.5)
            await asyncio.sleep(chance.uniform(0.05, 0.3))
            world.weather.stall_s = 0.0
        elif kind == "full":
            world.disk.full = True
            await asyncio.sleep(chance.uniform(0.01, 0.3))
            world.disk.full = False
        else:
            world.crash()
            await asyncio.sleep(chance.uniform(0.001, 0.3))
            await world.start()


async def _calm_down(world: World) -> None:
    """The network heals, the server comes up and finishes what it has, holds run out."""
    world.weather.calm()
    world.disk.full = False
    if world.sequencer is None:
        await world.start()
    await asyncio.sleep(30)  # late duplicates arrive, a rebuild ends, the longest hold expires
    assert world.sequencer is not None
    await world.sequencer.drain()
