"""A plan at the desk as the bytes of its reply: FulfillmentPlan and SolverReport, compiled.

The same bytes as `server.transport.render_plans` and protobuf's deterministic serialisation make;
tests compare them. ``k`` has the views of a desk (`server.routing.kernels.desk`), and ``c``: what
stays the same while a network version does, where the texts of nodes, of services and of their
zones stand in `texts`, each as the fields it becomes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.compiled import Integer, kernel
from engine.routing.express.pricing import (
    BOUND,
    CARRIED_BY,
    CHARGED,
    CO2E,
    CO2E_GRAMS,
    COST,
    DAYS_LATE,
    HANDLING,
    LATENESS,
    OPPORTUNITY,
    PARCEL_CO2E_GRAMS,
    PARCELS,
    RATE,
    SERVICE,
    SHIPMENT_COST,
    SHIPMENTS,
    SPLIT,
    WORK,
    ZONE,
)
from server.routing.kernels.desk import (
    DELIVERY_MAX,
    DELIVERY_MIN,
    DISTANCE,
    IN_TIME_PPM,
    NUMBER,
    PICK_DAY,
    READY_MS,
    SLOT_AT,
    SLOT_BYTES,
)
from server.routing.kernels.reading import FIRST_LINE, LINE, SKU_AT, SKU_BYTES
from server.wire_fields import close, put_bytes, put_moment, put_number, put_text

# Places in c.always: where the texts of every reply begin; the last ends where `always` does.
CURRENCY: Final = 0
VERSION: Final = 1
ENDING: Final = 2
ALWAYS: Final = 4

OPTIMAL: Final = 1
FEASIBLE: Final = 2
"""Of holdfast.v1.PlanStatus."""
DAY_BYTES: Final = 10

_PPM: Final = 1_000_000


@kernel
def put_day(out: NDArray[np.uint8], at: int, day: int) -> Integer:
    """A day (an ordinal as Python counts them) as YYYY-MM-DD.

    Source: Hinnant, chrono-Compatible Low-Level Date Algorithms, civil_from_days.
    """
    since = np.int64(day) + 305  # since 0000-03-01
    era = since // 146_097
    of_era = since - era * 146_097
    years = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    months = (5 * of_year + 2) // 153
    month = months + 3 if months < 10 else months - 9
    year = years + era * 400 + (1 if month <= 2 else 0)
    at = _put_digits(out, at, year, 4)
    out[at] = 45
    at = _put_digits(out, at + 1, month, 2)
    out[at] = 45
    return _put_digits(out, at + 1, of_year - (153 * months + 2) // 5 + 1, 2)


@kernel
def _put_digits(out: NDArray[np.uint8], at: int, value: int, width: int) -> Integer:
    for place in range(at + width - 1, at - 1, -1):
        out[place] = 48 + value % 10
        value //= 10
    return at + width


@kernel
def _put_line(
    out: NDArray[np.uint8],
    at: int,
    raw: NDArray[np.uint8],
    spans: NDArray[np.int64],
    line: int,
    units: int,
    reservation_line: int,
) -> Integer:
    """PlannedLine."""
    here = FIRST_LINE + line * LINE
    at = put_number(out, at, 8, line)
    at = put_text(out, at, 18, raw, spans[here + SKU_AT], spans[here + SKU_BYTES])
    at = put_number(out, at, 24, units)
    return put_number(out, at, 32, reservation_line)


@kernel
def _put_lines(
    out: NDArray[np.uint8],
    at: int,
    tag: int,
    raw: NDArray[np.uint8],
    spans: NDArray[np.int64],
    amounts: NDArray[np.int64],
    lines: int,
    reservation_line: int,
    is_held: bool,
) -> Integer:
    for line in range(lines):
        if amounts[line] == 0:
            continue
        out[at] = tag
        end = _put_line(out, at + 2, raw, spans, line, amounts[line], reservation_line)
        at = close(out, at + 1, end)
        reservation_line += 1 if is_held else 0
    return at


@kernel
def _put_window(
    out: NDArray[np.uint8], at: int, tag: int, first_ms: int, last_ms: int, in_time_ppm: int
) -> Integer:
    """DeliveryWindow."""
    out[at] = tag
    end = put_moment(out, at + 2, 10, first_ms)
    end = put_moment(out, end, 18, last_ms)
    end = put_number(out, end, 24, in_time_ppm)
    return close(out, at + 1, end)


@kernel
def midnight(midnights: NDArray[np.int64], day: int) -> Integer:
    """When a day begins, in ms. `midnights`: an ordinal, when it begins, and when those after it
    do. -1 where that is not known."""
    place = day - midnights[0] + 1
    if place < 1 or place >= midnights.shape[0]:
        return np.int64(-1)
    return midnights[place]


@kernel
def _put_plan(
    c: Any,
    d: Any,
    t: Any,
    texts: NDArray[np.uint8],
    raw: NDArray[np.uint8],
    spans: NDArray[np.int64],
    midnights: NDArray[np.int64],
    lines: int,
    is_held: bool,
    out: NDArray[np.uint8],
    at: Integer,
) -> Integer:
    """FulfillmentPlan; -1 where a day is too far ahead."""
    start_ms = np.int64(0)
    end_ms = np.int64(0)
    probability = np.int64(_PPM)
    first_line: Integer = np.int64(0)
    for place in range(t.head[SHIPMENTS]):
        row, told, amounts = t.shipments[place], d.told[place], t.amounts[place]
        node, service = told[NUMBER], row[CARRIED_BY]
        first_ms = midnight(midnights, told[DELIVERY_MIN])
        last_ms = midnight(midnights, told[DELIVERY_MAX] + 1)
        if first_ms < 0 or last_ms < 0:
            return np.int64(-1)
        first_ms = max(first_ms, told[READY_MS])
        start_ms, end_ms = max(start_ms, first_ms), max(end_ms, last_ms)
        in_time = told[IN_TIME_PPM]
        probability = probability * in_time // _PPM

        out[at] = 10
        mark = at + 1
        end = put_bytes(out, at + 2, texts, c.node_at[node], c.node_at[node + 1])
        end = put_bytes(out, end, texts, c.service_at[service], c.service_at[service + 1])
        zone = row[ZONE]
        end = put_bytes(out, end, texts, c.zone_at[service, zone], c.zone_at[service, zone + 1])
        end = put_number(out, end, 48, told[DISTANCE])
        end = _put_lines(out, end, 58, raw, spans, amounts, lines, first_line, is_held)
        out[end] = 66
        inner = _put_lines(out, end + 2, 10, raw, spans, amounts, lines, first_line, is_held)
        inner = put_number(out, inner, 16, row[CHARGED])
        inner = put_number(out, inner, 24, row[RATE])
        inner = put_number(out, inner, 32, row[PARCEL_CO2E_GRAMS])
        end = close(out, end + 1, inner)
        out[end] = 74
        out[end + 1] = DAY_BYTES
        end = put_day(out, end + 2, told[PICK_DAY])
        end = put_moment(out, end, 82, told[READY_MS])
        end = put_text(out, end, 90, texts, told[SLOT_AT], told[SLOT_BYTES])
        end = _put_window(out, end, 98, first_ms, last_ms, in_time)
        end = put_number(out, end, 104, row[DAYS_LATE])
        end = put_number(out, end, 112, row[SHIPMENT_COST])
        at = close(out, mark, end)
        for line in range(lines):
            first_line += 1 if is_held and amounts[line] != 0 else 0
    at = put_number(out, at, 16, t.head[COST])
    end = put_number(out, at + 2, 8, t.head[PARCELS])
    end = put_number(out, end, 16, t.head[CO2E])
    end = put_number(out, end, 24, t.head[HANDLING])
    end = put_number(out, end, 32, t.head[OPPORTUNITY])
    end = put_number(out, end, 40, t.head[SERVICE])
    end = put_number(out, end, 48, t.head[LATENESS])
    end = put_number(out, end, 56, t.head[SPLIT])
    if end > at + 2:
        out[at] = 26
        at = close(out, at + 1, end)
    at = put_number(out, at, 32, t.head[CO2E_GRAMS])
    return _put_window(out, at, 42, start_ms, end_ms, probability)


@kernel
def _put_report(
    c: Any, t: Any, texts: NDArray[np.uint8], nanoseconds: int, out: NDArray[np.uint8], at: int
) -> Integer:
    """SolverReport."""
    cost, bound = t.head[COST], t.head[BOUND]
    is_proven = bound >= cost
    gap = np.float64(cost - bound) / np.float64(max(np.int64(1), cost))
    at = put_number(out, at, 8, OPTIMAL if is_proven else FEASIBLE)
    at = put_number(out, at, 16, 1 if is_proven else 0)
    at = put_number(out, at, 24, bound)
    at = put_number(out, at, 32, np.int64(np.rint(gap * _PPM)))
    at = put_number(out, at, 40, t.head[WORK])
    at = put_number(out, at, 48, nanoseconds)
    return put_bytes(out, at, texts, c.always[VERSION], c.always[ENDING])


@kernel
def put_answer(
    c: Any,
    d: Any,
    t: Any,
    texts: NDArray[np.uint8],
    raw: NDArray[np.uint8],
    spans: NDArray[np.int64],
    midnights: NDArray[np.int64],
    lines: int,
    is_held: bool,
    nanoseconds: int,
    out: NDArray[np.uint8],
    at: Integer,
) -> Integer:
    """Plan, currency and report, which lie alike in the replies to plans and to promises; -1 where
    a day is too far ahead. `is_held`: the plan's lines say where they lie in the reservation."""
    out[at] = 10
    end = _put_plan(c, d, t, texts, raw, spans, midnights, lines, is_held, out, at + 2)
    if end < 0:
        return np.int64(-1)
    at = close(out, at + 1, end)
    at = put_bytes(out, at, texts, c.always[CURRENCY], c.always[VERSION])
    out[at] = 26
    end = _put_report(c, t, texts, nanoseconds, out, at + 2)
    return close(out, at + 1, end)


@kernel
def put_reply(
    k: Any,
    texts: NDArray[np.uint8],
    raw: NDArray[np.uint8],
    spans: NDArray[np.int64],
    midnights: NDArray[np.int64],
    nanoseconds: int,
    revision: int,
    out: NDArray[np.uint8],
) -> Integer:
    """PlanFulfillmentResponse; its bytes, or -1 where a day is too far ahead."""
    c, lines = k.c, k.p.quantity.shape[0]
    at = put_answer(
        c, k.d, k.t, texts, raw, spans, midnights, lines, False, nanoseconds, out, np.int64(0)
    )
    if at < 0:
        return at
    at = put_bytes(out, at, texts, c.always[ENDING], c.always[ENDING + 1])
    return put_number(out, at, 56, revision)
