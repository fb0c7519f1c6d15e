"""Stock files: good rows land, every other row is named; both readers say the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from holdfast.feeds import kinds
from holdfast.feeds.arrow_file import ArrowCsvFile
from holdfast.feeds.blocks import TableFile
from holdfast.feeds.csv_file import CsvFile
from holdfast.feeds.loading import prepare
from holdfast.feeds.problems import FileProblem, RowProblem
from holdfast.feeds.scan import Scan, scan
from holdfast.feeds.stock import StockRows

Open = Callable[[Scan], TableFile]


@pytest.fixture(params=[ArrowCsvFile, CsvFile], ids=["pyarrow", "standard library"])
def open_csv(request: pytest.FixtureRequest) -> Open:
    return request.param


def stock(path: Path, content: str | bytes) -> Path:
    file = path / "stock.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def read(table: TableFile, rows_per_chunk: int = 1_000) -> tuple[list, list[RowProblem]]:
    """The good rows as (row number, sku, node, on_hand), and the problems of the others."""
    rows = StockRows(table, "stock.csv", rows_per_chunk)
    good = []
    for sequence, chunk in enumerate(rows.chunks(), 1):
        for index, fields in enumerate(zip(chunk.skus, chunk.nodes, chunk.quantities, strict=True)):
            good.append((rows.row_number(sequence, index), *fields))
    return good, rows.problems


def test_good_rows_keep_their_order_and_number(tmp_path: Path, open_csv: Open):
    file = stock(tmp_path, "sku,node,on_hand\nS-1,W-1,5\nS-2,W-1,0\n")
    good, problems = read(open_csv(scan(file)))
    assert good == [(2, "S-1", "W-1", 5), (3, "S-2", "W-1", 0)]
    assert problems == []


def test_columns_come_in_any_order(tmp_path: Path, open_csv: Open):
    file = stock(tmp_path, "on_hand,sku,node\n5,S-1,W-1\n")
    assert read(open_csv(scan(file)))[0] == [(2, "S-1", "W-1", 5)]


@pytest.mark.parametrize(
    ("row", "field", "reason", "said"),
    [
        ("S-1,W-1,NaN", "on_hand", "FIELD_INVALID", "'NaN' is not a whole number"),
        ("S-1,W-1,inf", "on_hand", "FIELD_INVALID", "'inf' is not a whole number"),
        ("S-1,W-1,3.5", "on_hand", "FIELD_INVALID", "'3.5' is not a whole number"),
        ("S-1,W-1,0x10", "on_hand", "FIELD_INVALID", "'0x10' is not a whole number"),
        ("S-1,W-1,1_000", "on_hand", "FIELD_INVALID", "'1_000' is not a whole number"),
        ("S-1,W-1,\u0665", "on_hand", "FIELD_INVALID", "'\u0665' is not a whole number"),
        ("S-1,W-1,five", "on_hand", "FIELD_INVALID", "'five' is not a whole number"),
        ("S-1,W-1,--5", "on_hand", "FIELD_INVALID", "'--5' is not a whole number"),
        ("S-1,W-1,", "on_hand", "FIELD_REQUIRED", "is missing"),
        ("S-1,W-1,99999999999999999999", "on_hand", "LIMIT_EXCEEDED", "beyond 64 bits"),
        (",W-1,5", "sku", "FIELD_REQUIRED", "is missing"),
        ("S-1,,5", "node", "FIELD_REQUIRED", "is missing"),
        ("S-1,W-1", "", "FIELD_INVALID", "2 columns, but the header has 3"),
        ("S-1,W-1,5,6", "", "FIELD_INVALID", "4 columns, but the header has 3"),
    ],
)
def test_a_bad_row_is_named_and_its_neighbours_land(
    tmp_path: Path, open_csv: Open, row: str, field: str, reason: str, said: str
):
    file = stock(tmp_path, f"sku,node,on_hand\nS-0,W-1,1\n{row}\nS-9,W-1,9\n")
    good, problems = read(open_csv(scan(file)))
    assert good == [(2, "S-0", "W-1", 1), (4, "S-9", "W-1", 9)]
    (problem,) = problems
    assert (problem.row, problem.field, problem.reason) == (3, field, reason)
    assert said in problem.message
    assert "stock.csv: row 3" in str(problem)


def test_negative_numbers_go_to_the_server_which_refuses_them(tmp_path: Path, open_csv: Open):
    file = stock(tmp_path, "sku,node,on_hand\nS-1,W-1,-5\n")
    assert read(open_csv(scan(file)))[0] == [(2, "S-1", "W-1", -5)]


def test_a_position_that_came_before_is_named_with_its_first_row(tmp_path: Path, open_csv: Open):
    rows = "S-1,W-1,5\nS-1,W-2,6\nS-1,W-1,7\nS-1,W-1,8\n"
    file = stock(tmp_path, "sku,node,on_hand\n" + rows)
    good, problems = read(open_csv(scan(file)))
    assert [row[0] for row in good] == [2, 3]
    assert [(each.row, each.reason) for each in problems] == [
        (4, "FIELD_INVALID"),
        (5, "FIELD_INVALID"),
    ]
    assert problems[0].message == "S-1 at W-1 stands in row 2 already"


def test_a_duplicate_is_found_across_chunks_and_blocks(tmp_path: Path, open_csv: Open):
    many = "".join(f"S-{n},W-1,{n}\n" for n in range(150_000))
    file = stock(tmp_path, "sku,node,on_hand\n" + many + "S-7,W-1,1\n")
    good, problems = read(open_csv(scan(file)), rows_per_chunk=999)
    assert len(good) == 150_000
    assert [(each.row, each.message) for each in problems] == [
        (150_002, "S-7 at W-1 stands in row 9 already")
    ]


def test_bad_utf8_is_a_problem_of_its_row(tmp_path: Path):
    file = stock(tmp_path, b"sku,node,on_hand\nS-1,W-1,5\nS-\xff,W-1,6\nS-3,W-1,7\n")
    prepared = prepare(file)
    assert isinstance(prepared.table, CsvFile)
    good, problems = read(prepared.table)
    assert [row[1] for row in good] == ["S-1", "S-3"]
    assert [(each.row, each.field, each.message) for each in problems] == [
        (3, "sku", "is not UTF-8")
    ]


def test_bad_utf8_in_a_row_of_the_wrong_width_stops_nothing(tmp_path: Path):
    file = stock(tmp_path, b"sku,node,on_hand\nS-\xff,W-1\nS-3,W-1,7\n")
    good, problems = read(prepare(file).table)
    assert [row[0] for row in good] == [3]
    assert [each.row for each in problems] == [2]


def test_blank_lines_count_but_are_no_rows(tmp_path: Path, open_csv: Open):
    file = stock(tmp_path, "sku,node,on_hand\n\nS-1,W-1,5\n\n\nS-2,W-1,6\n\n")
    good, problems = read(open_csv(scan(file)))
    assert [row[0] for row in good] == [3, 6]
    assert problems == []


def test_quoted_fields_may_hold_commas_quotes_and_lines(tmp_path: Path, open_csv: Open):
    file = stock(tmp_path, 'sku,node,on_hand\n"S,1","W ""one""",5\n"S\n2",W-1,6\nS-3,W-1,7\n')
    good, _ = read(open_csv(scan(file)))
    assert good == [(2, "S,1", 'W "one"', 5), (3, "S\n2", "W-1", 6), (4, "S-3", "W-1", 7)]


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path, open_csv: Open):
    file = stock(tmp_path, b"\xef\xbb\xbfsku,node,on_hand\r\nS-1,W-1,5\r\n")
    assert read(open_csv(scan(file)))[0] == [(2, "S-1", "W-1", 5)]


