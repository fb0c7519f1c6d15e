"""``holdfast load`` of two million stock rows into an empty, journaled ledger: rows a second.

The command is run as a user runs it, against a server of its own on the other core; its time is
that of the whole command, from its start to its end, reading and checking the file included. Nodes
and items have been loaded before by the same command.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.catalogue import Catalogue, catalogue
from benchmarks.measure import Say, Spread, pin, two_cores
from benchmarks.server_process import ServerProcess
from benchmarks.stock_files import (
    write_items,
    write_nodes,
    write_stock_csv,
    write_stock_parquet,
)

ROWS = 2_000_000
ROUNDS = 2
_LOAD_S_MAX = 60.0


def run(say: Say) -> dict[str, float]:
    """Measure; the figure is the median of the rounds with CSV."""
    server_core, caller_core = two_cores()
    shop = catalogue(ROWS)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        files = _Files(Path(directory), shop)
        say(f"{ROWS:,} rows; CSV of {files.csv.stat().st_size / 1e6:.0f} MB")
        rounds = [files.csv] * ROUNDS
        if importlib.util.find_spec("pyarrow"):
            write_stock_parquet(files.parquet, shop)
            rounds.append(files.parquet)
        rates: dict[str, list[float]] = {}
        for file in rounds:
            with ServerProcess(core=server_core) as server:
                pin(caller_core)
                _load(server, files.nodes, files.items)
                before = server.core_s()
                seconds, inside = _load(server, file)
                after = server.core_s()
            rate = ROWS / seconds
            rates.setdefault(file.suffix, []).append(rate)
            line = f"{file.suffix[1:]}: {rate:,.0f} rows/s in {seconds:.2f} s"
            line += f", {inside:.2f} s of them loading"
            if before is not None and after is not None:
                line += f"; {(after - before) / ROWS * 1e6:.2f} us of the server's core a row"
            say(line)
    return {"load_rows_per_second": Spread.of(rates[".csv"]).median}


class _Files:
    """The feed files in a directory."""

    def __init__(self, directory: Path, shop: Catalogue) -> None:
        self.nodes = directory / "nodes.csv"
        self.items = directory / "items.csv"
        self.csv = directory / "stock.csv"
        self.parquet = directory / "stock.parquet"
        write_nodes(self.nodes, shop)
        write_items(self.items, shop)
        write_stock_csv(self.csv, shop)


def _load(server: ServerProcess, *files: Path) -> tuple[float, float]:
    """Run the command. (seconds it took, seconds it says the files took); raises RuntimeError."""
    command = [sys.executable, "-m", "holdfast", "load", "--json", *map(str, files)]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env=os.environ | {"HOLDFAST_TARGET": server.target},
        capture_output=True,
        text=True,
        timeout=_LOAD_S_MAX,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"holdfast load left with {done.returncode}: {done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    refused = sum(file["rows_refused"] for file in answer["files"])
    if refused:
        raise RuntimeError(f"{refused} rows were refused: {answer['problems']}")
    return seconds, sum(answer["seconds"])
