"""A waiting line: nobody overtakes, nobody who stays is lost, a restart changes no order."""

from __future__ import annotations

import random
from typing import Final

import pytest

from server.admission.waiting_line import EPOCH_SHIFT, LineSettings, Standing, WaitingLine

ABANDONED_MS: Final = 10_000
SETTINGS: Final = LineSettings(
    turns_max=3, turn_ms=5_000, abandoned_ms=ABANDONED_MS, places_max=50, by_stock=True
)


def line(epoch: int = 1, opened_ms: int = 0, **changed: object) -> WaitingLine:
    settings = LineSettings(**{**{f: getattr(SETTINGS, f) for f in SETTINGS.__slots__}, **changed})
    return WaitingLine(settings, epoch=epoch, opened_ms=opened_ms)


def joined(places: WaitingLine, owner: int, now_ms: int = 0) -> int:
    key = places.join(owner, now_ms)
    assert key is not None
    return key


def standing(places: WaitingLine, key: int, owner: int, now_ms: int = 0) -> Standing:
    return places.see(key, owner, 0, now_ms).standing


def test_places_are_called_in_order_as_there_is_room():
    places = line()
    keys = [joined(places, owner) for owner in range(6)]
    assert places.advance(0, lambda: 100) == keys[:3]
    assert places.advance(1, lambda: 100) == []
    assert places.see(keys[5], 5, 0, 1).ahead == 2
    places.use(keys[1])
    assert places.advance(2, lambda: 100) == [keys[3]]
    assert (places.waiting, places.turns, places.used) == (2, 3, 1)


def test_no_more_are_called_than_there_are_units():
    places = line()
    keys = [joined(places, owner) for owner in range(4)]
    assert places.advance(0, lambda: 0) == []
    assert places.advance(0, lambda: 1) == keys[:1]
    assert places.advance(0, lambda: 1) == []  # the unit is spoken for
    places.use(keys[0])
    assert places.advance(0, lambda: 0) == []
    assert line(by_stock=False).advance(0, lambda: 1) == []
    anyhow = line(by_stock=False)
    key = joined(anyhow, 1)
    assert anyhow.advance(0, lambda: 0) == [key]


def test_a_turn_that_is_not_used_ends():
    places = line(turns_max=1)
    first, second = joined(places, 1), joined(places, 2)
    assert places.advance(0, lambda: 9) == [first]
    assert places.advance(4_999, lambda: 9) == []
    assert places.advance(5_000, lambda: 9) == [second]
    assert standing(places, first, 1, 5_000) is Standing.PASSED
    assert places.passed == 1
    assert joined(places, 1, 5_000) > second  # whoever was passed over stands at the end


def test_a_place_that_nobody_asks_for_is_passed_over():
    places = line(turns_max=1)
    first, second, third = (joined(places, owner) for owner in (1, 2, 3))
    assert places.advance(0, lambda: 9) == [first]
    now_ms = ABANDONED_MS + 1
    for at_ms in range(0, now_ms, 3_000):
        assert standing(places, third, 3, at_ms) is Standing.WAITING
    assert places.advance(now_ms, lambda: 9) == [third]
    assert standing(places, second, 2, now_ms) is Standing.PASSED
    assert places.abandoned == 1


def test_an_abandoned_place_that_is_back_before_its_turn_keeps_it():
    places = line()
    first, second = joined(places, 1), joined(places, 2)
    later_ms = 3 * ABANDONED_MS
    assert standing(places, second, 2, later_ms - 1) is Standing.WAITING
    assert places.advance(later_ms, lambda: 0) == []  # sweeps
    assert places.waiting == 1
    assert standing(places, first, 1, later_ms) is Standing.WAITING
    assert places.advance(later_ms, lambda: 2) == [first, second]


def test_an_owner_has_one_place():
    places = line()
    assert joined(places, 7) == joined(places, 7)
    assert places.joined == 1
    places.advance(0, lambda: 1)
    assert joined(places, 7) == joined(places, 7)
    assert places.turns == 1


def test_what_is_left_is_gone():
    places = line()
    first, second = joined(places, 1), joined(places, 2)
    places.leave(first)
    assert places.advance(0, lambda: 1) == [second]
    places.leave(second)
    assert (places.left, places.turns, places.waiting) == (2, 0, 0)


def test_a_full_line_takes_nobody_until_someone_is_gone():
    places = line(places_max=3)
    for owner in range(3):
        joined(places, owner)
    assert places.join(9, 0) is None
    assert places.join(9, ABANDONED_MS + 1) is not None  # the others were abandoned


