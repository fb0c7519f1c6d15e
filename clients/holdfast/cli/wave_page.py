"""A wave as one page: its numbers, the map, where the cost comes from, which nodes ship it.

The page is whole by itself: styles and drawings are in it, and it loads nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from html import escape

from holdfast.cli.money import money, share
from holdfast.cli.wave_map import HEIGHT, SERVICES_TOLD, WIDTH, WaveMap, draw_map
from holdfast.values.network import Place
from holdfast.values.routing import CostTerms, PlanStatus, WavePlans, WaveSource, WaveSummary

_BAR_WIDTH, _BAR_HEIGHT = 522, 300
_LEFT, _RIGHT, _TOP, _FOOT = 12, 12, 26, 44
_NODES_SHOWN = 12
_TERM_NAMES = {
    "parcels_minor_units": "parcels",
    "handling_minor_units": "handling",
    "split_minor_units": "splits",
    "service_minor_units": "service",
    "co2e_minor_units": "CO2e",
    "lateness_minor_units": "lateness",
    "opportunity_minor_units": "opportunity",
}
_SOURCES = {
    WaveSource.UNSPECIFIED: "nothing to plan",
    WaveSource.SOLVER: "planned together",
    WaveSource.INTERRUPTED: "planned together, interrupted",
    WaveSource.SEQUENTIAL: "one after another",
}

_STYLE = """
:root { color-scheme: light dark; --back: #fcfcfb; --card: #ffffff; --ink: #1b1d21; --soft: #6a7079;
  --line: #e3e5e8; --ground: #d5d9de; --node: #1b1d21; --good: #12805c; --split: #b3246f;
  --bad: #c62f2f; --s0: #2a78b8; --s1: #d97a1f; --s2: #8b5fc0; --s3: #2aa5a5; --s4: #8a7a2a;
  --s5: #9c5b3b; --rest: #8a9099; --least: #3b9c5a; }
@media (prefers-color-scheme: dark) { :root { --back: #15171a; --card: #1d2024; --ink: #eceef1;
  --soft: #9aa1ab; --line: #30343a; --ground: #3a4047; --node: #f3f4f6; --good: #4cc79b;
  --split: #f26bb0; --bad: #f06a6a; --s0: #5aa7e6; --s1: #f09a4a; --s2: #b08ce6; --s3: #5fcaca;
  --s4: #c9b75a; --s5: #d39a78; --rest: #8a9099; --least: #62c383; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1128px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 22px; margin: 0 0 2px; } h2 { font-size: 15px; margin: 0 0 8px; }
p { margin: 0 0 18px; color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px;
  margin: 0 0 16px; }
.tile, section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tile { padding: 10px 14px; } .tile b { display: block; font-size: 21px; font-weight: 650; }
.tile span { color: var(--soft); font-size: 13px; }
section { padding: 14px 16px; margin: 0 0 16px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 16px; }
svg { display: block; width: 100%; height: auto; }
text { fill: var(--ink); font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; }
text.small, text.soft { fill: var(--soft); } text.small { font-size: 11px; }
text.value { font-weight: 600; }
text.name { font-size: 11.5px; font-weight: 600; paint-order: stroke; stroke: var(--card);
  stroke-width: 3.5px; stroke-linejoin: round; }
.ground { stroke: var(--ground); stroke-width: 2.6; stroke-linecap: round; fill: none; }
.lane { fill: none; stroke-linecap: round; }
.s0 { stroke: var(--s0); } .s1 { stroke: var(--s1); } .s2 { stroke: var(--s2); }
.s3 { stroke: var(--s3); } .s4 { stroke: var(--s4); } .s5 { stroke: var(--s5); }
.rest { stroke: var(--rest); }
.order { stroke: var(--card); stroke-width: 0.8; }
.order.planned { fill: var(--good); } .order.split { fill: var(--split); }
.without { stroke: var(--bad); stroke-width: 2.4; fill: none; stroke-linecap: round; }
.node { fill: var(--node); stroke: var(--card); stroke-width: 1.4; }
.node.idle { fill: var(--soft); opacity: 0.55; }
.ruler, .axis { stroke: var(--soft); fill: none; stroke-width: 1; }
.link { stroke: var(--soft); stroke-dasharray: 3 3; stroke-width: 1; }
.bar { fill: var(--s0); } .bar.sum { fill: var(--node); } .bar.other { fill: var(--rest); }
.bar.least { fill: var(--least); }
.key { display: flex; flex-wrap: wrap; gap: 6px 18px; margin-top: 10px; font-size: 13px;
  color: var(--soft); }
.key i { display: inline-block; width: 18px; height: 0; border-top: 3px solid; margin-right: 6px;
  vertical-align: 4px; }
.key u { display: inline-block; width: 10px; height: 10px; margin-right: 6px; }
"""


def wave_page(
    planned: WavePlans,
    destinations: Sequence[Place | None],
    places: Mapping[str, Place | None],
) -> str:
    """The page. `destinations`: of the new orders, in their order; `places`: of the nodes."""
    told = WaveMap.of(planned.results, destinations, places)
    summary = planned.summary
    title = f"A wave of {summary.orders:,} orders"
    body = [
        f"<h1>{title}</h1><p>{escape(_subtitle(summary))}</p>",
        _tiles(summary),
        f"<section><h2>From where to where</h2>{_svg(WIDTH, HEIGHT, draw_map(told), 'Map')}",
        f"{_key(told)}</section>",
        '<div class="pair">',
        f"<section><h2>Where the cost comes from</h2>{_waterfall(summary)}</section>",
        f"<section><h2>Against doing it otherwise</h2>{_against(summary)}</section>",
        "</div>",
        f"<section><h2>Who ships it</h2>{_by_node(planned)}</section>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _subtitle(summary: WaveSummary) -> str:
    if summary.status is PlanStatus.OPTIMAL:
        proof = "proven: none is cheaper"
    elif summary.bound_minor_units:
        proof = f"at most {share(summary.gap_ppm)} above the cheapest"
    else:
        proof = "no bound known"
    return (
        f"{_SOURCES[summary.source]} in {summary.elapsed_ms / 1000:.1f} s; {proof}; "
        f"seed {summary.seed}, solver {summary.solver_version}, network {summary.network_version}, "
        f"revision {summary.planned_revision}"
    )


def _tiles(summary: WaveSummary) -> str:
    currency = summary.currency_code
    average = summary.cost_minor_units // max(1, summary.orders_planned)
    tiles = [
        (f"{summary.orders_planned:,} of {summary.orders:,}", "orders with a plan"),
        (money(summary.cost_minor_units, currency), "cost of all plans"),
        (money(average, currency), "an order"),
        (f"{summary.shipments / max(1, summary.orders_planned):.2f}", "shipments an order"),
    ]
    if summary.orders_held:
        tiles.append((f"{summary.orders_held:,}", f"held; {summary.conflicts:,} conflicts"))
    if summary.orders_moved:
        tiles.append((f"{summary.orders_moved:,}", "promised orders moved"))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
            for value, name in tiles
        )
        + "</div>"
    )


def _svg(width: int, height: int, inside: str, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img"><title>{escape(title)}</title>'
        f"{inside}</svg>"
    )


def _key(told: WaveMap) -> str:
    services = told.services()
    items = [
        f'<span><i style="border-color: var(--s{rank})"></i>{escape(name)}</span>'
        for rank, name in enumerate(services[:SERVICES_TOLD])
    ]
    if len(services) > SERVICES_TOLD:
        items.append('<span><i style="border-color: var(--rest)"></i>other services</span>')
    round_ = "border-radius: 50%;"
    for style, colour, text, count in (
        ("", "node", "node, by units shipped", len(told.nodes)),
        (round_, "good", "order in one shipment", len(told.planned)),
        (round_, "split", "order in several", len(told.split)),
        ("", "bad", "order without a plan", len(told.without)),
    ):
        if count:
            items.append(
                f'<span><u style="background: var(--{colour}); {style}"></u>{text} '
                f"({count:,})</span>"
            )
    if told.unplaced:
        items.append(f"<span>{told.unplaced:,} orders are not on the map</span>")
    return f'<div class="key">{"".join(items)}</div>'


def _waterfall(summary: WaveSummary) -> str:
    """Terms of the cost, each on top of those before it, and their sum."""
    terms = summary.cost_terms
    parts = [
        (_TERM_NAMES[item.name], int(getattr(terms, item.name)))
        for item in fields(CostTerms)
        if getattr(terms, item.name)
    ]
    parts.sort(key=lambda part: -part[1])
    total = sum(value for _, value in parts)
    if not total:
        return "<p>Nothing was planned, or it costs nothing.</p>"
    bottom = _BAR_HEIGHT - _FOOT
    step = (_BAR_WIDTH - _LEFT - _RIGHT) / (len(parts) + 1)
    wide = min(64.0, step * 0.66)
    scale = (bottom - _TOP) / total
    drawn = [f'<path class="axis" d="M{_LEFT} {bottom}H{_BAR_WIDTH - _RIGHT}"/>']
    so_far = 0
    for place, (name, value) in enumerate([*parts, ("all", total)]):
        is_sum = place == len(parts)
        base = 0 if is_sum else so_far
        x = _LEFT + step * (place + 0.5)
        top = bottom - (base + value) * scale
        height = max(1.0, value * scale)
        drawn.append(
            f'<rect class="bar{" sum" if is_sum else ""}" x="{x - wide / 2:.1f}" y="{top:.1f}" '
            f'width="{wide:.1f}" height="{height:.1f}" rx="2"/>'
            f'<text class="value" x="{x:.1f}" y="{top - 6:.1f}" text-anchor="middle">'
            f"{escape(_short(value))}</text>"
            f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{escape(name)}</text>'
            f'<text class="small" x="{x:.1f}" y="{bottom + 32}" text-anchor="middle">'
            f"{100 * value / total:.1f} %</text>"
        )
        so_far += value
        if not is_sum:
            y = bottom - so_far * scale
            drawn.append(
                f'<path class="link" d="M{x + wide / 2:.1f} {y:.1f}H{x + step - wide / 2:.1f}"/>'
            )
    return _svg(_BAR_WIDTH, _BAR_HEIGHT, "".join(drawn), "Cost by term, as a waterfall")


def _against(summary: WaveSummary) -> str:
    """One after another, this wave, and the least there can be."""
    rows = [
        ("one after another", summary.sequential_cost_minor_units, "other"),
        ("this wave", summary.wave_cost_minor_units, "sum"),
        ("no answer is below", summary.bound_minor_units, "least"),
    ]
    rows = [row for row in rows if row[1]]
    if not rows:
        return "<p>Nothing was planned.</p>"
    most = max(value for _, value, _ in rows)
    label = 128
    room = _BAR_WIDTH - label - 116
    drawn = []
    for place, (name, value, style) in enumerate(rows):
        y = _TOP + 18 + place * 62
        wide = max(1.0, room * value / most)
        against = value - summary.wave_cost_minor_units
        note = (
            f"{100 * against / max(1, summary.wave_cost_minor_units):+.2f} %"
            if style != "sum"
            else ""
        )
        drawn.append(
            f'<text x="{label - 10}" y="{y + 20}" text-anchor="end">{name}</text>'
            f'<rect class="bar {style}" x="{label}" y="{y}" width="{wide:.1f}" height="30" rx="2"/>'
            f'<text class="value" x="{label + wide + 8:.1f}" y="{y + 14}">{_short(value)}</text>'
            f'<text class="small" x="{label + wide + 8:.1f}" y="{y + 28}">{note}</text>'
        )
    if summary.left_cost_minor_units:
        drawn.append(
            f'<text class="small" x="{label}" y="{_BAR_HEIGHT - 26}">with '
            f"{_short(summary.left_cost_minor_units)} for orders that the wave leaves</text>"
        )
    return _svg(_BAR_WIDTH, _BAR_HEIGHT, "".join(drawn), "The wave's cost and others")


def _by_node(planned: WavePlans) -> str:
    """Cost and shipments of the busiest nodes."""
    cost: Counter[str] = Counter()
    shipments: Counter[str] = Counter()
    for result in planned.results:
        for one in result.plan.shipments if result.plan else ():
            cost[one.node] += one.cost_minor_units
            shipments[one.node] += 1
    if not shipments:
        return "<p>Nothing is shipped.</p>"
    rows = shipments.most_common(_NODES_SHOWN)
    rest = len(shipments) - len(rows)
    label, row_height = 150, 24
    room = WIDTH - label - 230
    most = rows[0][1]
    drawn = []
    for place, (name, many) in enumerate(rows):
        y = 6 + place * row_height
        wide = max(1.0, room * many / most)
        shown = name if len(name) <= 22 else f"{name[:21]}…"
        drawn.append(
            f'<text x="{label - 10}" y="{y + 13}" text-anchor="end">{escape(shown)}</text>'
            f'<rect class="bar" x="{label}" y="{y}" width="{wide:.1f}" height="16" rx="2"/>'
            f'<text x="{label + wide + 8:.1f}" y="{y + 13}">'
            f'<tspan class="value">{many:,}</tspan> shipments, '
            f"{_short(cost[name])}</text>"
        )
    height = 6 + len(rows) * row_height + (22 if rest > 0 else 4)
    if rest > 0:
        drawn.append(
            f'<text class="soft" x="{label}" y="{height - 6}">and {rest:,} more nodes</text>'
        )
    return _svg(WIDTH, height, "".join(drawn), "Shipments by node")


def _short(minor_units: int) -> str:
    """Money without its currency, cents left out where it is much."""
    if abs(minor_units) >= 1_000_000:
        return f"{minor_units / 100:,.0f}"
    return money(minor_units, "").strip()
