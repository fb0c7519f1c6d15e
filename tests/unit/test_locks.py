"""The lock files: they satisfy pyproject.toml, agree with each other, and name no host."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.lock", "deploy/runtime.lock", "deploy/build.lock"]


def pins(lock: str) -> Iterator[tuple[str, Version, bool]]:
    """Each pin of a lock file: name, version, whether a hash follows it."""
    entries = (ROOT / lock).read_text().replace("\\\n", " ").splitlines()
    for entry in entries:
        if entry and not entry.lstrip().startswith("#"):
            text, *hashes = entry.split("--hash=sha256:")
            requirement = Requirement(text)
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            yield canonicalize_name(requirement.name), Version(specifier.version), bool(hashes)


def versions(lock: str) -> dict[str, set[Version]]:
    """The versions a lock holds of each package; two where Pythons differ."""
    found: dict[str, set[Version]] = {}
    for name, version, _ in pins(lock):
        found.setdefault(name, set()).add(version)
    return found


def declared() -> list[Requirement]:
    """What pyproject.toml asks for: to run, in every extra, and to build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    texts = [
        *project["project"]["dependencies"],
        *(text for extra in project["project"]["optional-dependencies"].values() for text in extra),
        *project["build-system"]["requires"],
    ]
    return [requirement for text in texts if (requirement := Requirement(text)).name != "holdfast"]


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_lock_satisfies_pyproject(requirement: Requirement) -> None:
    locked = versions("requirements.lock").get(canonicalize_name(requirement.name))
    assert locked, f"{requirement} is not in requirements.lock: run `make lock`"
    assert all(requirement.specifier.contains(version) for version in locked)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    assert [name for name, _, hashed in pins(lock) if not hashed] == []


@pytest.mark.parametrize("lock", LOCKS[1:])
def test_image_takes_the_tested_versions(lock: str) -> None:
    everything = versions("requirements.lock")
    assert {
        name: found for name, found in versions(lock).items() if found != everything[name]
    } == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_host(lock: str) -> None:
    assert "://" not in (ROOT / lock).read_text()


def test_build_lock_is_made_from_the_build_requirements() -> None:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    lines = (ROOT / "deploy/build.in").read_text().splitlines()
    assert {line for line in lines if line and not line.startswith("#")} == set(requires)
