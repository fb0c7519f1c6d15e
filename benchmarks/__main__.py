"""``python -m benchmarks [NAME ...]``: measure, say how it goes, end with one JSON object.

Each benchmark runs in a process of its own, one after another: none sees another's memory, and one
that fails or hangs costs its own figures and not the others'. Leaves with 1 when a figure could
not be taken; a target that is not reached is said and is no failure.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.deadline import Deadline
from benchmarks.figures import FIGURES, table

BENCHMARKS = {
    "engine_columns": 90.0,
    "engine_single": 60.0,
    "memory": 120.0,
    "hot_sku": 60.0,
    "verify": 90.0,
    "unary": 150.0,
    "bulk": 180.0,
    "load_rows": 90.0,
    "restart": 120.0,
    "takeover": 300.0,
    "snapshot_pause": 300.0,
    "routing": 180.0,
    "routing_calls": 180.0,
    "routing_waves": 600.0,
    "routing_wave_calls": 300.0,
    "routing_season": 600.0,
    "overload": 420.0,
}
"""Names, and the seconds after which one is given up."""
ROUTING = ("routing", "routing_waves", "routing_season")
"""What needs no server."""
BY_NAME_ONLY = (
    "verify",
    "takeover",
    "snapshot_pause",
    "overload",
    "routing_calls",
    "routing_wave_calls",
    *ROUTING,
)
"""Minutes of filling a ledger for one figure, or another target's: `make bench` leaves them out."""


def keys_of(name: str) -> list[str]:
    """The figures a benchmark gives."""
    return [figure.key for figure in FIGURES if figure.benchmark == name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--here", action="store_true", help="in this process, to profile it")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    names = asked.names or [name for name in BENCHMARKS if name not in BY_NAME_ONLY]
    # gRPC's remarks on being forked would fall between the lines.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if not asked.here:
        _warm_up(names)
    measured: dict[str, float | None] = {}
    for name in names:
        taken = _here(name) if asked.here else _apart(name)
        measured |= {key: taken.get(key) for key in keys_of(name)}
    if not asked.here:
        print("\n" + "\n".join(table(measured)) + "\n")
    result = {
        figure.key: _rounded(measured[figure.key])
        for figure in FIGURES
        if figure.key in measured and (figure.is_in_result or asked.here)
    }
    print(json.dumps(result), flush=True)
    return int(None in measured.values())


def _warm_up(names: Sequence[str]) -> None:
    """Compile every kernel, so that no benchmark waits for the compiler. ``make bench`` has."""
    started = time.perf_counter()
    for module, is_needed in (
        ("server.transport.warmup", not set(names) <= set(ROUTING)),
        ("engine.routing.warmup", "routing" in names),
        ("engine.routing.waves.warmup", not set(names).isdisjoint(ROUTING)),
    ):
        if is_needed:
            subprocess.run([sys.executable, "-m", module], check=True)
    print(f"kernels are ready ({time.perf_counter() - started:.0f} s)", flush=True)


def _here(name: str) -> dict[str, float]:
    # What a deadline sends: leave in order, so that servers end and directories go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    run = importlib.import_module(f"benchmarks.{name}").run
    taken: dict[str, float] = run(lambda line: print(f"  {line}", flush=True))
    return taken


def _apart(name: str) -> dict[str, float]:
    """Run one in a process of its own, passing its lines on; its last line is its figures."""
    print(f"{name}:", flush=True)
    started = time.perf_counter()
    command = [sys.executable, "-u", "-m", "benchmarks", name, "--here"]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = Deadline(process, BENCHMARKS[name])
        assert process.stdout is not None
        for line in process.stdout:
            if last:
                print(last, flush=True)
            last = line.rstrip("\n")
        status = process.wait()
        deadline.cancel()
    seconds = time.perf_counter() - started
    if status == 0 and last.startswith("{"):
        print(f"  ({seconds:.0f} s)", flush=True)
        taken: dict[str, float] = json.loads(last)
        return taken
    print(f"{last}\n  FAILED after {seconds:.0f} s with status {status}", flush=True)
    return {}


def _rounded(value: float | None) -> float | None:
    """Four digits are more than the noise leaves."""
    return None if value is None else float(f"{value:.4g}")


if __name__ == "__main__":
    sys.exit(main())
