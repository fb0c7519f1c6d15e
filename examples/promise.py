"""Say at the checkout from where, by which carrier and by when, and hold exactly that.

python examples/promise.py 10001 SKU-1=2 SKU-2
"""

from __future__ import annotations

import sys

import holdfast


def offer(client: holdfast.Client, order: holdfast.RoutingOrder) -> list[str]:
    """What the shopper may choose from: the cheapest way, and ways that are faster or greener."""
    found = client.plan_fulfillment(order, include_pareto_plans=True)
    choices = []
    for plan in found.pareto_plans:
        arrives = plan.delivery_window.end_time
        choices.append(
            f"{plan.cost_minor_units / 100:.2f} {found.currency_code}, "
            f"{len(plan.shipments)} parcel(s) by {arrives:%a %d %b}, {plan.co2e_grams} g CO2e"
        )
    return choices


def promise(client: holdfast.Client, order: holdfast.RoutingOrder) -> str:
    """What the shopper reads once it is held."""
    try:
        made = client.promise_order(order, ttl=900)
    except holdfast.errors.NoFeasiblePlan as refusal:
        return f"Sorry, we can not deliver this: {refusal}"
    nodes = " and ".join(one.node for one in made.plan.shipments)
    window = made.plan.delivery_window
    return (
        f"Order {made.reservation.reservation_id} ships from {nodes}, there by "
        f"{window.end_time:%a %d %b} with {window.probability_ppm / 10_000:.1f} %"
    )


def main() -> None:
    postal_code, *written = sys.argv[1:] or ["10001", "SKU-1=2"]
    lines = []
    for text in written:
        sku, _, quantity = text.partition("=")
        lines.append(holdfast.RoutingLine(sku, int(quantity or 1)))
    order = holdfast.RoutingOrder(tuple(lines), holdfast.Place("US", postal_code), owner="cart-17")
    with holdfast.Client() as client:
        for choice in offer(client, order):
            print(choice)
        print(promise(client, order))


if __name__ == "__main__":
    main()
