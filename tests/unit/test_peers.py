"""The services that Holdfast is compared with do what they are compared on; the page is whole."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis

from benchmarks.peers import page
from benchmarks.peers.driver import Round
from benchmarks.peers.plot import drawing
from benchmarks.peers.redis_service import EXPIRY, counter
from benchmarks.peers.results import HOT, UNIFORM, WORKLOADS, Results
from benchmarks.peers.service import lines_of
from holdfast.demo.redis_server import RedisProcess
from holdfast.v1 import reservation_service_pb2 as wire
from holdfast.v1 import reservation_service_pb2_grpc as stubs
from holdfast.v1 import types_pb2

NAMES = {
    "holdfast_sqlite": 4000.0,
    "holdfast_redis": 3000.0,
    "service_redis": 2000.0,
    "service_postgres": 500.0,
}


def asking(*lines: tuple[str, str, int], request_id: str = "") -> wire.CreateReservationRequest:
    request = wire.CreateReservationRequest(request_id=request_id, owner="ann")
    request.ttl.seconds = 60
    for sku, node, units in lines:
        request.lines.add(sku=sku, node=node, quantity=units)
    return request


def test_equal_lines_are_summed_and_sorted() -> None:
    request = asking(("plum", "berlin", 1), ("pear", "lyon", 2), ("plum", "berlin", 3))
    assert lines_of(request) == [("pear", "lyon", 2), ("plum", "berlin", 4)]
    for bad in (asking(), asking(("", "berlin", 1)), asking(("pear", "berlin", 0))):
        with pytest.raises(ValueError, match="line"):
            lines_of(bad)


@pytest.fixture(scope="module")
def store() -> Iterator[redis.Redis]:
    with RedisProcess() as server:
        yield redis.Redis(port=server.port)


@pytest.fixture
def peer(store: redis.Redis) -> Iterator[stubs.ReservationServiceStub]:
    """The service over Redis, with ten pears and five plums."""
    store.flushall()
    store.mset({counter("pear", "berlin"): 10, counter("plum", "berlin"): 5})
    port = str(store.connection_pool.connection_kwargs["port"])
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.redis_service", port],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        target = f"127.0.0.1:{int(process.stdout.readline())}"
        with grpc.insecure_channel(target) as channel:
            yield stubs.ReservationServiceStub(channel)
        process.kill()


def left(store: redis.Redis) -> list[int]:
    values = store.mget(counter("pear", "berlin"), counter("plum", "berlin"))
    return [int(value) for value in values]


def test_the_peer_over_redis_reserves_all_lines_or_none(
    peer: stubs.ReservationServiceStub, store: redis.Redis
) -> None:
    request = asking(("pear", "berlin", 3), ("plum", "berlin", 2), request_id="r-1")
    made = peer.CreateReservation(request).reservation
    assert made.state == types_pb2.Reservation.STATE_HELD
    assert left(store) == [7, 3]
    # The same request again: the same reservation, nothing taken.
    assert peer.CreateReservation(request).reservation.reservation_id == made.reservation_id
    assert left(store) == [7, 3]
    assert store.zscore(EXPIRY, made.reservation_id) is not None
    with pytest.raises(grpc.RpcError) as caught:
        peer.CreateReservation(asking(("pear", "berlin", 1), ("plum", "berlin", 4)))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "plum@berlin" in caught.value.details()
    assert left(store) == [7, 3]
    with pytest.raises(grpc.RpcError) as caught:
        peer.CreateReservation(asking())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def results() -> Results:
    """Three rounds of everybody."""
    made = Results()
    for name, speed in NAMES.items():
        made.titles[name] = name.replace("_", " & ")
        made.described[name] = "durable"
        for workload in WORKLOADS:
            for part in (0.9, 1.0, 1.2):
                made.note(
                    name,
                    workload,
                    Round(
                        orders=int(speed * part),
                        seconds=1.0,
                        p50_ms=1.0,
                        p99_ms=2.0,
                        core_ms_per_order=1000 / speed,
                    ),
                )
    return made


def test_ratios_are_those_of_rounds_side_by_side(results: Results) -> None:
    assert results.ratio("holdfast_redis", "service_redis", UNIFORM).median == pytest.approx(1.5)
    assert results.core_ratio("holdfast_sqlite", "service_postgres", HOT).least == 8.0
    assert results.orders_per_second("service_redis", HOT).greatest == 2400


def test_the_page_gets_the_table_between_its_marks(results: Results, tmp_path: Path) -> None:
    target = tmp_path / "performance.md"
    text = page.section(
        results,
        rounds=3,
        seconds=1.0,
        load=0.5,
        figures={"journal_redis_bulk_reservations_per_second": 160_000.0},
    )
    page.write(target, text)
    assert "160,000" in target.read_text()
    target.write_text(f"before\n{page.BEGIN}\nstale words\n{page.END}\nafter\n")
    page.write(target, text)
    page.write(target, text)
    written = target.read_text()
    assert written.startswith("before\n")
    assert written.endswith(f"{page.END}\nafter\n")
    assert "stale" not in written
    assert written.count(page.BEGIN) == 1
    assert "| holdfast & redis | 3,000 (2,700 to 3,600) |" in written
    widths = {line.count("|") for line in page.table(results)}
    assert len(widths) == 1
    target.write_text("no marks")
    with pytest.raises(RuntimeError, match="peers:begin"):
        page.write(target, text)


def test_the_drawing_has_a_bar_for_each(results: Results) -> None:
    drawn = ElementTree.fromstring(drawing(results, "a < b"))
    space = "{http://www.w3.org/2000/svg}"
    width = float(drawn.attrib["width"])
    bars = [bar for bar in drawn.iter(f"{space}rect") if bar.attrib["height"] == "17"]
    assert len(bars) == len(NAMES) * len(WORKLOADS)
    lengths = [float(bar.attrib["width"]) for bar in bars]
    assert lengths[0] == max(lengths)
    assert lengths[0] / lengths[-1] == pytest.approx(8.0, rel=0.01)
    for bar in bars:
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) < width
    assert drawn.findtext(f"{space}title")
    assert "service & postgres" in (drawn.findtext(f"{space}desc") or "")