def test_how_long_it_will_take_follows_how_many_were_called():
    places = line(turns_max=1_000, places_max=2_000)
    for owner in range(1_000):
        joined(places, owner)
    assert places.expected_ms(10, 0) is None
    for second in range(60):
        for owner in range(1_000):
            places.see(1 << EPOCH_SHIFT | owner, owner, 0, second * 1_000)
        # Ten a second find a unit.
        places.advance(second * 1_000, lambda: places.turns + 10)
    expected = places.expected_ms(99, 60_000)
    assert expected == pytest.approx(10_000, rel=0.1)
    assert places.expected_ms(99, 60_000 + 3_600_000) is None


def test_a_restart_keeps_the_order_and_gives_everybody_time_to_come_back():
    before = line(epoch=4)
    old = [joined(before, owner, ABANDONED_MS) for owner in range(5)]
    after = line(epoch=5, opened_ms=100_000, turns_max=10)
    newcomer = joined(after, 99, 100_001)
    for owner in (3, 0, 4, 1):  # in any order; 2 does not come back
        assert standing(after, old[owner], owner, 101_000) is Standing.WAITING
    assert after.advance(100_000 + ABANDONED_MS - 1, lambda: 9) == []
    called = after.advance(100_000 + ABANDONED_MS, lambda: 9)
    assert called == [old[0], old[1], old[3], old[4], newcomer]
    assert standing(after, old[2], 2, 120_000) is Standing.PASSED


def test_a_turn_outlives_a_restart_by_its_token():
    before = line(epoch=1)
    key = joined(before, 1)
    before.advance(0, lambda: 1)
    end_ms = before.see(key, 1, 0, 0).turn_end_ms
    after = line(epoch=2, opened_ms=1_000)
    seen = after.see(key, 1, end_ms, 1_000)
    assert (seen.standing, seen.turn_end_ms) == (Standing.CALLED, end_ms)
    assert after.turns == 1
    assert after.see(key, 1, end_ms, end_ms).standing is Standing.PASSED
    after.advance(end_ms, lambda: 1)
    assert after.see(key, 1, end_ms, end_ms + 1).standing is Standing.PASSED


def test_one_who_joined_anew_after_a_restart_has_the_older_place():
    before = line(epoch=1)
    old = joined(before, 1)
    after = line(epoch=2, opened_ms=1_000)
    new = joined(after, 1, 1_000)
    assert standing(after, old, 1, 1_001) is Standing.WAITING
    assert standing(after, new, 1, 1_002) is Standing.PASSED
    assert after.waiting == 1


@pytest.mark.parametrize("seed", range(40))
def test_nobody_overtakes(seed: int):
    """Whatever comes, in whatever order, over restarts: when a place is called, each place before
    it was called, left, or not asked for over the time that makes it abandoned."""
    chance = random.Random(seed)
    epoch, now_ms = 1, 0
    places = line(epoch=1, turns_max=chance.choice((1, 3, 20)), places_max=40)
    seen_ms: dict[int, int] = {}  # of the places that still wait, as their owners know it
    owners: dict[int, int] = {}
    turns: dict[int, int] = {}
    called: list[int] = []
    here: set[int] = set()  # asked for since the restart
    for _ in range(600):
        now_ms += chance.choice((0, 1, 100, 2_000))
        what = chance.random()
        if what < 0.35:
            owner = chance.randrange(10_000)
            key = places.join(owner, now_ms)
            if key is not None:
                owners[key] = owner
                here.add(key)
                if key not in turns:
                    seen_ms[key] = now_ms
        elif what < 0.70 and seen_ms:
            key = chance.choice(list(seen_ms))
            found = places.see(key, owners[key], 0, now_ms)
            if found.standing is Standing.WAITING:
                seen_ms[key] = now_ms
                here.add(key)
                assert found.ahead >= sum(
                    other < key and at + ABANDONED_MS >= now_ms and other in here
                    for other, at in seen_ms.items()
                    if other != key
                )
            elif found.standing is Standing.PASSED:
                assert seen_ms.pop(key) + ABANDONED_MS < now_ms or any(
                    other != key and owners[other] == owners[key] for other in owners
                )
        elif what < 0.75 and seen_ms:
            key = chance.choice(list(seen_ms))
            places.leave(key)
            del seen_ms[key]
        elif what < 0.85 and turns:
            key = chance.choice(list(turns))
            places.use(key)
            del turns[key]
        elif what < 0.87:
            epoch += 1
            here = set()
            places = WaitingLine(places.settings, epoch=epoch, opened_ms=now_ms)
            for key, end_ms in turns.items():
                places.see(key, owners[key], end_ms, now_ms)
        for key in places.advance(now_ms, lambda: chance.randrange(30)):
            for other, at in seen_ms.items():
                if other < key:
                    assert at + ABANDONED_MS < now_ms, (seed, other, key)
            called.append(key)
            del seen_ms[key]
            turns[key] = places.see(key, owners[key], 0, now_ms).turn_end_ms
        turns = {key: end for key, end in turns.items() if end > now_ms}
        assert places.waiting <= 2 * places.settings.places_max
    assert len(called) == len(set(called))
    assert called
