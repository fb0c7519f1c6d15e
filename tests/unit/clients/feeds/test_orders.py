"""A file of orders: rows become orders, bad rows are named, and an order is whole or left out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.feeds.orders import ORDERS_MAX, read_orders
from holdfast.feeds.problems import FileProblem
from holdfast.values.network import Place
from holdfast.values.routing import FulfillmentType, RoutingLine


def written(folder: Path, text: str) -> Path:
    path = folder / "orders.csv"
    path.write_text(text)
    return path


def test_rows_of_one_name_are_one_order(tmp_path: Path) -> None:
    found = read_orders(
        written(
            tmp_path,
            "order,sku,quantity,postal_code,deliver_by_time,attributes,excluded_nodes\n"
            "a,mug,2,10001,2026-03-02T16:00:00Z,tier=vip;gift=yes,newark;boston\n"
            "b,rug,1,94105,,,\n"
            "a,rug,1,,,,\n",
        )
    )
    first, second = found.orders
    assert first.reservation_id == "a"
    assert first.lines == (RoutingLine("mug", 2), RoutingLine("rug", 1))
    assert first.destination == Place("US", "10001")
    assert first.deliver_by_time == datetime(2026, 3, 2, 16, tzinfo=UTC)
    assert first.attributes == {"tier": "vip", "gift": "yes"}
    assert first.excluded_nodes == ("newark", "boston")
    assert second.lines == (RoutingLine("rug", 1),)
    assert (found.rows, found.problems, found.left_out) == ([2, 3], [], 0)


def test_a_bad_row_leaves_its_order_out_and_no_other(tmp_path: Path) -> None:
    found = read_orders(
        written(
            tmp_path,
            "order,sku,quantity,postal_code\n"
            "a,mug,two,10001\n"
            "b,mug,1,10001\n"
            "a,rug,1,10001\n"
            "c,mug,1,10001\n"
            "c,rug,1,94105\n"
            ",rug,1,94105\n"
            "d,,1,94105\n",
        )
    )
    assert [order.reservation_id for order in found.orders] == ["b"]
    assert found.left_out == 3
    assert [(one.row, one.field, one.value, one.reason) for one in found.problems] == [
        (2, "quantity", "two", "FIELD_INVALID"),
        (6, "postal_code", "94105", "FIELD_INVALID"),
        (7, "order", "", "FIELD_REQUIRED"),
        (8, "sku", "", "FIELD_REQUIRED"),
    ]
    assert "is another one than in row 5 of the same order" in str(found.problems[1])


def test_who_collects_needs_no_place(tmp_path: Path) -> None:
    found = read_orders(
        written(tmp_path, "order,sku,quantity,pickup_node\na,mug,1,store\nb,mug,1,any\n")
    )
    assert [order.pickup_node for order in found.orders] == ["store", ""]
    assert {order.fulfillment_type for order in found.orders} == {FulfillmentType.PICKUP}
    assert found.orders[0].destination is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("order,sku\na,mug\n", "column 'quantity' is missing"),
        ("order,sku,quantity,zip\na,mug,1,1\n", "column 'zip' is not known"),
        ("order,sku,quantity,sku\na,mug,1,x\n", "column 'sku' is there twice"),
    ],
)
def test_a_header_that_is_not_one_of_orders_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(FileProblem, match=message):
        read_orders(written(tmp_path, text))


def test_more_orders_than_a_wave_has_are_refused_by_row(tmp_path: Path) -> None:
    rows = "".join(f"o{at},mug,1\n" for at in range(ORDERS_MAX + 1))
    with pytest.raises(FileProblem, match="row 5002: more than 5,000 orders"):
        read_orders(written(tmp_path, f"order,sku,quantity\n{rows}"))
