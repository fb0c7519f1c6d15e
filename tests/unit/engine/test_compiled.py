"""Compiled code is kept under a digest of all the sources it may call into."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import compiled

_KERNEL = "from engine.compiled import kernel  # {}\n"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for file in (
        "engine/steps.py",
        "engine/routing/search.py",
        "server/fields.py",
        "server/transport/decode.py",
    ):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name("__init__.py").touch()
        path.write_text(_KERNEL.format("first"))
    (tmp_path / "engine/routing/table.py").write_text("nothing that is compiled\n")
    monkeypatch.setattr(compiled, "_ENGINE", tmp_path / "engine")
    return tmp_path


def digests(house: Path) -> dict[str, str]:
    folders = ("engine", "engine/routing", "server/transport")
    return {one: compiled._digest_of.__wrapped__(house / one) for one in folders}


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("engine/steps.py", {"engine", "engine/routing", "server/transport"}),
        ("engine/routing/search.py", {"engine/routing", "server/transport"}),
        ("server/transport/decode.py", {"server/transport"}),
        ("server/fields.py", {"server/transport"}),
        ("engine/routing/table.py", set[str]()),
    ],
)
def test_a_change_moves_those_that_may_call_it(house: Path, changed: str, stale: set[str]):
    before = digests(house)
    text = "also nothing\n" if "table" in changed else _KERNEL.format("second")
    (house / changed).write_text(text)
    after = digests(house)
    assert {folder for folder in after if after[folder] != before[folder]} == stale
