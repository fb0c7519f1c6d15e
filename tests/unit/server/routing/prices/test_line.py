"""Where prices are solved: points that everybody who knows the same promises finds in one place."""

from __future__ import annotations

from server.routing.prices.line import PromiseLine

PERIOD_MS = 1000


def line(promises: int, *, first_ms: int = 0, **sizes: int) -> PromiseLine:
    """With a promise every 10 ms."""
    made = PromiseLine(PERIOD_MS, **({"sample": 4, "every": 3, "points": 5} | sizes))
    for number in range(promises):
        made.add(f"p{number}", first_ms + 10 * number)
    return made


def sample(made: PromiseLine, at: int) -> list[str]:
    """Names of the sample of a point."""
    return [name for name, _ in made.sample(made.points[at])]


def test_the_first_promise_of_a_period_and_every_third_after_it_is_a_point() -> None:
    made = line(8)
    assert [(one.number, one.time_ms) for one in made.points] == [(1, 0), (4, 30), (7, 60)]


def test_a_sample_is_what_came_last_and_began_with_the_promise_before_it() -> None:
    made = line(8)
    assert sample(made, 0) == ["p0"]
    assert sample(made, 1) == ["p0", "p1", "p2", "p3"]
    assert made.sample(made.points[2]) == [("p3", 30), ("p4", 40), ("p5", 50), ("p6", 60)]
    # p2 has left the sample of the third: since then the others have come.
    assert [one.since_ms for one in made.points] == [0, 0, 20]


def test_a_new_period_begins_its_own_points_with_the_sample_of_the_last_one() -> None:
    made = line(5, first_ms=970)
    (point,) = made.points
    assert (point.number, point.time_ms, point.since_ms) == (4, 1000, 970)
    assert sample(made, 0) == ["p0", "p1", "p2", "p3"]


def test_of_many_points_the_last_are_known_with_all_of_their_samples() -> None:
    made = line(90, every=2)
    assert [one.number for one in made.points] == [81, 83, 85, 87, 89]
    assert sample(made, 0) == ["p77", "p78", "p79", "p80"]
    assert made.points[0].since_ms == 760
    assert len(made._last) == len(made._known) == 1 + 4 + 5 * 2


def test_a_promise_counts_once_and_never_before_the_one_ahead_of_it() -> None:
    made = line(3)
    made.add("p1", 500)
    assert made.count == 3
    made.add("late", 5)
    assert made.points[-1].time_ms == 20


def test_who_comes_later_finds_the_same_points() -> None:
    early, late = line(0), line(40)
    seen = []
    for number in range(40):
        early.add(f"p{number}", 10 * number)
        seen.append(list(early.points))
    assert seen[-1] == list(late.points)
    assert [early.sample(one) for one in seen[-1]] == [late.sample(one) for one in late.points]
