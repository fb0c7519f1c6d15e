"""The four that are compared: each started with its store, stocked, and asked in the end what it
sold.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.catalogue import UNITS_PER_POSITION, Catalogue
from benchmarks.peers.postgres_cluster import PostgresCluster
from benchmarks.peers.redis_service import counter
from benchmarks.server_process import ServerProcess
from benchmarks.shop_on_server import define, stock
from holdfast import Client
from holdfast.demo.redis_server import RedisProcess

Say = Callable[[str], None]
_SCHEMA = (Path(__file__).parent / "schema.sql").read_text()
_COUNTERS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of them, running."""

    name: str
    title: str
    target: str
    pids: tuple[int, ...]
    """All its processes; children are counted with them."""
    sold: Callable[[], int]
    """Units that its stock is short of now, by its own records."""
    describe: str

    def core_s(self) -> float:
        """Processor time that all its processes have used."""
        return sum(_core_s(pid) for pid in self.pids)


@contextlib.contextmanager
def holdfast_on_sqlite(shop: Catalogue, say: Say) -> Iterator[Contestant]:
    """Holdfast with the journal it comes with."""
    with ServerProcess(core=None) as server:
        yield _holdfast(server, shop, "holdfast_sqlite", "Holdfast, journal in SQLite", ())


@contextlib.contextmanager
def holdfast_on_redis(shop: Catalogue, say: Say) -> Iterator[Contestant]:
    """Holdfast with its journal in Redis."""
    with (
        RedisProcess(say=say) as store,
        ServerProcess(core=None, flags=("--journal", store.journal_url())) as server,
    ):
        yield _holdfast(server, shop, "holdfast_redis", "Holdfast, journal in Redis", (store.pid,))


def _holdfast(
    server: ServerProcess, shop: Catalogue, name: str, title: str, stores: tuple[int, ...]
) -> Contestant:
    with Client(server.target, timeout=60.0) as client:
        define(client, shop)
        stock(client, shop)
        journal = client.status().shards[0].journal

    def sold() -> int:
        with Client(server.target, timeout=60.0) as client:
            found = client.verify(skip_state_hash=True)
            if not found.sound:
                raise RuntimeError(f"{name} is not sound: {found.differences[:3]}")
            return sum(each.held for each in client.positions())

    return Contestant(name, title, server.target, (server.pid, *stores), sold, journal.detail)


@contextlib.contextmanager
def service_on_redis(shop: Catalogue, say: Say) -> Iterator[Contestant]:
    """A gRPC service over Redis and Lua."""
    with RedisProcess(say=say) as store:
        client = redis.Redis(port=store.port)
        keys = [counter(*place) for place in places(shop)]
        for first in range(0, len(keys), _COUNTERS_AT_ONCE):
            client.mset(dict.fromkeys(keys[first : first + _COUNTERS_AT_ONCE], UNITS_PER_POSITION))

        def sold() -> int:
            left = 0
            for first in range(0, len(keys), _COUNTERS_AT_ONCE):
                values = client.mget(keys[first : first + _COUNTERS_AT_ONCE])
                left += sum(int(value) for value in values)
            return len(keys) * UNITS_PER_POSITION - left

        about = client.info("server")
        version = about.get("valkey_version") or about["redis_version"]
        kind = "Valkey" if "valkey_version" in about else "Redis"
        with _service("benchmarks.peers.redis_service", str(store.port)) as (target, pid):
            yield Contestant(
                "service_redis",
                "Python gRPC service over Redis and Lua",
                target,
                (pid, store.pid),
                sold,
                f"{kind} {version}, appendonly yes, appendfsync always",
            )


@contextlib.contextmanager
def service_on_postgres(shop: Catalogue, say: Say) -> Iterator[Contestant]:
    """A gRPC service over PostgreSQL."""
    with PostgresCluster(say) as cluster:
        cluster.sql(_SCHEMA)
        rows = "\n".join(f"{sku}\t{node}\t{UNITS_PER_POSITION}" for sku, node in places(shop))
        cluster.sql(f"COPY stock FROM STDIN;\n{rows}\n\\.\n")
        cluster.sql("VACUUM ANALYZE stock; CHECKPOINT;")
        total = shop.positions * UNITS_PER_POSITION

        def sold() -> int:
            return total - int(cluster.sql("SELECT sum(available) FROM stock"))

        with _service("benchmarks.peers.postgres_service", cluster.dsn) as (target, pid):
            yield Contestant(
                "service_postgres",
                "Python gRPC service over PostgreSQL",
                target,
                (pid, cluster.pid),
                sold,
                f"{cluster.version()}, fsync on, synchronous_commit on",
            )


CONTESTANTS = (holdfast_on_sqlite, holdfast_on_redis, service_on_redis, service_on_postgres)


def places(shop: Catalogue) -> list[tuple[str, str]]:
    """(SKU, node) of every position."""
    nodes = [shop.nodes.text(row) for row in range(len(shop.nodes))]
    return [(shop.skus.text(row), node) for row in range(len(shop.skus)) for node in nodes]


@contextlib.contextmanager
def _service(module: str, argument: str) -> Iterator[tuple[str, int]]:
    """A peer's server process: where it listens, and its pid."""
    with subprocess.Popen(
        [sys.executable, "-m", module, argument], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            if not port:
                raise RuntimeError(f"{module} left with {process.wait()}")
            yield f"127.0.0.1:{int(port)}", process.pid
        finally:
            process.kill()


def _core_s(pid: int) -> float:
    """Processor time of a process, its living children and those it has waited for."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        fields = stat.read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(int(fields[at]) for at in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")
    return own + sum(_core_s(int(child)) for child in children)
