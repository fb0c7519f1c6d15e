"""Draws the figure: bars of orders a second, uniform and hot, with the spread of the rounds."""

from __future__ import annotations

from html import escape

from benchmarks.peers.results import HOT, UNIFORM, Results

_WIDTH = 800
_LEFT = 300
_RIGHT = 90
_TOP = 78
_BAR = 17
_GROUP = 58
_COLOURS = {UNIFORM: "#1f5c99", HOT: "#e08a1e"}
_STYLE = (
    "text { font-family: system-ui, sans-serif; font-size: 13px; fill: #1b1f24; }"
    " .title { font-size: 16px; font-weight: 600; }"
    " .small { font-size: 12px; fill: #57606a; }"
)


def drawing(results: Results, subtitle: str) -> str:
    """The figure as SVG. Contestants from the top in the order they ran in."""
    names = list(results.titles)
    spreads = {
        (name, workload): results.orders_per_second(name, workload)
        for name in names
        for workload in _COLOURS
    }
    most = _round_up(max(spread.greatest for spread in spreads.values()))
    height = _TOP + _GROUP * len(names) + 46
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    told = "; ".join(
        f"{results.titles[name]}: "
        + ", ".join(f"{workload} {spreads[name, workload].median:,.0f}" for workload in _COLOURS)
        for name in names
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img">',
        "<title>Orders of three lines a second</title>",
        f"<desc>{escape(told)}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text class="title" x="16" y="26">Orders of three lines a second, each durable</text>',
        f'<text class="small" x="16" y="46">{escape(subtitle)}</text>',
    ]
    at = 16
    for workload, colour in _COLOURS.items():
        parts.append(f'<rect x="{at}" y="56" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text class="small" x="{at + 18}" y="66">{escape(workload)}</text>')
        at += 40 + 8 * len(workload)
    bottom = _TOP + _GROUP * len(names)
    for step in range(5):
        value = most * step / 4
        x = _LEFT + value * scale
        parts.append(
            f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#d0d7de"/>'
        )
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">'
            f"{value:,.0f}</text>"
        )
    for number, name in enumerate(names):
        top = _TOP + _GROUP * number + (_GROUP - 2 * _BAR - 3) / 2
        parts.append(
            f'<text x="{_LEFT - 12}" y="{top + _BAR + 6:.1f}" text-anchor="end">'
            f"{escape(results.titles[name])}</text>"
        )
        for row, (workload, colour) in enumerate(_COLOURS.items()):
            spread = spreads[name, workload]
            y = top + row * (_BAR + 3)
            middle = y + _BAR / 2
            low, high = _LEFT + spread.least * scale, _LEFT + spread.greatest * scale
            parts += [
                f'<rect x="{_LEFT}" y="{y:.1f}" width="{spread.median * scale:.1f}" '
                f'height="{_BAR}" fill="{colour}"/>',
                f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 4:.1f}v8'
                f'M{high:.1f} {middle - 4:.1f}v8" stroke="#1b1f24" stroke-width="1.3"/>',
                f'<text class="small" x="{high + 8:.1f}" y="{middle + 4:.1f}">'
                f"{spread.median:,.0f}</text>",
            ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _round_up(value: float) -> float:
    """The least round number from `value` on whose quarters are round too."""
    unit = 1.0
    while True:
        for step in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0):
            if 4 * step * unit >= value:
                return 4 * step * unit
        unit *= 10
