"""A checkout: hold the cart, take the payment, confirm; and what to tell the shopper otherwise.

python examples/checkout.py SKU-1@WH-1=2 SKU-2@WH-1=1
"""

from __future__ import annotations

import sys

import holdfast


def checkout(client: holdfast.Client, cart: str, lines: list[tuple[str, str, int]]) -> str:
    """What the shopper reads in the end."""
    try:
        # Earlier holds of the same cart are let go in the same step: nobody blocks themselves.
        held = client.reserve(lines, owner=cart, ttl=900, replace_owner_holds=True)
    except holdfast.InsufficientStock as refusal:
        short = "; ".join(
            f"{line.sku}: only {line.available_quantity} left" for line in refusal.short_lines
        )
        return f"Sorry, not everything is there. {short}"
    if not paid(cart):
        client.cancel(held.reservation_id)
        return "The payment did not go through; your items are free for others again."
    try:
        # The etag says: exactly what was paid for, nothing that changed since.
        confirmed = client.confirm(held.reservation_id, etag=held.etag)
    except holdfast.ReservationExpired:
        return "That took longer than 15 minutes: please order again, the payment is returned."
    return f"Thank you! Order {confirmed.reservation_id} is on its way."


def paid(cart: str) -> bool:
    """Where your payment provider comes in."""
    return cart.startswith("cart-")


def main() -> None:
    lines = []
    for written in sys.argv[1:] or ["SKU-1@WH-1=2"]:
        place, _, quantity = written.partition("=")
        sku, _, node = place.partition("@")
        lines.append((sku, node, int(quantity or 1)))
    with holdfast.Client() as client:
        print(checkout(client, "cart-17", lines))


if __name__ == "__main__":
    main()
