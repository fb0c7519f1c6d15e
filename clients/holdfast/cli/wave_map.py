"""The map of a wave: nodes, the orders they ship to, and which carrier service goes between.

Drawn as SVG by hand: every element bears a class and no colour, the page's style has the colours.
North is up; a degree of longitude is shortened by the cosine of the middle latitude, so that
distances within a country look right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from typing import Any

from holdfast.values.network import Place
from holdfast.values.routing import WaveOrderResult

WIDTH, HEIGHT = 1_080, 560
_MARGIN = 34
SERVICES_TOLD = 6
"""Carrier services with a colour of their own; the rest shares one."""
_LINES_EXACT = 1_500
_CELL_DEGREES = 0.5
_LABELS_MAX = 40
_GROUND_POINTS = 2_600
Point = tuple[float, float]
"""(latitude, longitude) in degrees."""


def point_of(place: Place | None) -> Point | None:
    """Where a place is: as it says, else the centroid of its US ZIP code; None: not known."""
    if place is None:
        return None
    if place.latitude is not None and place.longitude is not None:
        return place.latitude, place.longitude
    if place.country_code not in ("", "US") or not place.postal_code:
        return None
    return _centroids().get(place.postal_code[:5])


@cache
def _centroids() -> dict[str, Point]:
    """By ZIP code; none where the package with them is not installed."""
    try:
        import zipcodes
    except ImportError:
        return {}
    every: list[dict[str, Any]] = zipcodes.list_all()
    found = {one["zip_code"]: (float(one["lat"]), float(one["long"])) for one in every}
    # Some have no centroid, and say zero for it.
    return {code: at for code, at in found.items() if any(at)}


@dataclass(slots=True)
class WaveMap:
    """What is drawn."""

    nodes: dict[str, Point]
    units: Counter[str] = field(default_factory=Counter)
    """Units that each node ships."""
    lanes: Counter[tuple[str, Point, str]] = field(default_factory=Counter)
    """Shipments by node, destination and service; "" for pickup."""
    planned: list[Point] = field(default_factory=list)
    split: list[Point] = field(default_factory=list)
    without: list[Point] = field(default_factory=list)
    unplaced: int = 0
    """Orders whose destination is not known here."""

    @staticmethod
    def of(
        results: Iterable[WaveOrderResult],
        destinations: Sequence[Place | None],
        places: Mapping[str, Place | None],
    ) -> WaveMap:
        """`destinations`: of the new orders, in their order. `places`: of the nodes."""
        points = {name: point_of(place) for name, place in places.items()}
        made = WaveMap({name: point for name, point in points.items() if point is not None})
        known: dict[tuple[object, ...], Point | None] = {}
        for result in results:
            there = None
            if result.order < len(destinations) and (place := destinations[result.order]):
                key = (place.country_code, place.postal_code, place.latitude, place.longitude)
                if key not in known:
                    known[key] = point_of(place)
                there = known[key]
            made._add(result, there)
        return made

    def _add(self, result: WaveOrderResult, there: Point | None) -> None:
        plan = result.plan
        for one in plan.shipments if plan else ():
            self.units[one.node] += sum(line.quantity for line in one.lines)
            if there is not None and one.node in self.nodes and one.carrier_service:
                self.lanes[one.node, there, one.carrier_service] += 1
        if there is None:
            self.unplaced += not result.kept
        elif plan is None:
            self.without.append(there)
        else:
            (self.split if len(plan.shipments) > 1 else self.planned).append(there)

    def services(self) -> list[str]:
        """Carrier services, the busiest first."""
        counts: Counter[str] = Counter()
        for (_, _, service), shipments in self.lanes.items():
            counts[service] += shipments
        return [name for name, _ in counts.most_common()]


class _Projection:
    """From degrees to the picture."""

    def __init__(self, points: Sequence[Point]) -> None:
        south, north = _span([at[0] for at in points])
        west, east = _span([at[1] for at in points])
        self._shorter = max(0.2, math.cos(math.radians((south + north) / 2)))
        wide, high = (east - west) * self._shorter, north - south
        scale = min((WIDTH - 2 * _MARGIN) / wide, (HEIGHT - 2 * _MARGIN) / high)
        self._scale = scale
        self._left = (WIDTH - wide * scale) / 2 - west * self._shorter * scale
        self._top = (HEIGHT + high * scale) / 2 + south * scale
        self.km_per_pixel = 111.2 / scale

    def xy(self, at: Point) -> tuple[float, float]:
        x = self._left + at[1] * self._shorter * self._scale
        return round(x, 1), round(self._top - at[0] * self._scale, 1)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = max(1.0, 0.06 * (high - low))
    return low - room, high + room


def draw_map(told: WaveMap) -> str:
    """The inside of an ``<svg>`` of WIDTH by HEIGHT."""
    busy = [name for name in told.nodes if told.units[name]] or list(told.nodes)
    points = [told.nodes[name] for name in busy]
    points += [*told.planned, *told.split, *told.without]
    if not points:
        middle = f'x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle"'
        return f"<text {middle}>No place of this wave is known</text>"
    projection = _Projection(points)
    parts = [_ground(projection), _lanes(told, projection)]
    for style, places in (("planned", told.planned), ("split", told.split)):
        parts.append(_dots(style, places, projection))
    parts.append(_crosses(told.without, projection))
    parts.append(_nodes(told, projection))
    parts.append(_ruler(projection))
    return "".join(parts)


def _ground(projection: _Projection) -> str:
    """Where people live: ZIP codes as a pale pattern, for who looks at the map to know where."""
    every = list(_centroids().values())
    path = []
    for at in every[:: max(1, len(every) // _GROUND_POINTS)]:
        x, y = projection.xy(at)
        if 0 < x < WIDTH and 0 < y < HEIGHT:
            path.append(f"M{x:g} {y:g}h0")
    return f'<path class="ground" d="{"".join(path)}"/>'


def _lanes(told: WaveMap, projection: _Projection) -> str:
    lanes: Counter[tuple[str, Point, str]] = told.lanes
    if len(lanes) > _LINES_EXACT:
        lanes = Counter()
        for (node, at, service), shipments in told.lanes.items():
            cell = tuple(round(x / _CELL_DEGREES) * _CELL_DEGREES for x in at)
            lanes[node, (cell[0], cell[1]), service] += shipments
    style_of = {name: f"s{rank}" for rank, name in enumerate(told.services()[:SERVICES_TOLD])}
    most = max(lanes.values(), default=1)
    faint = 0.75 if len(lanes) < 150 else 0.5 if len(lanes) < 800 else 0.28
    parts = []
    for (node, at, service), shipments in sorted(lanes.items()):
        x, y = projection.xy(told.nodes[node])
        to_x, to_y = projection.xy(at)
        # A slight bow keeps lanes of two nodes to one place apart.
        bend_x = (x + to_x) / 2 + (to_y - y) * 0.08
        bend_y = (y + to_y) / 2 - (to_x - x) * 0.08
        wide = 0.9 + 3.1 * math.sqrt((shipments - 1) / most) if most > 1 else 1.2
        parts.append(
            f'<path class="lane {style_of.get(service, "rest")}" stroke-width="{wide:.1f}" '
            f'd="M{x:g} {y:g}Q{bend_x:.1f} {bend_y:.1f} {to_x:g} {to_y:g}"/>'
        )
    return f'<g opacity="{faint}">{"".join(parts)}</g>'


def _dots(style: str, places: Sequence[Point], projection: _Projection) -> str:
    counts = Counter(projection.xy(at) for at in places)
    least = 2.4 if len(counts) < 600 else 1.7
    return "".join(
        f'<circle class="order {style}" cx="{x:g}" cy="{y:g}" '
        f'r="{least + math.sqrt(many - 1):.1f}"/>'
        for (x, y), many in sorted(counts.items())
    )


def _crosses(places: Sequence[Point], projection: _Projection) -> str:
    marks = sorted({projection.xy(at) for at in places})
    path = "".join(f"M{x - 4:g} {y - 4:g}l8 8m0 -8l-8 8" for x, y in marks)
    return f'<path class="without" d="{path}"/>' if path else ""


@dataclass(frozen=True, slots=True)
class _Box:
    """Room that is taken."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        apart = self.right < other.left or other.right < self.left
        return not (apart or self.bottom < other.top or other.bottom < self.top)

    @property
    def is_inside(self) -> bool:
        """Whether it is on the picture."""
        return self.left >= 0 and self.right <= WIDTH and self.top >= 0 and self.bottom <= HEIGHT