def test_numbers_stay_right_around_many_misfits(tmp_path: Path, open_csv: Open):
    dice = random.Random(7)
    lines, expected, misfits = [], [], []
    for number in range(2, 60_000):
        if dice.random() < 0.02:
            lines.append(f"S-{number},W-1")
            misfits.append(number)
        elif dice.random() < 0.02:
            lines.append("")
        else:
            lines.append(f"S-{number},W-1,{number}")
            expected.append((number, f"S-{number}", "W-1", number))
    file = stock(tmp_path, "sku,node,on_hand\n" + "\n".join(lines) + "\n")
    good, problems = read(open_csv(scan(file)))
    assert good == expected
    assert [each.row for each in problems] == misfits


def test_times_are_read_with_their_offset(tmp_path: Path, open_csv: Open):
    file = stock(
        tmp_path,
        "sku,node,on_hand,as_of_time\n"
        "S-1,W-1,5,1970-01-01T00:00:01Z\n"
        "S-2,W-1,5,1970-01-01T01:00:01.250+01:00\n"
        "S-3,W-1,5,2026-03-02T16:00:00\n"
        "S-4,W-1,5,yesterday\n"
        "S-5,W-1,5,\n",
    )
    rows = StockRows(open_csv(scan(file)), "stock.csv")
    (chunk,) = rows.chunks()
    assert list(chunk.as_of_times_ms) == [1_000, 1_250]
    assert list(chunk.skus) == ["S-1", "S-2"]
    assert [(each.row, each.field, each.reason) for each in rows.problems] == [
        (4, "as_of_time", "FIELD_INVALID"),
        (5, "as_of_time", "FIELD_INVALID"),
        (6, "as_of_time", "FIELD_REQUIRED"),
    ]


