"""Node and item files become resources; every bad row is named."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.feeds.kinds import FeedKind
from holdfast.feeds.loading import prepare
from holdfast.feeds.records import ITEM_COLUMNS, NODE_COLUMNS, Records, item_of, node_of
from holdfast.values.network import Item, Money, Node, NodeType, Place


def nodes(path: Path, content: str) -> tuple[list, list]:
    file = path / "nodes.csv"
    file.write_text(content, encoding="utf-8")
    prepared = prepare(file)
    assert prepared.kind is FeedKind.NODES
    records = Records(prepared.table, "nodes.csv", NODE_COLUMNS, node_of)
    return list(records.resources()), records.problems


def items(path: Path, content: str) -> tuple[list, list]:
    file = path / "items.csv"
    file.write_text(content, encoding="utf-8")
    prepared = prepare(file)
    assert prepared.kind is FeedKind.ITEMS
    records = Records(prepared.table, "items.csv", ITEM_COLUMNS, item_of)
    return list(records.resources()), records.problems


def test_a_full_row_is_a_full_node(tmp_path: Path):
    header = ",".join(NODE_COLUMNS)
    row = "W-1,One,store,DE,10115,52.5,13.4,Europe/Berlin,3,960,7200000,500,990000,yes,"
    row += "hazmat; fragile"
    assert nodes(tmp_path, f"{header}\n{row}\n") == (
        [
            (
                2,
                Node(
                    "W-1",
                    "One",
                    NodeType.STORE,
                    Place("DE", "10115", 52.5, 13.4, "Europe/Berlin"),
                    3,
                    cutoff_minute=960,
                    processing_time=timedelta(hours=2),
                    pick_capacity_per_day=500,
                    reliability_ppm=990_000,
                    pickup=True,
                    flags=("hazmat", "fragile"),
                ),
            )
        ],
        [],
    )


def test_empty_fields_are_left_to_the_server(tmp_path: Path):
    good, _ = nodes(tmp_path, "node,type,priority,postal_code\nW-1,,,\n")
    assert good == [(2, Node("W-1"))]


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        ("W-2,castle,1", "type", "none of WAREHOUSE, STORE"),
        ("W-2,STORE,first", "priority", "not a whole number"),
        (",STORE,1", "node", "is missing"),
        ("W-1,STORE,1", "node", "W-1 stands in row 2 already"),
    ],
)
def test_a_bad_node_is_named(tmp_path: Path, row: str, field: str, said: str):
    good, problems = nodes(tmp_path, f"node,type,priority\nW-1,STORE,1\n{row}\nW-3,STORE,1\n")
    assert [number for number, _ in good] == [2, 4]
    assert [(each.row, each.field) for each in problems] == [(3, field)]
    assert said in problems[0].message


@pytest.mark.parametrize("value", ["nan", "inf", "north"])
def test_a_place_needs_finite_numbers(tmp_path: Path, value: str):
    good, problems = nodes(tmp_path, f"node,latitude\nW-1,{value}\n")
    assert good == []
    assert problems[0].field == "latitude"


def test_items_have_a_value_in_a_currency(tmp_path: Path):
    good, problems = items(
        tmp_path,
        "sku,display_name,value_minor_units,currency_code,weight_grams\n"
        "S-1,Ball,250,EUR,400\nS-2,Bat,300,,\nS-3,Net,,EUR,\n",
    )
    assert good == [
        (2, Item("S-1", "Ball", 400, value=Money(250, "EUR"))),
        (4, Item("S-3", "Net")),
    ]
    assert [(each.row, each.reason) for each in problems] == [(3, "FIELD_REQUIRED")]
