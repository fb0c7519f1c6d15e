"""Calls that come together: which set each goes with, and that each is told something."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from server.transport import gathering
from server.transport.gathering import Gathered, Gathering, longest

FOR_EVER = 3_600.0
"""A wait that no test sees the end of, in seconds."""


class Asked:
    """A call with so much time left, in seconds."""

    def __init__(self, remaining_s: float | None = None) -> None:
        self._remaining_s = remaining_s

    def remaining_s(self) -> float | None:
        return self._remaining_s


class Kitchen:
    """Serves sets: each call gets its own bytes back once the test opens the door."""

    def __init__(self) -> None:
        self.sets: list[list[bytes]] = []
        self.busy = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def serve(self, calls: Sequence[Gathered]) -> None:
        self.sets.append([one.raw for one in calls])
        self.busy.set()
        await self.open.wait()
        for one in calls:
            one.tell(None if one.raw == b"unusual" else one.raw)


def ask(among: Gathering, *raws: bytes, remaining_s: float | None = None) -> list[Any]:
    """Calls that begin in one turn of the loop."""
    asked: Any = Asked(remaining_s)
    return [asyncio.ensure_future(among.served(raw, asked)) for raw in raws]


async def test_calls_of_one_turn_are_served_together():
    kitchen = Kitchen()
    answers = await asyncio.gather(*ask(Gathering(kitchen.serve), b"a", b"b", b"unusual"))
    assert answers == [b"a", b"b", None]
    assert kitchen.sets == [[b"a", b"b", b"unusual"]]


async def test_few_callers_do_not_wait_for_company():
    kitchen = Kitchen()
    among = Gathering(kitchen.serve, wait_s=FOR_EVER)
    for raw in (b"a", b"b", b"c"):
        assert await ask(among, raw)[0] == raw
    assert kitchen.sets == [[b"a"], [b"b"], [b"c"]]


async def test_under_load_calls_wait_until_half_of_those_under_way_are_together():
    kitchen = Kitchen()
    among = Gathering(kitchen.serve, wait_s=FOR_EVER, busy_share=lambda: 0.5)
    first = await asyncio.gather(*ask(among, *(b"%d" % number for number in range(32))))
    assert len(first) == 32
    kitchen.sets.clear()
    waiting = ask(among, *(b"%d" % number for number in range(8)))
    await asyncio.sleep(0)
    assert kitchen.sets == []
    waiting += ask(among, *(b"%d" % number for number in range(8, 24)))
    assert await asyncio.gather(*waiting[:12]) == [b"%d" % number for number in range(12)]
    assert 12 <= len(kitchen.sets[0]) <= 16
    for one in waiting:
        one.cancel()


async def test_a_set_is_no_larger_than_the_loop_can_bear(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gathering, "_TOGETHER_MAX", 5)
    kitchen = Kitchen()
    await asyncio.gather(*ask(Gathering(kitchen.serve), *(b"%d" % one for one in range(12))))
    assert [len(one) for one in kitchen.sets] == [5, 5, 2]


async def test_who_is_in_a_hurry_goes_alone():
    kitchen = Kitchen()
    among = Gathering(kitchen.serve)
    hurried, calm = ask(among, b"now", remaining_s=0.1), ask(among, b"a", b"b", remaining_s=9.0)
    assert await asyncio.gather(*hurried, *calm) == [b"now", b"a", b"b"]
    assert sorted(kitchen.sets) == [[b"a", b"b"], [b"now"]]


async def test_a_caller_that_goes_ends_nothing():
    kitchen = Kitchen()
    kitchen.open.clear()
    gone, stays = ask(Gathering(kitchen.serve), b"a", b"b")
    await kitchen.busy.wait()
    gone.cancel()
    kitchen.open.set()
    assert await stays == b"b"
    assert gone.cancelled()


async def test_who_has_gone_before_is_not_served():
    kitchen = Kitchen()
    gone, stays = ask(Gathering(kitchen.serve), b"a", b"b")
    await asyncio.sleep(0)  # both wait for the set to go
    gone.cancel()
    assert await stays == b"b"
    assert kitchen.sets == [[b"b"]]


async def test_when_serving_fails_each_call_hears_of_it():
    async def serve(calls: Sequence[Gathered]) -> None:
        calls[0].tell(b"in time")
        raise ValueError("the oven is cold")

    told = await asyncio.gather(*ask(Gathering(serve), b"a", b"b", b"c"), return_exceptions=True)
    assert told[0] == b"in time"
    assert [str(one) for one in told[1:]] == ["the oven is cold"] * 2


@pytest.mark.parametrize(
    ("remaining_s", "last"),
    [([3.0, 1.0], 3.0), ([3.0, None], None), ([None], None), ([0.0, 2.0], 2.0)],
)
def test_the_most_patient_of_some_callers_counts(
    remaining_s: list[float | None], last: float | None
):
    assert longest(remaining_s) == last
