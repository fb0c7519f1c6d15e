"""Every scenario there is can be read; what can not be meant is told by file, table and key."""

from __future__ import annotations

from typing import Any

import pytest

from loadtests import scenario
from loadtests.measures import INVARIANTS, MEASURES
from loadtests.tables import ScenarioError

LEAST: dict[str, Any] = {
    "title": "Least",
    "phase": [{"name": "one", "seconds": 1, "rate": 10}],
    "journey": [{"name": "holds"}],
}


def parsed(**changes: Any) -> scenario.Scenario:
    return scenario.parse("least", {**LEAST, **changes}, file="least.toml")


def problems(**changes: Any) -> list[str]:
    with pytest.raises(ScenarioError) as refused:
        parsed(**changes)
    return list(refused.value.problems)


@pytest.mark.parametrize("name", scenario.names())
def test_every_file_is_a_scenario_with_a_bar_on_each_invariant(name: str) -> None:
    made = scenario.find(name)
    assert made.title
    assert made.description
    assert {bar.measure for bar in made.bars} >= INVARIANTS


@pytest.mark.parametrize("name", scenario.names())
def test_the_small_scale_keeps_the_course_and_only_the_bars_on_invariants(name: str) -> None:
    made = scenario.find(name)
    small = scenario.quick(made)
    assert [phase.name for phase in small.phases] == [phase.name for phase in made.phases]
    assert len(small.events) == len(made.events)
    assert {bar.measure for bar in small.bars} == INVARIANTS
    assert small.seconds <= made.quick.phase_s * len(made.phases)
    assert all(phase.rate is not None and phase.times is None for phase in small.phases)


def test_the_issues_scenarios_are_there() -> None:
    assert set(scenario.names()) >= {
        *("steady", "flash_sale", "hot_sku_sellout", "thundering_reconnect", "cart_abandon_wave"),
        *("expiry_storm", "feed_during_peak", "slow_redis", "rolling_restart"),
        *("hostile_transport", "hostile_flood"),
    }


def test_what_is_left_out_has_its_default() -> None:
    made = parsed()
    assert made.server.journal == "sqlite"
    assert made.callers.client == "holdfast"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"titel": "x"}, "least.toml: titel: no such key; did you mean title?"),
        ({"title": ""}, "least.toml: title: must be text, not ''"),
        (
            {"callers": {"proceses": 2}},
            "least.toml: [callers] proceses: no such key; did you mean processes?",
        ),
        (
            {"callers": {"processes": 0}},
            "least.toml: [callers] processes: must lie between 1 and 64, not 0",
        ),
        (
            {"callers": {"processes": "two"}},
            "least.toml: [callers] processes: must be a whole number, not 'two'",
        ),
        (
            {"server": {"journal": "disk"}},
            "least.toml: [server] journal: must be one of sqlite, redis, not 'disk'",
        ),
        (
            {"server": {"standby": 1}},
            "least.toml: [server] standby: must be true or false, not 1",
        ),
        ({"server": []}, "least.toml: server: must be a table, not []"),
        ({"phase": {}}, "least.toml: phase: must be an array of tables, [[phase]]"),
        ({"phase": []}, "least.toml: phase: there must be at least one [[phase]]"),
        ({"journey": []}, "least.toml: journey: there must be at least one [[journey]]"),
        (
            {"phase": [{"name": "one", "rate": 1}]},
            "least.toml: [phase 1] seconds: must be given",
        ),
        (
            {"phase": [{"name": "one", "seconds": 1, "rate": 1, "times": 2}]},
            "least.toml: [phase 1] rate: give either rate or times",
        ),
        (
            {"phase": [{"name": "one", "seconds": 1, "times": 2}]},
            "least.toml: [load] saturation_s: must be above 0: phases are given in multiples of "
            "capacity",
        ),
        (
            {"phase": [LEAST["phase"][0], LEAST["phase"][0]]},
            "least.toml: [phase 1] name: 'one' is given twice",
        ),
        (
            {"journey": [{"name": "a", "steps": ["confirm"]}]},
            "least.toml: [journey 1] steps: 'confirm' needs a hold or promise before it",
        ),
        (
            {"journey": [{"name": "a", "steps": ["hold", "pay"]}]},
            "least.toml: [journey 1] steps: no step 'pay'; there are browse, plan, hold, "
            "promise, confirm, cancel, extend, track, think:SECONDS",
        ),
        (
            {"journey": [{"name": "a", "share": 0.5}]},
            "least.toml: [journey 1] share: the shares must add up to 1, not 0.5",
        ),
        (
            {"event": [{"kind": "kill", "phase": "two"}]},
            "least.toml: [event 1] phase: no phase 'two'; there are one",
        ),
        (
            {"event": [{"kind": "slow_redis", "phase": "one"}]},
            'least.toml: [event 1] kind: slow_redis needs journal = "redis" in [server]',
        ),
        (
            {"event": [{"kind": "feed", "phase": "one"}]},
            "least.toml: [event 1] rows: must be above 0 for feed",
        ),
        (
            {"bar": [{"measure": "goodput_2", "at_least": 1}]},
            "least.toml: [bar 1] measure: no measure 'goodput_2'; did you mean goodput_2x?",
        ),
        (
            {"bar": [{"measure": "goodput_2x"}]},
            "least.toml: [bar 1] at_least: give at_least, at_most or both",
        ),
    ],
)
def test_what_can_not_be_meant_is_told(changes: dict[str, Any], told: str) -> None:
    assert told in problems(**changes)


def test_all_problems_are_told_at_once() -> None:
    told = problems(server={"journal": "disk"}, callers={"processes": 0})
    assert len(told) == 2


def test_a_file_that_is_no_toml_is_named(tmp_path: Any) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("title = ")
    with pytest.raises(ScenarioError, match=r"broken\.toml: not TOML"):
        scenario.load(file)


def test_a_name_that_is_almost_right_is_guessed() -> None:
    with pytest.raises(ScenarioError, match="did you mean flash_sale"):
        scenario.find("flash_sal")


@pytest.mark.parametrize("name", scenario.names())
def test_a_generator_gets_the_very_scenario(name: str) -> None:
    made = scenario.find(name)
    assert scenario.parse_parts(scenario.to_parts(made)) == made


@pytest.mark.parametrize(
    ("value", "at_least", "at_most", "is_reached"),
    [
        (1.0, 1.0, None, True),
        (0.99, 1.0, None, False),
        (5.0, None, 5.0, True),
        (5.1, None, 5.0, False),
        (3.0, 3.0, 3.0, True),
        (None, None, 5.0, False),
    ],
)
def test_a_bar_is_reached_or_missed(
    value: float | None, at_least: float | None, at_most: float | None, is_reached: bool
) -> None:
    bar = scenario.Bar("goodput_2x", at_least, at_most)
    assert bar.is_reached(value) is is_reached


def test_every_measure_says_what_it_is() -> None:
    assert all(measure.meaning for measure in MEASURES.values())
