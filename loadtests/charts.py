"""Which charts a run has: one function for each, from a result."""

from __future__ import annotations

from loadtests.plots import Band, Chart, Series
from loadtests.recording import DECLINED, FAILED, HELD_BACK, LATE, REFUSED, SERVED
from loadtests.result import Result

NAMES = {
    SERVED: "served",
    DECLINED: "declined by the ledger",
    REFUSED: "refused by the server",
    HELD_BACK: "held back by the client",
    LATE: "no answer in time",
    FAILED: "failed",
}
QUEUES = ("settle", "extend", "reserve", "report")


def charts(result: Result) -> list[Chart]:
    """All of them, in the order of the page: two of its whole width, four of half of it."""
    wide = [throughput(result), latency(result)]
    narrow = [queue_age(result), memory(result), oversold(result), holds(result)]
    for chart in wide:
        chart.width, chart.height = 1_100, 330
    for chart in narrow:
        chart.width, chart.height = 540, 230
    return wide + narrow


def throughput(result: Result) -> Chart:
    """Offered, and what became of it."""
    recording = result.recording
    seconds = range(_last_second(result) + 1)
    ended: dict[str, dict[int, float]] = {name: {} for name in NAMES}
    for (second, _, outcome), count in recording.ended.items():
        ended[outcome][second] = ended[outcome].get(second, 0.0) + count
    offered: dict[int, float] = {}
    for (second, _), count in recording.offered.items():
        offered[second] = offered.get(second, 0.0) + count
    series = [
        Series(name, outcome, [(at + 0.5, ended[outcome].get(at, 0.0)) for at in seconds], True)
        for outcome, name in NAMES.items()
    ]
    series.append(
        Series("offered", "offered", [(at + 0.5, offered.get(at, 0.0)) for at in seconds])
    )
    chart = _chart(result, "Calls a second: offered, and what became of them", "calls/s", series)
    if result.capacity is not None:
        chart.limit, chart.limit_name = result.capacity[0], "measured capacity"
    return chart


def latency(result: Result) -> Chart:
    """Percentiles of what was served, by class, from the moment a call was due: the witness', where
    there is one."""
    series = []
    whom = "the witness" if result.witness else "callers"
    steps = sorted({step for _, step in result.heard.by_second})
    for step in steps:
        rows = sorted(
            (second, latencies)
            for (second, name), latencies in result.heard.by_second.items()
            if name == step and second >= 0
        )
        for percentile in (50, 99) if step == "hold" else (99,):
            points = [(second + 0.5, rows_.ms(percentile) or 0.0) for second, rows_ in rows]
            series.append(Series(f"{step} p{percentile}", f"{step} p{percentile}", points))
    title = f"Latency of what {whom} got, from when it was due"
    chart = _chart(result, title, "ms", series)
    chart.is_logarithmic = True
    for bar in result.scenario.bars:
        if bar.measure == "admitted_p99_ms" and bar.at_most:
            chart.limit, chart.limit_name = bar.at_most, "bar for p99"
    return chart


def queue_age(result: Result) -> Chart:
    """How long the oldest waiting command had waited, by priority class."""
    series = [
        Series(
            name,
            f"queue-{name}",
            [(sample.at_s, sample.queue_age_ms.get(name, 0.0)) for sample in _seen(result)],
        )
        for name in QUEUES
    ]
    return _chart(result, "Age of the queue, by class", "ms", series)


def memory(result: Result) -> Chart:
    """Of all servers."""
    points = [
        (sample.at_s, sample.memory_bytes / 2**20)
        for sample in result.samples
        if sample.memory_bytes and sample.at_s >= 0
    ]
    return _chart(result, "Memory of the server", "MiB", [Series("resident", "memory", points)])


def oversold(result: Result) -> Chart:
    """From the journal, record by record, and from the server's own rolling check."""
    start = result.start_unix_s
    by_second = {
        second - start: float(units)
        for second, units in result.verdict.oversold_by_second.items()
        if 0 <= second - start <= result.scenario.seconds
    }
    seconds = range(_last_second(result) + 1)
    journal = [(float(at), 0.0) for at in seconds] + list(by_second.items())
    check = [(sample.at_s, sample.oversold_positions) for sample in _seen(result)]
    return _chart(
        result,
        "Oversold: must be zero",
        "units",
        [
            Series("units, by the replayed journal", "oversold", sorted(journal)),
            Series("positions, by the server's own check", "oversold-check", check),
        ],
    )


def holds(result: Result) -> Chart:
    """Open holds, and how many have expired."""
    seen = _seen(result)
    first = min((sample.expired_holds for sample in seen), default=0.0)
    return _chart(
        result,
        "Holds",
        "holds",
        [
            Series("open", "held", [(sample.at_s, sample.held) for sample in seen]),
            Series(
                "expired so far",
                "expired",
                [(sample.at_s, sample.expired_holds - first) for sample in seen],
            ),
        ],
    )


def _seen(result: Result) -> list:  # type: ignore[type-arg]
    return [sample for sample in result.samples if sample.is_answered and sample.at_s >= 0]


def _last_second(result: Result) -> int:
    return max([int(result.scenario.seconds)] + [second for second, *_ in result.recording.ended])


def _chart(result: Result, title: str, unit: str, series: list[Series]) -> Chart:
    starts = result.scenario.starts_s()
    return Chart(
        title,
        unit,
        series,
        bands=[
            Band(
                starts[phase.name],
                starts[phase.name] + phase.seconds,
                phase.name,
                phase.role == "overload",
            )
            for phase in result.scenario.phases
        ],
        marks=[mark for mark in result.happened.marks if mark[1] >= 0],
        seconds=float(max(_last_second(result) + 1, result.scenario.seconds)),
    )
