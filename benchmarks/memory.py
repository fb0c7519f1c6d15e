"""What a position and an open hold cost in memory: resident bytes of a process before and after.

10,000,000 positions (100,000 SKUs at 100 nodes) are counted in, then 1,000,000 three-line holds
with owner and request id are made. Everything that comes with them is in the figure: names,
indices, movements, the remembered answers, the expiry heap. A table's room that is not used costs
nothing, so the figures do not depend on the capacity.
"""

from __future__ import annotations

from benchmarks.catalogue import catalogue, roomy, stocked
from benchmarks.measure import Say
from benchmarks.orders import Orders
from benchmarks.resident import resident_bytes
from engine.machine import apply
from engine.state import Capacity, State

POSITIONS = 10_000_000
NODES = 100
HOLDS = 1_000_000
TOTAL_BYTES_MAX = 3 * 1024**3
_ROWS = 10_000


def run(say: Say) -> dict[str, float]:
    """Measure."""
    shop = catalogue(POSITIONS, NODES)
    # Once in small: kernels and libraries are loaded before the first reading.
    small = stocked(State.create(Capacity.small()), catalogue(1_000))
    apply(small, 1, Orders(catalogue(1_000)).creates(100))
    Orders(shop).creates(_ROWS)

    state = State.create(roomy())
    bare = resident_bytes()
    stocked(state, shop)
    with_positions = resident_bytes()
    orders = Orders(shop)
    for _ in range(HOLDS // _ROWS):
        apply(state, 2, orders.creates(_ROWS))
    with_holds = resident_bytes()
    held = int(state.meta["held_count"][0])
    positions = int(state.meta["position_count"][0])
    if (positions, held) != (POSITIONS, HOLDS):
        raise RuntimeError(f"{positions} positions and {held} holds were made")

    say(f"{positions:,} positions: {_mib(with_positions - bare)}")
    say(f"{held:,} open holds of three lines: {_mib(with_holds - with_positions)}")
    fits = "fits" if with_holds <= TOTAL_BYTES_MAX else "DOES NOT FIT"
    say(f"the whole process: {_mib(with_holds)} ({_mib(bare)} before); {fits} 3 GiB")
    return {
        "bytes_per_position": (with_positions - bare) / positions,
        "bytes_per_open_hold": (with_holds - with_positions) / held,
        "memory_total_gib": with_holds / 1024**3,
    }


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.0f} MiB"
