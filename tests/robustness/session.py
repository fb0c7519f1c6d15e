"""One ledger's life in a run: its journal's home, its server, its callers, and the last judgement.

A fault is a function of a `Session`: it begins traffic, does its harm, and says which properties
did not hold. `judge` then asks everybody again and compares everything with the journal.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from holdfast import aio
from holdfast.values.inventory import Count
from holdfast.values.network import Item, Node
from tests.redis_server import free_port
from tests.robustness.failpoints.server_process import SMALL, ServerProcess
from tests.robustness.failpoints.trapped_redis import TrappedRedis
from tests.robustness.traffic.calls import ONCE, PATIENT, perform, send
from tests.robustness.traffic.history import History, Write
from tests.robustness.traffic.shoppers import NODES, SKUS, Habits, Shared, Traffic
from tests.robustness.validate.answers import judge_answers
from tests.robustness.validate.findings import REPLAY, TWO_EFFECTS, UNSOUND, Findings
from tests.robustness.validate.journal import Replayed, read_book, replay
from tests.robustness.validate.order import judge_order, judge_readers

SQLITE: Final = "sqlite"
REDIS: Final = "redis"
_STOCK_EACH: Final = 40
_ASKED_AGAIN_MAX: Final = 1_500
_IN_FLIGHT: Final = 32


class Session:
    """An async context manager; everything it started ends with it."""

    def __init__(self, kind: str, seed: int, *, flags: tuple[str, ...] = SMALL) -> None:
        self.kind = kind
        self.seed = seed
        self.chance = random.Random(seed)
        self.findings = Findings()
        self.history = History()
        self.shared = Shared()
        self.figures: dict[str, list[float]] = {}
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-robust-"))
        self.redis: TrappedRedis | None = None
        self.options = "lease_ms=1000&timeout_ms=1000"
        """Of the journal's URL."""
        self.journal_port: int | None = None
        """Where the server finds Redis, when it is not at Redis' own port."""
        self.server = ServerProcess(data=self.directory / "data", port=free_port(), flags=flags)
        self._clock = self.directory / "clock"
        self._probes = 0
        self._endings: list[Callable[[], Awaitable[None]]] = []

    async def __aenter__(self) -> Session:
        try:
            if self.kind == REDIS:
                self.redis = TrappedRedis()
                await self.redis.begin()
            await self.begin()
            await self.stock()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.end()
        for ending in self._endings:
            await ending()
        if self.redis is not None:
            await self.redis.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def url(self) -> str:
        """The journal's, for those who only read."""
        return self.redis.url() if self.redis is not None else self.server.journal_url

    def at_the_end(self, ending: Callable[[], Awaitable[None]]) -> None:
        """Await `ending` when the session ends."""
        self._endings.append(ending)

    def hook(self, plant: str | None) -> None:
        """Give the server, from its next start on, what faults 8 and 10 need, and a bug."""
        self.set_clock(0)
        self.server.hooks = {"clock": str(self._clock), "cancel": True}
        if plant:
            self.server.hooks["plant"] = plant

    def set_clock(self, wrong_ms: int) -> None:
        """Let the server's wall clock be so many milliseconds ahead."""
        self._clock.write_text(str(wrong_ms))

    def aim(self, server: ServerProcess) -> None:
        """Tell a server where this session's journal is."""
        if self.redis is not None:
            url = self.redis.url(self.options)
            port = self.journal_port or self.redis.port
            server.journal = url.replace(f":{self.redis.port}/", f":{port}/")

    async def begin(self) -> float:
        """Start the server; seconds until it serves."""
        self.aim(self.server)
        return await self.server.begin()

    async def stock(self) -> None:
        """Nodes, items and some units of each."""
        async with aio.Client(self.server.target, timeout=30.0, retry=PATIENT) as client:
            await client.nodes.upsert_all([Node(name) for name in NODES])
            await client.items.upsert_all([Item(name) for name in SKUS])
            counts = [Count(sku, node, _STOCK_EACH) for sku in SKUS for node in NODES]
            await client.count(counts)

    def traffic(
        self, *, shoppers: int = 8, habits: Habits | None = None, target: Any = None
    ) -> Traffic:
        """Callers for the length of a block."""
        return Traffic(
            target or self.server.target,
            self.history,
            self.shared,
            seed=self.seed,
            shoppers=shoppers,
            habits=habits,
        )

    def answered_between(self, after_s: float, before_s: float) -> list[Write]:
        """Writes that were both sent and answered in between."""
        return [
            write
            for write in self.history.acknowledged
            if after_s < write.sent_s
            and write.answered_s is not None
            and write.answered_s < before_s
        ]

    def measured(self, name: str, seconds: float) -> None:
        """Remember a figure for the report."""
        self.figures.setdefault(name, []).append(round(seconds, 4))

    async def probe(self, *, target: str = "", timeout_s: float = 5.0) -> Write:
        """One write that is sent once, recorded; whether it was answered is in it."""
        self._probes += 1
        place = {"sku": SKUS[0], "node": NODES[0]}
        intent = {"adjustments": [{**place, "delta": 1}]}
        write = Write(-1, "adjust", f"probe-{self._probes}", intent, 0.0)
        client = aio.Client(target or self.server.target, timeout=timeout_s, retry=ONCE)
        async with client:
            await perform(client, write, self.history)
        return write

    async def until_answered(self) -> float:
        """The moment of the first answer to a write sent from now on."""
        sent_s, seen = time.monotonic(), len(self.history.writes)
        while True:
            for write in self.history.writes[seen:]:
                if write.answered_s is not None and write.sent_s >= sent_s:
                    return write.answered_s
            await asyncio.sleep(0.005)

    # --- The last judgement --------------------------------------------------------------------

    async def judge(self) -> Replayed:
        """Ask everything again, compare everything; adds to the findings."""
        async with aio.Client(self.server.target, timeout=60.0, retry=PATIENT) as client:
            await client.wait_until_serving(60.0)
            await self._ask_again(client)
            verified = await client.verify()
        for difference in verified.differences:
            self.findings.add(UNSOUND, f"by VerifyInventory: {difference}")
        book = await read_book(self.url)
        told = replay(book, self.findings, hash_at=(verified.revision,))
        if told.hashes.get(verified.revision) != verified.state_hash:
            self.findings.add(
                REPLAY,
                f"at revision {verified.revision} the server's state is {verified.state_hash}, "
                f"the journal gives {told.hashes.get(verified.revision)}",
            )
        judge_answers(self.history, told, self.findings)
        judge_order(self.history, told, self.findings)
        judge_readers(self.history, self.findings)
        return told

    async def _ask_again(self, client: aio.Client) -> None:
        """Every request that was answered, or the newest and some of the others, once more."""
        known = [write for write in self.history.acknowledged if not write.steals]
        if len(known) > _ASKED_AGAIN_MAX:
            newest = known[-_ASKED_AGAIN_MAX // 2 :]
            known = self.chance.sample(known[: -len(newest)], _ASKED_AGAIN_MAX // 2) + newest
        places = asyncio.Semaphore(_IN_FLIGHT)

        async def ask(write: Any) -> None:
            async with places:
                told = await send(client, write)
            if isinstance(told, str):
                self.findings.add(TWO_EFFECTS, f"{write.request_id} asked again: {told}")
            else:
                write.again.append(told)

        await asyncio.gather(*(ask(write) for write in known))
