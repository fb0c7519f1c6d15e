"""What each caller may do. From a TOML file.

::

    [default]                    # every caller that is not named below
    scopes = ["read", "reserve"]

    [callers."spiffe://shop.example/wms"]
    scopes = ["read", "reserve", "inventory"]

Scopes: ``read`` (everything that only tells), ``reserve`` (reservations, promises, waves, queues),
``inventory`` (stock and supply), ``network`` (nodes, items, carriers, channels, rules), ``admin``
(status, snapshots, freezing a node, draining). None contains another. Without a file everybody may
do everything.

Callers: `server.lifecycle` reads the file, the transport asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from server.admission.settings_file import read_callers

READ: Final = "read"
RESERVE: Final = "reserve"
INVENTORY: Final = "inventory"
NETWORK: Final = "network"
ADMIN: Final = "admin"
SCOPES: Final = frozenset({READ, RESERVE, INVENTORY, NETWORK, ADMIN})

_WRITES: Final = {
    "ReservationService": RESERVE,
    "AvailabilityService": READ,
    "RoutingService": RESERVE,
    "QueueService": RESERVE,
    "InventoryService": INVENTORY,
    "NetworkService": NETWORK,
    "AdminService": ADMIN,
}
_TELLING: Final = ("Get", "BatchGet", "List", "Query", "Watch", "Verify", "Explain")
_ALSO_TELLING: Final = frozenset({"PlanFulfillment"})


def scope_of(service: str, method: str) -> str:
    """The scope a method needs; `service` without its package, such as ``AdminService``.

    Raises KeyError for a service that has none yet.
    """
    scope = _WRITES[service]
    if scope != ADMIN and (method.startswith(_TELLING) or method in _ALSO_TELLING):
        return READ
    return scope


@dataclass(frozen=True, slots=True)
class Scopes:
    """The scopes of every caller."""

    default: frozenset[str] = SCOPES
    callers: Mapping[bytes, frozenset[str]] = field(default_factory=dict)

    def of(self, caller: bytes) -> frozenset[str]:
        """The scopes of the caller of this name."""
        return self.callers.get(caller, self.default)

    @property
    def are_all(self) -> bool:
        """Whether everybody may do everything."""
        return self.default == SCOPES and all(have == SCOPES for have in self.callers.values())


EVERYTHING: Final = Scopes()
"""Everybody may do everything."""


def read_scopes(path: Path) -> Scopes:
    """The scopes in `path`. Raises FileRefused with every problem found."""
    nothing: frozenset[str] = frozenset()
    return Scopes(*read_callers(path, nothing, _scopes))


def _scopes(where: str, values: Any, base: frozenset[str], problems: list[str]) -> frozenset[str]:
    if not isinstance(values, dict):
        problems.append(f"{where} must be a table")
        return base
    problems += [f"{where}.{key} is unknown; known: scopes" for key in values if key != "scopes"]
    if "scopes" not in values:
        return base
    named = values["scopes"]
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        problems.append(f"{where}.scopes = {named!r} is not allowed; allowed: a list of names")
        return base
    problems += [
        f"{where}.scopes: {name!r} is unknown; known: {', '.join(sorted(SCOPES))}"
        for name in named
        if name not in SCOPES
    ]
    return frozenset(named)
