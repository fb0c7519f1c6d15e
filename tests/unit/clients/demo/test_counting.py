"""The demo's count is off here and there, but never by so much that the server must refuse it."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.demo.book import Book, Entry, Fact
from holdfast.demo.counting import COUNTED_NODE, LINE_UNITS_MAX, OFF_BY_ONE_IN, StockCount

SKU = "A-FIRST"  # the first position of the sheet is one that is found three units off


@pytest.mark.parametrize(
    ("there", "off"), [(LINE_UNITS_MAX + 103, -3), (LINE_UNITS_MAX + 102, 0), (100, 0)]
)
def test_units_are_only_missed_where_shipments_can_not_take_the_rest(there: int, off: int):
    """100 units are shipped between the count and its entry."""
    position = (SKU, COUNTED_NODE)
    book = Book()
    book.entries = [
        Entry(1, 1, Fact.HELD, "r", takes=((position, 100),), expire_ms=10**12),
        Entry(2, 2, Fact.CONFIRMED, "r"),
        Entry(3, 20, Fact.SHIPPED, "r", lines=((0, 100),)),
    ]
    nothing: Any = None
    stock = {position: there} | {(f"B-{n}", COUNTED_NODE): 7 for n in range(OFF_BY_ONE_IN - 1)}
    sheet = dict(StockCount(nothing, book, stock, nothing)._sheet(10))
    assert sheet[position] == there + off
    assert {units for place, units in sheet.items() if place != position} == {7}