def test_chunks_are_full_and_the_same_whenever_the_file_is_read(tmp_path: Path, open_csv: Open):
    many = "".join(f"S-{n},W-{n % 3},{n}\n" for n in range(2_500))
    file = stock(tmp_path, "sku,node,on_hand\n" + many)
    first = [list(c.skus) for c in StockRows(open_csv(scan(file)), "f", 1_000).chunks()]
    second = [list(c.skus) for c in StockRows(open_csv(scan(file)), "f", 1_000).chunks()]
    assert [len(chunk) for chunk in first] == [1_000, 1_000, 500]
    assert first == second


def parquet(path: Path, **columns: list) -> Path:
    file = path / "stock.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


def test_parquet_is_read_with_its_types(tmp_path: Path):
    file = parquet(tmp_path, sku=["S-1", "S-2"], node=["W-1", "W-1"], on_hand=[5, 6])
    good, problems = read(prepare(file).table)
    assert good == [(2, "S-1", "W-1", 5), (3, "S-2", "W-1", 6)]
    assert problems == []


def test_parquet_with_nan_and_nothing_names_the_rows(tmp_path: Path):
    file = parquet(
        tmp_path,
        sku=["S-1", "S-2", "S-3", None, "S-5"],
        node=["W-1"] * 5,
        on_hand=[5.0, float("nan"), None, 7.0, 2.5],
    )
    good, problems = read(prepare(file).table)
    assert good == [(2, "S-1", "W-1", 5)]
    assert [(each.row, each.field, each.reason) for each in problems] == [
        (3, "on_hand", "FIELD_INVALID"),
        (4, "on_hand", "FIELD_REQUIRED"),
        (5, "sku", "FIELD_REQUIRED"),
        (6, "on_hand", "FIELD_INVALID"),
    ]


def test_parquet_with_repeated_names_is_read(tmp_path: Path):
    column = pyarrow.array(["S-1", "S-2", "S-1"]).dictionary_encode()
    file = parquet(tmp_path, sku=column, node=["W-1", "W-1", "W-2"], on_hand=[1, 2, 3])
    assert [row[1] for row in read(prepare(file).table)[0]] == ["S-1", "S-2", "S-1"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "first line is blank"),
        (b"a,b\n1,2\n", "not that of nodes, items or stock"),
        (b"sku;node;on_hand\nS-1;W-1;5\n", "--delimiter ';'"),
        (b"sku,node\nS-1,W-1\n", "column 'on_hand' is missing"),
        (b"sku,node,on_hnd\nS-1,W-1,5\n", "did you mean 'on_hand'"),
        (b"sku,node,on_hand,on_hand\nS-1,W-1,5,6\n", "column 'on_hand' is there twice"),
        (b"sku,node,on_hand,colour\nS-1,W-1,5,red\n", "column 'colour' is not known"),
        (b"\xff\xfes\x00k\x00u\x00\n", "header is not UTF-8"),
        (b"PAR1 this is not", "Parquet"),
    ],
)
def test_a_file_that_is_no_feed_is_refused_in_one_sentence(
    tmp_path: Path, content: bytes, said: str
):
    with pytest.raises(FileProblem, match=r"stock\.csv") as caught:
        prepare(stock(tmp_path, content))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(FileProblem, match="No such file"):
        prepare(tmp_path / "missing.csv")


def test_a_directory_is_refused(tmp_path: Path):
    with pytest.raises(FileProblem, match="directory"):
        prepare(tmp_path)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = parquet(tmp_path, sku=["S-1"], node=["W-1"], on_hand=[5])
    monkeypatch.setitem(__import__("sys").modules, "holdfast.feeds.arrow_file", None)
    with pytest.raises(FileProblem, match=r"holdfast\[parquet\]"):
        prepare(file)
    csv_file = stock(tmp_path, "sku,node,on_hand\nS-1,W-1,5\n")
    assert isinstance(kinds.open_table(scan(csv_file)), CsvFile)
