"""Whole loads against a scripted server: errors by row, and nothing twice after a crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import holdfast
from holdfast.feeds.loading import LoadReport, load, prepare
from holdfast.feeds.problems import FileProblem, RowProblem
from holdfast.v1 import errors_pb2
from holdfast.v1 import inventory_service_pb2 as wire
from holdfast.v1 import network_service_pb2 as network
from tests.unit.clients.fake_server import Answer, FakeServer, Refusal


class Stock:
    """A server's memory of feeds: refuses SKUs that start with X, may die after some chunks."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, int]] = []
        self.feeds: dict[str, int] = {}
        self.chunks_until_death = -1

    def serve(self, requests: Iterator[Any]) -> Iterator[Answer]:
        for request in requests:
            if self.chunks_until_death == 0:
                yield Refusal(grpc.StatusCode.INTERNAL)
            last = self.feeds.get(request.feed_id, 0)
            reply = wire.IngestInventoryResponse(
                feed_id=request.feed_id, sequence=request.sequence, last_sequence=last
            )
            if request.sequence == last + 1:
                self.chunks_until_death -= 1
                self.feeds[request.feed_id] = request.sequence
                self._apply(request, reply)
            yield reply

    def _apply(self, request: Any, reply: wire.IngestInventoryResponse) -> None:
        for index, row in enumerate(
            zip(request.skus, request.nodes, request.quantities, strict=True)
        ):
            if row[0].startswith("X"):
                reply.errors.add(
                    row=index,
                    field="sku",
                    value=row[0],
                    reason=errors_pb2.ERROR_REASON_SKU_NOT_FOUND,
                    message="no such SKU",
                )
            else:
                self.rows.append(row)
                reply.applied_rows += 1


@pytest.fixture
def stock(server: FakeServer) -> Stock:
    made = Stock()
    server.stream("IngestInventory", made.serve)
    return made


def run(
    server: FakeServer, file: Path, again: str = "", rows_per_chunk: int = 10
) -> tuple[LoadReport, list[RowProblem]]:
    problems: list[RowProblem] = []
    with holdfast.Client(server.target) as client:
        *_, report = load(
            client,
            prepare(file),
            report_problem=problems.append,
            rows_per_chunk=rows_per_chunk,
            again=again,
        )
    return report, problems


def rows(count: int) -> str:
    return "sku,node,on_hand\n" + "".join(f"S-{n},W-1,{n}\n" for n in range(count))


def test_refusals_of_the_server_are_named_by_row_of_the_file(
    server: FakeServer, stock: Stock, tmp_path: Path
):
    file = tmp_path / "stock.csv"
    lines = rows(25).splitlines()
    lines[17] = "X-17,W-1,1"
    lines[18] = "S-18,W-1,NaN"
    file.write_text("\n".join(lines))
    report, problems = run(server, file)
    assert (report.rows_applied, report.rows_refused, report.done) == (23, 2, 1.0)
    assert sorted((each.row, each.reason) for each in problems) == [
        (18, "SKU_NOT_FOUND"),
        (19, "FIELD_INVALID"),
    ]


def test_a_load_that_died_goes_on_and_applies_nothing_twice(
    server: FakeServer, stock: Stock, tmp_path: Path
):
    file = tmp_path / "stock.csv"
    file.write_text(rows(95))
    stock.chunks_until_death = 4
    with pytest.raises(holdfast.HoldfastError):
        run(server, file)
    assert len(stock.rows) == 40
    stock.chunks_until_death = -1
    report, _ = run(server, file)
    assert report.chunks_skipped == 4
    assert report.rows_applied == 55
    assert stock.rows == [(f"S-{n}", "W-1", n) for n in range(95)]


def test_a_file_that_is_there_already_is_left_alone_unless_asked(
    server: FakeServer, stock: Stock, tmp_path: Path
):
    file = tmp_path / "stock.csv"
    file.write_text(rows(30))
    run(server, file)
    report, _ = run(server, file)
    assert (report.rows_applied, report.chunks_skipped) == (0, 3)
    assert len(stock.rows) == 30
    report, _ = run(server, file, again="tuesday")
    assert report.rows_applied == 30
    assert all(len(feed_id.encode()) <= 64 for feed_id in stock.feeds)


def test_the_same_content_under_another_name_is_the_same_feed(
    server: FakeServer, stock: Stock, tmp_path: Path
):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(rows(5))
        run(server, tmp_path / name)
    assert len(stock.rows) == 5


def test_a_header_without_rows_is_refused(server: FakeServer, stock: Stock, tmp_path: Path):
    file = tmp_path / "stock.csv"
    file.write_text("sku,node,on_hand\n")
    with pytest.raises(FileProblem, match="no rows"):
        run(server, file)


def test_nodes_go_in_batches_whose_names_are_the_same_every_time(
    server: FakeServer, tmp_path: Path
):
    def answer(request: network.BatchUpsertNodesRequest) -> network.BatchUpsertNodesResponse:
        reply = network.BatchUpsertNodesResponse(applied_rows=len(request.nodes), revision=4)
        for index, node in enumerate(request.nodes):
            if node.node == "W-3":
                reply.applied_rows -= 1
                reply.errors.add(row=index, field="place.country_code", message="no such country")
        return reply

    server.script("BatchUpsertNodes", answer)
    file = tmp_path / "nodes.csv"
    file.write_text("node\n" + "".join(f"W-{n}\n" for n in range(2_500)))
    report, problems = run(server, file)
    assert (report.rows_applied, report.rows_refused) == (2_499, 1)
    assert [(each.row, each.field) for each in problems] == [(5, "place.country_code")]
    run(server, file)
    ids = [request.request_id for request in server.requests("BatchUpsertNodes")]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2
    assert all(len(request_id.encode()) <= 64 for request_id in ids)
