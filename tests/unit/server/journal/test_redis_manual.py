"""docs/redis.md says what the code does."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from server.journal.redis_checks import ACL_RULES
from server.journal.redis_place import RedisPlace

MANUAL = (Path(__file__).parents[4] / "docs" / "redis.md").read_text()


def test_the_manual_gives_the_very_rules_that_the_tests_run_with() -> None:
    assert f"ACL SETUSER holdfast on >PASSWORD {ACL_RULES}\n" in MANUAL


def test_the_manual_names_every_option() -> None:
    options = [item.name for item in fields(RedisPlace) if "option" in item.metadata]
    assert options
    table = MANUAL[MANUAL.index("## The URL") : MANUAL.index("## When something fails")]
    assert [name for name in options if f"`{name}`" not in table] == []
