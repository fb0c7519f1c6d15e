"""Lines of a REROUTE, from what the model says is open."""

from __future__ import annotations

from collections.abc import Sequence

from engine import commands
from tests.columns import Line
from tests.property.model import Model


def rerouted(
    model: Model,
    name: str,
    nodes: Sequence[str],
    *,
    policy: int = commands.ON_HAND,
    is_split: bool = False,
) -> list[Line]:
    """Every open unit of a reservation, line by line at the next of `nodes`; with `is_split` one
    unit of each line at the one after."""
    found = model.world.reservations.get(name)
    lines: list[Line] = []
    for number in range(found.lines if found else 0):
        assert found is not None
        units = found.units(number)
        parts = [units - 1, 1] if is_split and units > 1 else [units]
        for place, part in enumerate(parts if units else []):
            sku, node = model.sku_of(found, number), nodes[(number + place) % len(nodes)]
            assert sku is not None
            lines.append(Line(sku, node, quantity=part, number=number, policy=policy))
    return lines
