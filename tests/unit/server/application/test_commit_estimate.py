"""The shortest recent commit, forgotten soon."""

from __future__ import annotations

from server.application.commit_estimate import CommitEstimate


def test_nothing_is_known_before_the_first_commit() -> None:
    assert CommitEstimate().commit_ms(10.0) == 0.0


def test_one_stall_does_not_count() -> None:
    estimate = CommitEstimate()
    for at, took_s in enumerate((0.002, 0.003, 5.0, 0.004)):
        estimate.note(at / 100, took_s)
    assert estimate.commit_ms(0.05) == 2.0


def test_a_slow_journal_shows_after_some_commits_and_is_forgotten_after_a_second() -> None:
    estimate = CommitEstimate()
    estimate.note(0.0, 0.001)
    for at in range(8):
        estimate.note(at / 10, 0.080)
    assert estimate.commit_ms(1.0) == 80.0
    assert estimate.commit_ms(1.71) == 0.0
