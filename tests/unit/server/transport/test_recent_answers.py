"""Recent answers: never older than they may be, never more than there is room for."""

from __future__ import annotations

import random

from server.transport import recent_answers
from server.transport.recent_answers import RecentAnswers


def test_an_answer_is_told_until_it_is_too_old() -> None:
    answers = RecentAnswers()
    answers.keep(b"q", b"a", read_ms=1_000, age_ms_max=500)
    assert answers.find(b"q", 1_000) == answers.find(b"q", 1_500) == b"a"
    assert answers.find(b"q", 1_501) is None
    assert answers.find(b"q", 999) is None
    assert answers.find(b"other", 1_000) is None


def test_there_is_room_for_so_many() -> None:
    answers = RecentAnswers()
    for number in range(recent_answers._ANSWERS_MAX + 10):
        answers.keep(b"%d" % number, b"a", read_ms=0, age_ms_max=1)
    assert len(answers) == recent_answers._ANSWERS_MAX
    assert answers.find(b"9", 0) is None
    assert answers.find(b"10", 0) == b"a"


def test_bytes_are_counted_right_and_bounded() -> None:
    answers = RecentAnswers()
    chance = random.Random(5)
    for _ in range(3_000):
        size = chance.choice([1, 1_000, 100_000, 900_000, 2_000_000])
        answers.keep(b"%d" % chance.randrange(500), bytes(size), read_ms=0, age_ms_max=1)
        kept = sum(len(key) + len(found.reply) for key, found in answers._answers.items())
        assert answers._bytes == kept <= recent_answers._BYTES_MAX
        assert all(len(a.reply) < 1 << 20 for a in answers._answers.values())
    answers.clear()
    assert answers._bytes == len(answers) == 0
