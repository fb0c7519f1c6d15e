"""Put a server under load: ``python -m loadtests SCENARIO [--quick] [--picture FILE]``.

Starts everything, runs the scenario, judges it, writes var/load/SCENARIO/report.html and
report.json. The last line of standard output is one JSON object. The status is 0 when every bar was
reached, 1 when one was missed, 2 when the scenario can not be run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from loadtests import report, scenario
from loadtests.capacity import generator_capacity
from loadtests.measures import MEASURES
from loadtests.picture import picture
from loadtests.result import Result
from loadtests.runner import run
from loadtests.tables import ScenarioError

OUT = Path("var/load")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="*", help="names in loadtests/scenarios, or files.toml")
    parser.add_argument("--all", action="store_true", help="every scenario, one after another")
    parser.add_argument("--list", action="store_true", help="say which scenarios there are")
    parser.add_argument(
        "--quick", action="store_true", help="seconds, not minutes; invariants only"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="where reports go (%(default)s)")
    parser.add_argument("--picture", type=Path, help="draw the run into this SVG too")
    parser.add_argument(
        "--client", choices=("holdfast", "foreign"), help="another client than the scenario's"
    )
    parser.add_argument(
        "--transport", choices=("light", "grpcio"), help="another transport than the scenario's"
    )
    parser.add_argument(
        "--generator", action="store_true", help="measure what the generators themselves can make"
    )
    options = parser.parse_args(arguments)
    if options.list:
        for name in scenario.names():
            print(f"{name:<22} {scenario.find(name).title}")
        return 0
    if options.generator:
        print(json.dumps(asyncio.run(generator_capacity(say=say))))
        return 0
    names = scenario.names() if options.all else options.scenario
    if not names:
        parser.error(f"name a scenario: {', '.join(scenario.names())}")
    try:
        chosen = [scenario.find(name) for name in names]
    except ScenarioError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    statuses = [_one(each, options) for each in chosen]
    return max(statuses)


def say(text: str) -> None:
    """Progress."""
    print(text, flush=True)


def _one(chosen: scenario.Scenario, options: argparse.Namespace) -> int:
    chosen = scenario.with_callers(chosen, client=options.client, transport=options.transport)
    if options.quick:
        chosen = scenario.quick(chosen)
    say(f"== {chosen.name}: {chosen.title}")
    try:
        result = asyncio.run(_interruptible(run(chosen, is_quick=options.quick, say=say)))
    except asyncio.CancelledError:
        print(f"{chosen.name}: ended by a signal", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"{chosen.name}: {error}", file=sys.stderr)
        return 2
    name = chosen.name if chosen.callers.client == "holdfast" else f"{chosen.name}-foreign"
    page = report.write(result, options.out / name)
    if options.picture:
        options.picture.write_text(picture(result))
    _show(result)
    say(f"report: {page}")
    print(json.dumps(result.line()), flush=True)
    return 1 if result.missed() else 0


async def _interruptible(work: Coroutine[Any, Any, Result]) -> Result:
    """`work`, cancelled by SIGTERM, so that what it started ends with it."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def _show(result: Result) -> None:
    for bar in result.scenario.bars:
        value = result.measured[bar.measure]
        word = "reached" if bar.is_reached(value) else "MISSED"
        shown = MEASURES[bar.measure].show(value)
        say(f"  {bar.measure:<24} {shown:>14}  {bar.wanted():<12} {word}")
    for note in result.notes:
        say(f"  {note}")
    for fault in result.verdict.faults:
        say(f"  ! {fault}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
