"""The table and the plot of docs/routing.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from benchmarks.season.policies import Outcome
from benchmarks.season.run import MYOPIC, Mean, Season

_PAGE = Path(__file__).parents[2] / "docs" / "routing.md"
_PLOT = _PAGE.parent / "img" / "routing-season.svg"
_BEGIN = "<!-- season: written by `make sim-routing` -->"
_END = "<!-- season: end -->"

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 820, 250, 40, 96, 26
_COLOURS = ("#1f5c99", "#e08a1e")
_STYLE = (
    "text { font-family: system-ui, sans-serif; font-size: 13px; fill: #1b1f24; }"
    " .title { font-size: 16px; font-weight: 600; }"
    " .small { font-size: 12px; fill: #57606a; }"
)


def table(season: Season) -> list[str]:
    """Markdown: a row for each policy, means with 95 % confidence intervals."""
    minor = season.setting.minor_units

    def mean(policy: str, of: Callable[[Outcome], float], form: str) -> str:
        return Mean.of([of(one) for one in season.outcomes[policy]]).show(form)

    lines = [
        "| policy | cost an order | saving % | gap closed % | split % | on time % | kg CO2e |",
        "|---|---|---|---|---|---|---|",
    ]
    for policy in season.outcomes:
        cells = [
            policy,
            mean(policy, lambda one: one.cost / one.orders / minor, ".2f"),
            "" if policy == MYOPIC else season.saving(policy).show(".2f"),
            "" if policy == MYOPIC or not season.bounds else season.closed(policy).show(".0f"),
            mean(policy, lambda one: 100 * one.split / one.orders, ".1f"),
            mean(policy, lambda one: 100 * (1 - (one.late + one.unrouted) / one.orders), ".1f"),
            mean(policy, lambda one: one.co2e_g / one.orders / 1000, ".2f"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if season.bounds:
        plain = [one.cost for one in season.outcomes[MYOPIC]]
        seen, bound = (
            Mean.of([100 * (1 - cost / least) for cost, least in zip(costs, plain, strict=True)])
            for costs in (season.seen, season.bounds)
        )
        lines.append(f"| clairvoyant's answer | | {seen.show('.2f')} | | | | |")
        lines.append(f"| clairvoyant's bound | | {bound.show('.2f')} | 100 | | | |")
    return lines


def plot(seasons: Sequence[Season]) -> str:
    """SVG: what each policy saves against the myopic optimum, settings side by side."""
    names = [name for name in seasons[0].outcomes if name != MYOPIC]
    savings = {
        (name, place): season.saving(name) for name in names for place, season in enumerate(seasons)
    }
    bounds = [
        100 * (1 - sum(season.bounds) / sum(one.cost for one in season.outcomes[MYOPIC]))
        for season in seasons
    ]
    # Rules of thumb cost so much more that their bars would hide the rest: they are cut.
    least = max(-12.0, min(one.value - one.half for one in savings.values()))
    most = max(*bounds, *(one.value + one.half for one in savings.values()))
    scale = (_WIDTH - _LEFT - _RIGHT) / (most - least)
    zero = _LEFT - least * scale
    height = _TOP + _ROW * len(seasons) * len(names) + 12 * len(names) + 40
    told = "; ".join(
        f"{name}: "
        + ", ".join(
            f"{season.setting.name} {savings[name, place].show('.2f')} %"
            for place, season in enumerate(seasons)
        )
        for name in names
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img">',
        "<title>What routing policies save over a season</title>",
        f"<desc>{escape(told)}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text class="title" x="16" y="28">What a policy saves against each order at its '
        "cheapest, percent</text>",
        '<text class="small" x="16" y="48">mean over horizons with its 95 % interval; the dashed '
        "line is what a clairvoyant could save at most</text>",
    ]
    for place, season in enumerate(seasons):
        x = 16 + 200 * place
        parts.append(f'<rect x="{x}" y="60" width="12" height="12" fill="{_COLOURS[place]}"/>')
        parts.append(f'<text x="{x + 18}" y="71">{escape(season.setting.name)}</text>')
    bottom = height - 34
    for place, bound in enumerate(bounds):
        at = zero + bound * scale
        parts.append(
            f'<line x1="{at:.1f}" y1="{_TOP - 8}" x2="{at:.1f}" y2="{bottom}" '
            f'stroke="{_COLOURS[place]}" stroke-dasharray="4 3"/>'
        )
    y = float(_TOP)
    for name in names:
        middle = y + _ROW * len(seasons) / 2 + 4
        parts.append(
            f'<text x="{_LEFT - 12}" y="{middle:.0f}" text-anchor="end">{escape(name)}</text>'
        )
        for place in range(len(seasons)):
            parts += _bar(savings[name, place], y, zero, scale, least, _COLOURS[place])
            y += _ROW
        y += 12
    parts.append(
        f'<line x1="{zero:.1f}" y1="{_TOP - 8}" x2="{zero:.1f}" y2="{bottom}" stroke="#57606a"/>'
    )
    for percent in range(int(least), int(most) + 1, 2):
        parts.append(
            f'<text class="small" x="{zero + percent * scale:.1f}" y="{height - 14}" '
            f'text-anchor="middle">{percent}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _bar(saving: Mean, y: float, zero: float, scale: float, least: float, colour: str) -> list[str]:
    is_cut = saving.value - saving.half < least
    end = zero + max(least, saving.value) * scale
    parts = [
        f'<rect x="{min(zero, end):.1f}" y="{y:.1f}" width="{abs(end - zero):.1f}" '
        f'height="{_ROW - 6}" fill="{colour}"/>'
    ]
    middle = y + (_ROW - 6) / 2
    if is_cut:
        parts.append(
            f'<text class="small" x="{end + 6:.1f}" y="{middle + 4:.1f}" '
            f'style="fill:#ffffff">{saving.show()}</text>'
        )
        return parts
    low, high = (zero + (saving.value + sign * saving.half) * scale for sign in (-1, 1))
    parts.append(
        f'<line x1="{low:.1f}" y1="{middle:.1f}" x2="{high:.1f}" y2="{middle:.1f}" '
        'stroke="#1b1f24" stroke-width="2"/>'
    )
    return parts


def write(seasons: Sequence[Season]) -> None:
    """The part of the page between its markers, and the plot beside it."""
    tight = [season for season in seasons if not season.setting.is_plenty]
    lines = [_BEGIN, "", f"![What each policy saves](img/{_PLOT.name})", ""]
    for season in seasons:
        count = len(season.outcomes[MYOPIC])
        lines += [
            f"**{season.setting.name}**: {count} horizons of {season.setting.orders:,} orders, "
            f"stock for {season.setting.stock} times what is expected.",
            "",
            *table(season),
            "",
        ]
    text = _PAGE.read_text()
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    _PAGE.write_text(before + "\n".join(lines) + _END + after)
    _PLOT.parent.mkdir(exist_ok=True)
    _PLOT.write_text(plot(tight))
