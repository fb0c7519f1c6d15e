"""What a solver's process is told and tells: frames of named arrays of whole numbers.

A frame is a kind, one byte, the length of what follows, four bytes, and an ``.npz`` archive, read
without pickles: what comes out of a process that may have run wild is numbers or an error.
"""

from __future__ import annotations

import enum
import io
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from engine.routing.plan import Status
from engine.routing.problem import Arrays, Problem
from engine.routing.tariff import Tariff
from engine.routing.view import View
from engine.routing.waves.answer import WaveAnswer
from engine.routing.waves.columns import Columns
from engine.routing.waves.pool import NONE
from engine.routing.waves.wave import Wave, WaveOrder

HEAD: Final = struct.Struct("<BI")
FRAME_BYTES_MAX: Final = 1 << 30

Numbers = Mapping[str, Any]

_STATUS: Final = tuple(Status)
_TARIFF: Final[tuple[str, ...]] = (
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
_OF_ORDER: Final = tuple(name for name in Arrays._fields if name not in _TARIFF)
_BY_LINE: Final = {"quantity", "unit_weight_g", "unit_volume_cm3", "carried_by", "group"}


class Kind(enum.IntEnum):
    """What a frame is."""

    READY = 1
    JOB = 2
    PROGRESS = 3
    ANSWER = 4


def frame(kind: Kind, numbers: Numbers) -> bytes:
    """One frame."""
    body = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in numbers.items()}
    np.savez(body, **arrays)
    data = body.getvalue()
    if len(data) > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {len(data)} bytes is above {FRAME_BYTES_MAX}")
    return HEAD.pack(kind, len(data)) + data


def numbers_of(body: bytes) -> dict[str, Any]:
    """What a frame holds. Raises ValueError, KeyError, OSError or EOFError where it is broken."""
    with np.load(io.BytesIO(body), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def job_frame(
    wave: Wave, *, seconds: float, seed: int, gap_enough: float = 0.0, work_s: float = 0.0
) -> bytes:
    """A wave to be solved within `seconds`, and with no more counted work than `work_s`; 0: as
    much as the seconds allow."""
    tariffs = {id(order.problem.tariff): order.problem.tariff for order in wave.orders}
    places = {key: place for place, key in enumerate(tariffs)}
    numbers: dict[str, Any] = {
        "ms": int(seconds * 1000),
        "work_ms": int(work_s * 1000),
        "seed": seed,
        "gap_enough_millionths": int(gap_enough * 1e6),
        "stock": wave.stock,
        "pick_capacity": wave.pick_capacity,
        "slots": wave.slots,
        "node_count": [len(order.node) for order in wave.orders],
        "line_count": [len(order.item) for order in wave.orders],
        "node": np.concatenate([order.node for order in wave.orders]),
        "item": np.concatenate([order.item for order in wave.orders]),
        "unrouted_cost": [order.unrouted_cost for order in wave.orders],
        "tariffs": len(tariffs),
        "tariff": [places[id(order.problem.tariff)] for order in wave.orders],
    }
    for place, tariff in enumerate(tariffs.values()):
        for name in _TARIFF:
            numbers[f"tariff{place}_{name}"] = getattr(tariff, name)
    for name in _OF_ORDER:
        fields = [getattr(order.problem.arrays, name).ravel() for order in wave.orders]
        numbers[f"order_{name}"] = np.concatenate(fields)
    return frame(Kind.JOB, numbers)


def wave_of_job(numbers: Numbers) -> Wave:
    """The wave of a job, whose parts were checked before they were sent."""
    rates: list[dict[str, Any]] = [
        {name: numbers[f"tariff{place}_{name}"] for name in _TARIFF}
        for place in range(int(numbers["tariffs"]))
    ]
    tariffs = [Tariff(**one) for one in rates]
    whole = {name: numbers[f"order_{name}"] for name in _OF_ORDER}
    node, item = numbers["node"], numbers["item"]
    unrouted_cost = numbers["unrouted_cost"].tolist()
    tariff_of = numbers["tariff"].tolist()
    terms = len(whole["terms"]) // len(tariff_of)
    nodes, lines = numbers["node_count"].tolist(), numbers["line_count"].tolist()
    at = dict.fromkeys(_OF_ORDER, 0)
    first_node = first_line = 0
    orders = []
    for place, (node_count, line_count) in enumerate(zip(nodes, lines, strict=True)):
        tariff = tariffs[tariff_of[place]]
        shapes = {
            name: (line_count,)
            if name in _BY_LINE
            else (node_count, line_count)
            if name in ("stock", "opportunity_cost")
            else (node_count, tariff.services)
            if name in ("zone", "service_open", "service_cost", "slots", "ready_day")
            else (terms,)
            if name == "terms"
            else (node_count,)
            for name in _OF_ORDER
        }
        arrays: dict[str, Any] = {
            name: rates[tariff_of[place]][name] for name in _TARIFF if name in Arrays._fields
        }
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            part = whole[name][at[name] : at[name] + size]
            arrays[name] = np.ascontiguousarray(part).reshape(shape)
            at[name] += size
        posed = Arrays(**arrays)
        orders.append(
            WaveOrder(
                Problem(tariff, posed, View(posed._asdict())),
                node[first_node : first_node + node_count],
                item[first_line : first_line + line_count],
                unrouted_cost[place],
            )
        )
        first_node += node_count
        first_line += line_count
    return Wave.of(
        orders,
        stock=numbers["stock"],
        pick_capacity=numbers["pick_capacity"],
        slots=numbers["slots"],
    )


def answer_frame(kind: Kind, answer: WaveAnswer, *, stage: str, is_deterministic: bool) -> bytes:
    """An answer, of its columns only the chosen ones; `stage`: what the solver was at."""
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
            "due": answer.due,
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
