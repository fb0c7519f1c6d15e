"""docs/load.md says what there is: scenarios, tables and keys, measures."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from loadtests import scenario
from loadtests.measures import MEASURES

PAGE = (Path(__file__).resolve().parents[3] / "docs/load.md").read_text()


def rows(header: str) -> list[list[str]]:
    """The cells of the one table whose header begins so."""
    table = re.search(rf"(?m)^\| {header} \|.*\n\|[-|: ]+\n((?:\|.*\n)+)", PAGE)
    assert table is not None, header
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def test_every_scenario_is_listed() -> None:
    assert sorted(row[0].strip("`") for row in rows("scenario")) == scenario.names()


def test_every_measure_is_listed_as_it_is() -> None:
    told = {row[0].strip("`"): (row[1], row[2] == "yes") for row in rows("measure")}
    assert told == {name: (each.meaning, each.is_invariant) for name, each in MEASURES.items()}


def test_every_key_of_every_table_is_listed() -> None:
    told = {row[0].strip("`[]"): set(re.findall(r"`(\w+)`", row[1])) for row in rows("table")}
    there = {table: set(keys) for table, keys in scenario.keys().items()}
    there["quick"] = {"phase_s", *(there["quick"] - {"phase_s"})}
    assert told.keys() == there.keys()
    for table, keys in there.items():
        assert keys <= told[table], f"[{table}]: {keys - told[table]}"


def test_the_example_is_a_scenario() -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    made = scenario.parse("example", tomllib.loads(example[1]), file="example.toml")
    assert made.events[0].kind == "restart"
