"""How lines and positions are written on the command line."""

from __future__ import annotations

import typer

from holdfast.values.reservations import Line, LineQuantity

LINE_HELP = (
    "SKU@NODE or SKU@NODE=QUANTITY, such as SKU-1@WH-1=2; "
    "SKU@group:GROUP takes from the nodes of a group."
)


def line_of(written: str) -> Line:
    """The line that `written` means. Raises BadParameter."""
    sku, node, quantity = _split(written, "1")
    if node.startswith("group:"):
        return Line(sku, node_group=node.removeprefix("group:"), quantity=quantity)
    return Line(sku, node, quantity)


def position_of(written: str) -> tuple[str, str, int]:
    """The (sku, node, number) that ``SKU@NODE=NUMBER`` means. Raises BadParameter."""
    return _split(written, None)


def line_quantity_of(written: str) -> LineQuantity:
    """The line and quantity that ``LINE=QUANTITY`` means. Raises BadParameter."""
    line, _, quantity = written.partition("=")
    if not line.isdecimal() or not quantity.isdecimal():
        raise typer.BadParameter(
            f"{written!r} is not LINE=QUANTITY, such as 0=2 (lines count from 0)"
        )
    return LineQuantity(int(line), int(quantity))


def _split(written: str, default: str | None) -> tuple[str, str, int]:
    # From the right: a SKU may contain @ and =, which a node and a number do not.
    place, equals, number = written.rpartition("=")
    if not equals:
        place, number = written, default or ""
    sku, at, node = place.rpartition("@")
    digits = number.removeprefix("-").removeprefix("+")
    if not (at and sku and node) or not (digits.isascii() and digits.isdigit()):
        form = "SKU@NODE=NUMBER" if default is None else "SKU@NODE or SKU@NODE=QUANTITY"
        raise typer.BadParameter(f"{written!r} is not {form}, such as SKU-1@WH-1=2")
    return sku, node, int(number)
