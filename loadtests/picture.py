"""The picture of a run for a page of Markdown: offered against served, and latency, in one SVG."""

from __future__ import annotations

from html import escape

from loadtests.charts import latency, throughput
from loadtests.plots import HEIGHT, WIDTH, Series
from loadtests.result import Result

_HEAD = 64
_GAP = 46
_COLOURS = {
    "served": "#2b7bba",
    "declined": "#8ec1e6",
    "refused": "#e39a1f",
    "held_back": "#c3c9d0",
    "late": "#b565a7",
    "failed": "#c8382e",
    "offered": "#1b1f24",
    "hold": "#2b7bba",
    "hold.p50": "#8ec1e6",
    "confirm": "#e39a1f",
    "browse": "#0f9d8a",
    "track": "#8a5cc9",
    "cancel": "#b565a7",
    "extend": "#c06a2d",
}
_STYLE = (
    "text { font: 11px system-ui, sans-serif; fill: #57606a; }"
    " .title { font-size: 16px; font-weight: 600; fill: #1b1f24; }"
    " .caption { font-size: 13px; font-weight: 600; fill: #1b1f24; }"
    " .band { fill: none; } .band.odd { fill: #f3f5f7; } .band.marked { fill: #fdf1dd; }"
    " .grid { stroke: #dfe3e8; } .line { fill: none; stroke: currentColor; stroke-width: 2; }"
    " .area { fill: currentColor; } .dot { fill: currentColor; }"
    " .limit { stroke: #57606a; stroke-dasharray: 5 4; } .mark { fill: #8a5cc9; opacity: 0.16; }"
    + "".join(f" .{name} {{ color: {colour}; }}" for name, colour in _COLOURS.items())
)


def picture(result: Result) -> str:
    """The whole file."""
    charts = [throughput(result), latency(result)]
    height = _HEAD + sum(chart.height + _GAP for chart in charts)
    measured = result.measured
    told = [f"{result.scenario.title} on {result.machine}."]
    told += [f"{phase.name}: {phase.seconds:g} s" for phase in result.scenario.phases]
    told += [f"{name} {value:g}" for name, value in measured.items() if value is not None]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(result.scenario.title)}: offered, served, refused, and latency</title>",
        f"<desc>{escape('; '.join(told))}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text class="title" x="16" y="28">{escape(result.scenario.title)}</text>',
        f'<text x="16" y="48">{escape(_subtitle(result))}</text>',
    ]
    top = _HEAD
    for chart in charts:
        parts.append(f'<text class="caption" x="16" y="{top + 14}">{escape(chart.title)}</text>')
        parts.append(_keys(chart.series, top + 32))
        parts.append(f'<g transform="translate(0 {top + 40})">{chart.body()}</g>')
        top += HEIGHT + _GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


def _subtitle(result: Result) -> str:
    callers = "our client" if result.scenario.callers.client == "holdfast" else "foreign clients"
    return f"{callers}, open loop; {result.machine}"


def _keys(series: list[Series], y: int) -> str:
    parts = []
    x = 16
    for each in series:
        if not any(value for _, value in each.points):
            continue
        parts.append(
            f'<rect class="area {each.style}" x="{x}" y="{y - 9}" width="12" height="9"/>'
            f'<text x="{x + 17}" y="{y}">{escape(each.name)}</text>'
        )
        x += 34 + int(6.1 * len(each.name))
    return "".join(parts)
