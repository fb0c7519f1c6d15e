"""The judge finds what was lost, what was refused wrongly, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from engine import commands, machine, reads
from engine.commands import CommandBatch
from engine.state import Capacity, State
from loadtests.asking import node_name, sku_name
from loadtests.judge import Stock, Verdict, _each, _judge_acknowledged, _judge_refusals
from tests.columns import Line, command, define, join

HOT = (sku_name(0), node_name(0))


def lines(*quantities: int) -> list[Line]:
    return [
        Line(*HOT, quantity=quantity, number=number) for number, quantity in enumerate(quantities)
    ]


def create(name: str, *quantities: int) -> CommandBatch:
    return command(commands.CREATE, lines(*quantities), reservation_id=name, ttl_ms=1_000)


def short(sent_ms: int, answered_ms: int, units: int = 1) -> tuple[int, int, str, str, int]:
    return (sent_ms, answered_ms, *HOT, units)


@pytest.fixture
def stock() -> Stock:
    """5 units until 1,000 ms, none until 2,000 ms, then 3 that came back."""
    made = Stock()
    for now_ms, units in ((100, 5), (1_000, 0), (2_000, 3)):
        made.add(now_ms, units)
    return made


@pytest.mark.parametrize(
    ("sent_ms", "answered_ms", "units", "wrong"),
    [
        (1_200, 1_300, 1, 0),  # there was none
        (900, 1_100, 1, 0),  # the last one went meanwhile
        (1_900, 2_100, 1, 0),  # the first one came back meanwhile
        (300, 400, 1, 1),  # there were five all the time
        (2_100, 2_200, 3, 1),  # three are enough for three
        (2_100, 2_200, 4, 0),  # and not for four
        (994, 996, 1, 0),  # within the slack of the two clocks
        (2_007, 2_010, 1, 1),  # beyond it
    ],
)
def test_a_refusal_is_wrong_only_if_there_was_enough_all_the_time(
    stock: Stock, sent_ms: int, answered_ms: int, units: int, wrong: int
) -> None:
    verdict = Verdict()
    _judge_refusals(stock, [short(sent_ms, answered_ms, units)], verdict)
    assert verdict.unsold_while_refused == wrong
    assert len(verdict.faults) == wrong


@pytest.fixture
def state() -> State:
    made = State.create(Capacity.small())
    batches: list[CommandBatch] = [
        define(commands.NODE, HOT[1]),
        define(commands.SKU, HOT[0]),
        command(commands.COUNT, [Line(*HOT, quantity=10, policy=commands.REPORT)]),
        create("held", 2),
        create("confirmed", 2),
        command(commands.CONFIRM, reservation_id="confirmed"),
        create("cancelled", 2),
        command(commands.CANCEL, reservation_id="cancelled"),
    ]
    for batch in batches:
        assert not machine.apply(made, 1, batch).rows["code"].any()
    return made


@pytest.mark.parametrize(
    ("told", "lost"),
    [
        ({"held": "HELD", "confirmed": "CONFIRMED", "cancelled": "CANCELLED"}, 0),
        ({"held": "CONFIRMED?", "cancelled": "CANCELLED?"}, 0),
        ({"held": "CONFIRMED"}, 1),
        ({"confirmed": "CANCELLED"}, 1),
        ({"confirmed": "HELD"}, 1),
        ({"nowhere": "HELD"}, 1),
        ({"nowhere": "CONFIRMED?"}, 1),
    ],
)
def test_an_acknowledged_answer_is_in_the_ledger(
    state: State, told: dict[str, str], lost: int
) -> None:
    verdict = Verdict()
    _judge_acknowledged(state, told, verdict)
    assert verdict.lost_acknowledgements == lost
    assert verdict.acknowledged == len(told)


def test_commands_one_by_one_come_to_the_same_as_together(state: State) -> None:
    confirm = command(commands.CONFIRM, reservation_id="a")
    batch = join(create("a", 1, 1), create("b", 1), confirm)
    singles: list[Any] = list(_each(batch))
    assert [len(one) for one in singles] == [1, 1, 1]
    for one in singles:
        assert not machine.apply(state, 2, one).rows["code"].any()
    row = reads.position_row(state, *HOT)
    assert int(state.positions["committed"][row]) == 4
    assert int(state.positions["held"][row]) == 3
