"""Which solver made a plan: the package's version and a digest of the solver's sources."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

import engine.routing


@cache
def solver_version() -> str:
    """For example ``0.1.0+3f9c2b71``."""
    digest = hashlib.blake2b(digest_size=4)
    for path in sorted(Path(engine.routing.__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return f"{metadata.version('holdfast')}+{digest.hexdigest()}"
