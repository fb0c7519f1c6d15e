"""What a solver's process is told and tells: frames of named arrays of whole numbers.

A frame is a kind, one byte, the length of what follows, four bytes, and an ``.npz`` archive, read
without pickles: what comes out of a process that may have run wild is numbers or an error.
"""

from __future__ import annotations

import enum
import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from engine.routing.plan import Status
from engine.routing.tariff import Tariff
from engine.routing.waves.answer import WaveAnswer
from engine.routing.waves.columns import Columns
from engine.routing.waves.packed import PackedOrders, laid_out
from engine.routing.waves.packed import numbers_of as packed_numbers
from engine.routing.waves.pool import NONE
from engine.routing.waves.wave import Wave

HEAD: Final = struct.Struct("<BI")
FRAME_BYTES_MAX: Final = 1 << 30

Numbers = Mapping[str, Any]

_STATUS: Final = tuple(Status)
_OF_TARIFF: Final[tuple[str, ...]] = (
    "step_g",
    "rate",
    "co2e_g",
    "charge",
    "volume_divisor",
    "parcels_max",
    "transit_days",
    "limit_step",
    "limit_g",
)
_OF_ORDERS: Final = ("nodes", "lines", "node", "item", "unrouted_cost", "tariff")


class Kind(enum.IntEnum):
    """What a frame is."""

    READY = 1
    JOB = 2
    PROGRESS = 3
    ANSWER = 4
    PRICES = 5
    """Dual prices to be solved (`server.routing.prices.dual_job`), answered with ANSWER."""


def frame(kind: Kind, numbers: Numbers) -> memoryview:
    """One frame."""
    data = io.BytesIO()
    data.write(HEAD.pack(kind, 0))
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in numbers.items()}
    np.savez(data, **arrays)
    size = data.tell() - HEAD.size
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {size} bytes is above {FRAME_BYTES_MAX}")
    made = data.getbuffer()
    HEAD.pack_into(made, 0, kind, size)
    return made


def numbers_of(body: bytes) -> dict[str, Any]:
    """What a frame holds. Raises ValueError, KeyError, OSError or EOFError where it is broken."""
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except zipfile.BadZipFile as fault:
        raise ValueError(f"a frame of {len(body)} bytes is no archive: {fault}") from fault


def job_frame(
    wave: Wave, *, seconds: float, seed: int, gap_enough: float = 0.0, work_s: float = 0.0
) -> memoryview:
    """A wave to be solved within `seconds`, and with no more counted work than `work_s`; 0: as
    much as the seconds allow."""
    laid = laid_out(wave.orders)
    numbers: dict[str, Any] = {
        "ms": int(seconds * 1000),
        "work_ms": int(work_s * 1000),
        "seed": seed,
        "gap_enough_millionths": int(gap_enough * 1e6),
        "stock": wave.stock,
        "pick_capacity": wave.pick_capacity,
        "slots": wave.slots,
        "tariffs": len(laid.tariffs),
        "numbers": packed_numbers(wave.orders),
    }
    for name in _OF_ORDERS:
        numbers[f"order_{name}"] = getattr(laid, name)
    for place, tariff in enumerate(laid.tariffs):
        for name in _OF_TARIFF:
            numbers[f"tariff{place}_{name}"] = getattr(tariff, name)
    return frame(Kind.JOB, numbers)


def wave_of_job(numbers: Numbers) -> Wave:
    """The wave of a job, whose orders were checked before they were sent. Raises ValueError where
    its parts do not fit together."""
    tariffs = [
        Tariff(**{name: numbers[f"tariff{place}_{name}"] for name in _OF_TARIFF})
        for place in range(int(numbers["tariffs"]))
    ]
    orders = PackedOrders(
        numbers["numbers"],
        tariffs=tariffs,
        **{name: numbers[f"order_{name}"] for name in _OF_ORDERS},
    )
    stock, slots = numbers["stock"], numbers["slots"]
    nodes, items = stock.shape
    if orders.laid.node.max() >= nodes or orders.laid.item.max() >= items:
        raise ValueError("an order names a node or an item that the wave does not have")
    return Wave(tariffs[0].services, orders, stock, numbers["pick_capacity"], slots)


def answer_frame(
    kind: Kind, answer: WaveAnswer, *, stage: str, is_deterministic: bool
) -> memoryview:
    """An answer, of its columns only the chosen ones; `stage`: what the solver was at. The prices
    of a large wave are megabytes, so only the last answer has them."""
    chosen = answer.chosen[answer.chosen != NONE]
    entries = answer.columns.entries(chosen)
    return frame(
        kind,
        {
            "status": _STATUS.index(answer.status),
            "cost": answer.cost,
            "bound": answer.bound,
            "sequential_cost": answer.sequential_cost,
            "order": answer.columns.order[chosen],
            "column_cost": answer.columns.cost[chosen],
            "start": np.searchsorted(entries.column, np.arange(len(chosen) + 1)),
            "resource": entries.resource,
            "taken": entries.taken,
            "impossible": np.array(sorted(answer.impossible), np.int64),
            "due": answer.due if kind is Kind.ANSWER else answer.due[:0],
            "work_us": int(answer.work_s * 1e6),
            "stage": np.frombuffer(stage.encode(), np.uint8),
            "is_deterministic": int(is_deterministic),
        },
    )


def stage_of(numbers: Numbers) -> str:
    """What the solver was at when it told an answer."""
    return bytes(numbers["stage"].tolist()).decode()


def answer_of(wave: Wave, numbers: Numbers) -> WaveAnswer:
    """The answer for `wave`, whose plans are priced anew when they are asked for."""
    columns = Columns.of(
        numbers["order"],
        numbers["column_cost"],
        numbers["start"],
        numbers["resource"],
        numbers["taken"],
    )
    chosen = np.full(len(wave.orders), NONE)
    chosen[columns.order] = np.arange(len(columns))
    return WaveAnswer(
        wave=wave,
        status=_STATUS[int(numbers["status"])],
        cost=int(numbers["cost"]),
        bound=int(numbers["bound"]),
        sequential_cost=int(numbers["sequential_cost"]),
        columns=columns,
        chosen=chosen,
        impossible=frozenset(numbers["impossible"].tolist()),
        due=numbers["due"],
        work_s=int(numbers["work_us"]) / 1e6,
    )
