"""What routing knows of items: weights, sizes, values and flags, read when an order needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.hashing import key_of
from engine.routing import limits
from engine.state import State
from holdfast.v1 import network_service_pb2 as messages
from server.documents import ITEM

_KEPT_MAX: Final = 200_000


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """One SKU."""

    key: int
    revision: int
    weight_g: int
    volume_cm3: int
    longest_mm: int
    value: int
    flags: frozenset[str]


class Items:
    """Items by SKU; one whose document changed is read again."""

    def __init__(self) -> None:
        self._known: dict[str, ItemFacts] = {}

    def get(self, state: State, sku: str) -> ItemFacts | None:
        """None where NetworkService has no such item."""
        document = state.documents.get((ITEM, sku))
        if document is None:
            return None
        body, revision = document
        known = self._known.get(sku)
        if known is not None and known.revision == revision:
            return known
        if len(self._known) >= _KEPT_MAX:
            self._known.clear()
        facts = self._known[sku] = _facts(messages.Item.FromString(body), revision)
        return facts


def _facts(item: messages.Item, revision: int) -> ItemFacts:
    volume_mm3 = item.length_mm * item.width_mm * item.height_mm
    return ItemFacts(
        key=key_of(item.sku.encode()),
        revision=revision,
        weight_g=min(item.weight_grams, limits.weight_g_max),
        volume_cm3=min(-(-volume_mm3 // 1000), limits.volume_cm3_max),
        longest_mm=max(item.length_mm, item.width_mm, item.height_mm),
        value=item.value.minor_units,
        flags=frozenset(item.flags),
    )
