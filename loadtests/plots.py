"""Charts over time as SVG, drawn by hand: colours come from the page's style, so that it has two.

Every element bears a class and no colour. x is seconds from the run's beginning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 760, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 26, 34
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or area; `style` is its class."""

    name: str
    style: str
    points: Points
    is_area: bool = False
    """Filled, on top of the areas before it."""


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time with a name: a phase."""

    first: float
    last: float
    name: str
    is_marked: bool = False


@dataclass(slots=True)
class Chart:
    """A chart over time."""

    title: str
    unit: str
    series: list[Series]
    bands: list[Band] = field(default_factory=list)
    marks: list[tuple[float, float, str]] = field(default_factory=list)
    """(from, until, what)"""
    seconds: float = 1.0
    is_logarithmic: bool = False
    least: float = 1.0
    """The lowest a logarithmic axis shows, and the lowest top of an even one."""
    limit: float | None = None
    """A bar, drawn as a dashed line."""
    limit_name: str = ""
    width: int = WIDTH
    height: int = HEIGHT

    def body(self) -> str:
        """What stands inside ``<svg>``, for a box of `width` by `height`."""
        stacked = _stacked([series for series in self.series if series.is_area])
        lines = [series for series in self.series if not series.is_area]
        values = [top for _, points in stacked for _, _, top in points]
        values += [value for series in lines for _, value in series.points]
        values += [self.limit] if self.limit is not None else []
        axis = self._axis(max(values, default=self.least))
        parts = self._bands(axis)
        parts += self._marks()
        parts += self._grid(axis)
        for series, spans in stacked:
            parts.append(self._area(series, spans, axis))
        for series in lines:
            parts.append(self._line(series, axis))
        if self.limit is not None:
            y = axis.y(self.limit)
            parts.append(
                f'<line class="limit" x1="{_LEFT}" x2="{self.width - _RIGHT}" '
                f'y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="limit-name" x="{self.width - _RIGHT - 4}" y="{y - 4:.1f}" '
                f'text-anchor="end">{escape(self.limit_name)}</text>'
            )
        parts += self._mark_names()
        return "\n".join(parts)

    def svg(self) -> str:
        """The whole drawing, to stand in a page."""
        told = ", ".join(series.name for series in self.series)
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" class="chart" '
            f'aria-label="{escape(self.title)}: {escape(told)}">\n{self.body()}\n</svg>'
        )

    def x(self, second: float) -> float:
        """Where a moment lies."""
        return _LEFT + (self.width - _LEFT - _RIGHT) * min(max(second / self.seconds, 0.0), 1.0)

    def _axis(self, most: float) -> _Axis:
        top, bottom = float(_TOP), float(self.height - _BOTTOM)
        if self.is_logarithmic:
            highest = 10 ** math.ceil(math.log10(max(most, self.least * 10)))
            return _Axis(self.least, highest, top, bottom, True)
        return _Axis(0.0, round_up(max(most, self.least)), top, bottom, False)

    def _bands(self, axis: _Axis) -> list[str]:
        parts = []
        for number, band in enumerate(self.bands):
            first, last = self.x(band.first), self.x(band.last)
            style = "band marked" if band.is_marked else f"band {'odd' if number % 2 else 'even'}"
            parts.append(
                f'<rect class="{style}" x="{first:.1f}" y="{_TOP}" width="{last - first:.1f}" '
                f'height="{axis.bottom - _TOP:.1f}"/>'
            )
            if last - first > 7 * len(band.name):
                parts.append(
                    f'<text class="band-name" x="{(first + last) / 2:.1f}" y="{_TOP - 8}" '
                    f'text-anchor="middle">{escape(band.name)}</text>'
                )
        return parts

    def _grid(self, axis: _Axis) -> list[str]:
        parts = []
        for value in axis.ticks():
            y = axis.y(value)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{self.width - _RIGHT}" '
                f'y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"{_short(value)}</text>"
            )
        parts.append(f'<text class="unit" x="{_LEFT - 8}" y="{_TOP - 8}" text-anchor="end">'
                     f"{escape(self.unit)}</text>")  # fmt: skip
        step = next(
            (
                each
                for each in (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300)
                if self.seconds / each <= 12
            ),
            600,
        )
        for number in range(int(self.seconds / step) + 1):
            x = self.x(number * step)
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{axis.bottom + 18:.1f}" text-anchor="middle">'
                f"{number * step:g} s</text>"
            )
        return parts

    def _area(self, series: Series, spans: list[tuple[float, float, float]], axis: _Axis) -> str:
        if not spans:
            return ""
        there = [f"{self.x(at):.1f},{axis.y(top):.1f}" for at, _, top in spans]
        back = [f"{self.x(at):.1f},{axis.y(low):.1f}" for at, low, _ in reversed(spans)]
        return f'<polygon class="area {series.style}" points="{" ".join(there + back)}"/>'

    def _line(self, series: Series, axis: _Axis) -> str:
        points = [
            (at, value) for at, value in series.points if not self.is_logarithmic or value > 0
        ]
        if not points:
            return ""
        if len(points) == 1:
            at, value = points[0]
            return (
                f'<circle class="dot {series.style}" cx="{self.x(at):.1f}" '
                f'cy="{axis.y(value):.1f}" r="3"/>'
            )
        drawn = " ".join(f"{self.x(at):.1f},{axis.y(value):.1f}" for at, value in points)
        return f'<polyline class="line {series.style}" points="{drawn}"/>'

    def _marks(self) -> list[str]:
        """What happened, behind everything else."""
        parts = []
        for first, last, _ in self.marks:
            left, right = self.x(first), self.x(last)
            parts.append(
                f'<rect class="mark" x="{left:.1f}" y="{_TOP}" '
                f'width="{max(right - left, 1.5):.1f}" height="{self.height - _BOTTOM - _TOP}"/>'
            )
        return parts

    def _mark_names(self) -> list[str]:
        """Their names, before everything else, on three lines so that neighbours do not meet."""
        parts = []
        for number, (first, _, what) in enumerate(sorted(self.marks)):
            left = self.x(first)
            anchor, x = ("end", left - 4) if left > self.width * 0.75 else ("start", left + 4)
            parts.append(
                f'<text class="mark-name" x="{x:.1f}" y="{_TOP + 14 + 14 * (number % 3)}" '
                f'text-anchor="{anchor}">{escape(what)}</text>'
            )
        return parts


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    top: float
    bottom: float
    is_logarithmic: bool

    def y(self, value: float) -> float:
        if self.is_logarithmic:
            value = min(max(value, self.low), self.high)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = min(value, self.high) / self.high
        return self.bottom - (self.bottom - self.top) * share

    def ticks(self) -> list[float]:
        if not self.is_logarithmic:
            return [self.high * step / 4 for step in range(5)]
        first, last = round(math.log10(self.low)), round(math.log10(self.high))
        return [10.0**power for power in range(first, last + 1)]


def legend(series: Sequence[Series]) -> str:
    """The names of the series with their colours, in HTML."""
    keys = "".join(
        f'<li><span class="key {each.style}{" area" if each.is_area else ""}"></span>'
        f"{escape(each.name)}</li>"
        for each in series
        if any(value for _, value in each.points)
    )
    return f'<ul class="legend">{keys}</ul>'


def _stacked(
    series: Sequence[Series],
) -> list[tuple[Series, list[tuple[float, float, float]]]]:
    """Each series with (x, low, high) of its area on top of those before it."""
    floor: dict[float, float] = {}
    made = []
    for each in series:
        spans = []
        for at, value in each.points:
            low = floor.get(at, 0.0)
            floor[at] = low + value
            spans.append((at, low, low + value))
        made.append((each, spans))
    return made


def round_up(value: float) -> float:
    """The least round number from `value` on whose quarters are round too."""
    unit = 10.0 ** math.floor(math.log10(value) - 1) if value > 0 else 1.0
    while True:
        for step in (1.0, 1.2, 1.6, 2.0, 2.4, 3.0, 4.0, 5.0, 6.0, 8.0):
            if 10 * step * unit >= value:
                return 10 * step * unit
        unit *= 10


def _short(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1_000:,.4g}k"
    return f"{value:,.4g}"
