"""What the demo says in the end: numbers it measured, and what they rest on."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a demo; the first ten fields are its contract with scripts."""

    orders: int
    confirmed: int
    refused: int
    expired: int
    oversold_units: int
    lost_acknowledgements: int
    replay_hash_equal: bool
    orders_per_second: float
    p50_ms: float
    p99_ms: float

    calls: int
    calls_per_second: float
    max_ms: float
    concurrency: int
    cancelled: int
    carts_asked: int
    zip_codes_unknown: int
    carts_planned: int
    carts_promised: int
    shipments_promised: int
    went_on_without_short_lines: int
    units_confirmed: int
    refusals: int
    outage_s: float
    calls_repeated: int
    positions_counted: int
    corrections: int
    units_netted: int
    shortfall_found: int
    acknowledgements: int
    reservations_checked: int
    positions_checked: int
    balances_wrong: int
    answers_repeated: int
    answers_changed: int
    not_expired: int
    oversold_units_by_server: int
    verified: bool
    state_hash: str
    revision: int
    records_replayed: int
    journal: str
    scale: float
    season_days: float
    orders_total: int
    orders_planned: int
    lines: int
    lines_skipped: int
    stock_rows: int
    load_rows_per_second: float
    generate_s: float
    load_s: float
    replay_s: float
    total_s: float
    differences: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether everything that must hold held."""
        faults = (
            self.oversold_units,
            self.oversold_units_by_server,
            self.lost_acknowledgements,
            self.balances_wrong,
            self.answers_changed,
            self.not_expired,
        )
        return not any(faults) and self.replay_hash_equal and self.verified

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self) | {"sound": self.sound}


def text_of(report: Report) -> str:
    """The report for people."""
    cut_short = ""
    if report.orders < report.orders_planned:
        cut_short = f" (time was up before the rest of {report.orders_planned:,})"
    lines = [
        "",
        "TPC-DS retail data, scale "
        f"{report.scale:g}: the last {report.season_days:.0f} days' orders of "
        f"{report.orders_total:,}, with {report.lines:,} lines; "
        f"{report.lines_skipped:,} lines without warehouse or quantity left out",
        f"{report.stock_rows:,} stock counts loaded at {report.load_rows_per_second:,.0f} rows/s",
        f"{report.carts_asked:,} carts asked how they would be delivered: "
        f"{report.zip_codes_unknown:,} to ZIP codes that do not exist, {report.carts_planned:,} "
        f"planned, {report.carts_promised:,} promised in {report.shipments_promised:,} shipments "
        "and left to expire",
        "",
        f"  orders       {report.orders:>10,}{cut_short}",
        f"  confirmed    {report.confirmed:>10,}  {report.units_confirmed:,} units; "
        f"{report.went_on_without_short_lines:,} went on without the lines that were short, "
        f"{report.cancelled:,} cancelled later",
        f"  refused      {report.refused:>10,}  for lack of stock",
        f"  expired      {report.expired:>10,}  abandoned carts, let go in time",
        "",
        f"  throughput   {report.orders_per_second:>10,.0f}  orders/s: "
        f"{report.calls_per_second:,.0f} calls/s, {report.concurrency} at once, client and server "
        "on one machine",
        f"  latency      {report.p50_ms:>10.1f}  ms p50, {report.p99_ms:.1f} ms p99, "
        f"{report.max_ms:,.0f} ms longest, over all {report.calls:,} calls, the outage included",
        "",
        f"  kill -9      {report.outage_s:>10.1f}  s until it served again; "
        f"{report.calls_repeated:,} times a call was sent again under its request_id",
        f"  stock count  {report.positions_counted:>10,}  positions of a warehouse while it sold: "
        f"{report.corrections:,} corrected, {report.units_netted:+,} units netted that moved "
        f"meanwhile, {report.shortfall_found:,} promised units found missing",
        "",
        "Verified:",
        f"  oversold units          {report.oversold_units:>8,}  by the shop's own books "
        f"({report.oversold_units_by_server:,} by the server's)",
        f"  lost acknowledgements   {report.lost_acknowledgements:>8,}  of "
        f"{report.acknowledgements:,}, in {report.reservations_checked:,} reservations",
        f"  wrong balances          {report.balances_wrong:>8,}  of "
        f"{report.positions_checked:,} positions",
        f"  changed answers         {report.answers_changed:>8,}  of {report.answers_repeated:,} "
        "asked for again",
        f"  server's own check      {'sound' if report.verified else 'NOT SOUND':>8}  at revision "
        f"{report.revision:,}",
        f"  replay                  {'equal' if report.replay_hash_equal else 'DIFFERS':>8}  "
        f"{report.records_replayed:,} journal records read twice into an empty state: "
        f"{report.state_hash[:16]}…",
        f"  journal                 {report.journal:>8}",
    ]
    lines += [f"  ! {difference}" for difference in report.differences]
    lines += [
        "",
        f"{'All of it held' if report.sound else 'NOT ALL OF IT HELD'}, in {report.total_s:.0f} s "
        f"(data {report.generate_s:.0f} s, load {report.load_s:.0f} s, orders "
        f"{report.replay_s:.0f} s).",
    ]
    return "\n".join(lines)


HOW_TO_GO_ON = """
How to go on:
  holdfast serve                                   a server on 127.0.0.1:7420
  holdfast load nodes.csv items.csv stock.csv      your own data
  holdfast reserve SKU-1@WH-1=2 --owner me         a hold
  holdfast demo --keep                             this server, left running to play with
"""
