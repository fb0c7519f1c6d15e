"""Campaigns of the simulator: ``python -m tests.simulation --seeds 1000 [--first-seed N]``.

Every failing seed is printed with the command that replays it alone. Status 1 when one failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.planted import PLANTED
from tests.simulation.simulator import Result, simulate


def run_one(planted: str | None, seed: int) -> Result:
    """One seed, in a worker process."""
    return simulate(seed, PLANTED[planted][0] if planted else None)


def replay_command(seed: int, planted: str | None = None) -> str:
    """What to type to see this seed again."""
    plant = f" --plant '{planted}'" if planted else ""
    return f"python -m tests.simulation --seeds 1 --first-seed {seed}{plant}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--first-seed", type=int, default=0, help="from this one on")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--plant", choices=sorted(PLANTED), help="with this bug planted")
    options = parser.parse_args(arguments)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    started_s = time.monotonic()
    failed = 0
    totals = dict.fromkeys(("operations", "records", "crashes", "rebuilds", "snapshots"), 0)
    simulated_s = 0.0
    with ProcessPoolExecutor(min(options.jobs, len(seeds) or 1)) as pool:
        for result in pool.map(partial(run_one, options.plant), seeds, chunksize=4):
            for name in totals:
                totals[name] += getattr(result, name)
            simulated_s += result.simulated_s
            if result.findings:
                failed += 1
                print(f"seed {result.seed}: {len(result.findings)} findings; replay it with")
                print(f"    {replay_command(result.seed, options.plant)}")
                for finding in result.findings[:10]:
                    print(f"  {finding}")
    took_s = time.monotonic() - started_s
    told = ", ".join(f"{total} {name}" for name, total in totals.items())
    print(
        f"{len(seeds)} seeds, {failed} failed, {took_s:.1f} s ({len(seeds) / took_s:.1f} seeds/s)"
    )
    print(f"simulated: {simulated_s / 3600:.1f} hours, {told}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
