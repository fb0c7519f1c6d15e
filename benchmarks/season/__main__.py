"""``python -m benchmarks.season``: simulate, print the tables, with ``--write`` the page's part."""

from __future__ import annotations

import argparse
import sys

from benchmarks.season.page import table, write
from benchmarks.season.run import SETTINGS, simulate


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.season", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="horizons of each setting, 2 or more")
    parser.add_argument("--write", action="store_true", help="write docs/routing.md and its plot")
    asked = parser.parse_args()
    if asked.seeds < 2:
        parser.error("--seeds must be at least 2: one horizon has no confidence interval")
    seasons = []
    for setting in SETTINGS:
        seasons.append(simulate(setting, asked.seeds, lambda line: print(line, flush=True)))
        print("\n".join([setting.name, *table(seasons[-1]), ""]), flush=True)
    if asked.write:
        write(seasons)
    return 0


if __name__ == "__main__":
    sys.exit(main())
