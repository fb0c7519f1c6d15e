"""What `holdfast demo` says: its object is a contract with scripts, its exit code the verdict."""

from __future__ import annotations

import dataclasses
import json
import signal
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from holdfast.cli import demo_command, exits
from holdfast.cli.app import app
from holdfast.demo import run
from holdfast.demo.report import Report, text_of
from holdfast.demo.settings import DemoSettings

CONTRACT = {
    "orders": int,
    "confirmed": int,
    "refused": int,
    "expired": int,
    "oversold_units": int,
    "lost_acknowledgements": int,
    "replay_hash_equal": bool,
    "orders_per_second": float,
    "p50_ms": float,
    "p99_ms": float,
}
"""The first keys, in this order, as docs/client.md promises them."""


def report(**changes: Any) -> Report:
    """A season in which all held, and every number is another one."""
    values: dict[str, Any] = {}
    for number, each in enumerate(dataclasses.fields(Report), start=2):
        kinds = {"int": number, "float": number + 0.5, "bool": True, "str": f"text-{number}"}
        values[each.name] = kinds.get(str(each.type), ())
    faults = ("oversold_units", "oversold_units_by_server", "lost_acknowledgements")
    values |= dict.fromkeys((*faults, "balances_wrong", "answers_changed", "not_expired"), 0)
    return Report(**values | changes)


def invoke(monkeypatch: pytest.MonkeyPatch, outcome: Report | Exception, *flags: str) -> Result:
    """`holdfast demo` whose season ends with `outcome`, whatever is installed."""

    class Stub:
        def __init__(self, settings: DemoSettings, *_: object) -> None:
            assert settings.orders == 17

        def run(self) -> Report:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

    monkeypatch.setattr(run, "Demo", Stub)
    monkeypatch.setattr(demo_command, "_has", lambda name: True)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests keep their own handlers
    return CliRunner().invoke(app, ["demo", "--orders", "17", *flags])


def test_the_object_begins_with_the_keys_that_scripts_read():
    told = report().as_dict()
    assert list(told)[: len(CONTRACT)] == list(CONTRACT)
    assert {name: type(told[name]) for name in CONTRACT} == CONTRACT
    assert told["sound"] is True
    assert json.loads(json.dumps(told))["p99_ms"] == told["p99_ms"]


@pytest.mark.parametrize(
    "fault",
    [
        {"oversold_units": 1},
        {"oversold_units_by_server": 1},
        {"lost_acknowledgements": 1},
        {"balances_wrong": 1},
        {"answers_changed": 1},
        {"not_expired": 1},
        {"replay_hash_equal": False},
        {"verified": False},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_a_single_fault_is_said_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
):
    result = invoke(monkeypatch, report(**fault), "--json")
    assert result.exit_code == exits.NO
    assert json.loads(result.stdout)["sound"] is False
    assert "NOT ALL OF IT HELD" in text_of(report(**fault))


def test_json_is_one_object_and_nothing_else(monkeypatch: pytest.MonkeyPatch):
    result = invoke(monkeypatch, report(), "--json")
    assert result.exit_code == exits.DONE, result.output
    told = json.loads(result.stdout)
    assert list(told)[: len(CONTRACT)] == list(CONTRACT)
    assert [told[name] for name in CONTRACT] == [getattr(report(), name) for name in CONTRACT]


def test_people_get_the_same_numbers_and_how_to_go_on(monkeypatch: pytest.MonkeyPatch):
    result = invoke(monkeypatch, report(confirmed=4_321))
    assert result.exit_code == exits.DONE, result.output
    assert "4,321" in result.stdout
    assert "All of it held" in result.stdout
    assert "holdfast serve" in result.stdout


def test_a_demo_that_could_not_be_carried_out_says_why_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
):
    result = invoke(monkeypatch, run.DemoFailed("the data could not be made: no room"), "--json")
    assert result.exit_code == exits.FAILED
    assert result.stdout == ""
    assert result.stderr.strip().endswith("the data could not be made: no room")