def _nodes(told: WaveMap, projection: _Projection) -> str:
    """Squares by units, the largest first, so that small ones stay visible; names where there is
    room, those of the busiest nodes first."""
    most = max(told.units.values(), default=1) or 1
    squares: dict[str, _Box] = {}
    for name, at in sorted(told.nodes.items(), key=lambda one: (-told.units[one[0]], one[0])):
        x, y = projection.xy(at)
        units = told.units[name]
        half = 3.5 + 8.5 * math.sqrt(units / most) if units else 3.0
        box = _Box(x - half, y - half, x + half, y + half)
        if box.is_inside:
            squares[name] = box
    parts = []
    for name, box in squares.items():
        units = told.units[name]
        parts.append(
            f'<rect class="{"node" if units else "node idle"}" x="{box.left:.1f}" '
            f'y="{box.top:.1f}" width="{box.right - box.left:.1f}" '
            f'height="{box.bottom - box.top:.1f}" rx="2.5">'
            f"<title>{escape(name)}: {units:,} units</title></rect>"
        )
    taken = list(squares.values())
    for name in [name for name in squares if told.units[name]][:_LABELS_MAX]:
        for x, y, anchor, room in _label_places(name, squares[name]):
            if room.is_inside and not any(
                room.meets(other) for other in taken if other is not squares[name]
            ):
                taken.append(room)
                parts.append(
                    f'<text class="name" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
                    f"{escape(name)}</text>"
                )
                break
    return "".join(parts)


def _label_places(name: str, box: _Box) -> list[tuple[float, float, str, _Box]]:
    """Where a name may stand (x, y, anchor, the room it takes): right, left, below, above."""
    wide, high = 6.6 * len(name), 11.0
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    right, left = box.right + 4, box.left - 4
    middle = (x - wide / 2, x + wide / 2)
    return [
        (right, y + 4, "start", _Box(right, y - high / 2, right + wide, y + high / 2)),
        (left, y + 4, "end", _Box(left - wide, y - high / 2, left, y + high / 2)),
        (x, box.bottom + 12, "middle", _Box(middle[0], box.bottom, middle[1], box.bottom + high)),
        (x, box.top - 4, "middle", _Box(middle[0], box.top - 4 - high, middle[1], box.top)),
    ]


def _ruler(projection: _Projection) -> str:
    wanted = 120 * projection.km_per_pixel
    power = 10 ** math.floor(math.log10(wanted))
    km = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    wide = km / projection.km_per_pixel
    x, y = _MARGIN, HEIGHT - 18
    return (
        f'<path class="ruler" d="M{x} {y - 5}v5h{wide:.1f}v-5"/>'
        f'<text class="small" x="{x + wide + 6:.1f}" y="{y}">{km:,.0f} km</text>'
    )
