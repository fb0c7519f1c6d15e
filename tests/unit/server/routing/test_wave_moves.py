"""Moves are lined up so that each finds room, never more than there is, and none at a loss."""

from __future__ import annotations

import random
from collections import Counter

from server.routing.wave_moves import Key, Move, rounds_of


def key(name: str) -> Key:
    return ("stock", name, "sku")


def move(number: int, source: str, target: str, saving: int, *, must: bool = False) -> Move:
    return Move(number, {key(source): 1}, {key(target): 1}, saving, must)


def numbers(rounds: list[list[Move]]) -> list[list[int]]:
    return [[one.number for one in each] for each in rounds]


def test_a_move_waits_for_the_one_that_makes_room() -> None:
    moves = [move(1, "a", "b", 50), move(2, "b", "c", 10)]
    free = {key("c"): 1}
    assert numbers(rounds_of(moves, lambda at: free.get(at, 0), 1)) == [[2], [1]]


def test_a_loss_is_made_for_a_greater_saving_alone() -> None:
    moves = [move(1, "a", "b", 50), move(2, "b", "c", -30)]
    free = {key("c"): 1}
    assert numbers(rounds_of(moves, lambda at: free.get(at, 0), 1)) == [[2], [1]]
    assert rounds_of(moves, lambda at: free.get(at, 0), 21) == []
    assert rounds_of([moves[1]], lambda at: free.get(at, 0), 1) == []


def test_a_ring_stays_but_for_those_that_must_leave() -> None:
    ring = [move(1, "a", "b", 50), move(2, "b", "a", 10)]
    assert rounds_of(ring, lambda at: 0, 1) == []
    pressed = [move(1, "a", "b", 50, must=True), move(2, "b", "a", 10)]
    assert numbers(rounds_of(pressed, lambda at: 0, 1)) == [[1]]


def test_no_round_takes_more_than_there_is() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        places = "abcde"
        free = Counter({key(at): chance.randrange(3) for at in places})
        there = free.copy()
        moves = []
        for number in range(chance.randrange(1, 12)):
            source, target = chance.sample(places, 2)
            moves.append(move(number, source, target, chance.randrange(-40, 60)))
        made = rounds_of(moves, lambda at, known=there: known[at], 5)
        for each in made:
            for one in each:
                for at, units in one.wants().items():
                    free[at] -= units
                    assert free[at] >= 0, seed
            for one in each:
                free.update(one.gives)
        flat = [one for each in made for one in each]
        assert len({one.number for one in flat}) == len(flat), seed
        if flat:
            assert sum(one.saving for one in flat) >= 5, seed
