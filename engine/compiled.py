"""The decorator of every compiled kernel, and where compiled code is kept.

numba's cache notices a change in a function's own file but not in the files it calls into, so a
stale kernel could outlive an upgrade. Compiled code is therefore kept under a folder named after
a digest of all of the engine's sources: another source, another folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

Integer = Any
"""A whole number in a kernel: ``int`` as written, 64 bits wide as compiled."""


def _sources_digest() -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


_CONFIG: Any = numba.config
_BASE = Path(_CONFIG.CACHE_DIR or Path.home() / ".cache" / "holdfast")
_CONFIG.CACHE_DIR = str(_BASE / _sources_digest())


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` with numba at its first call and keep the result on disk.

    Kernels allocate nothing, so numba's reference counting is left out (`_nrt`).
    """
    njit: Any = numba.njit
    compiled: Callable[..., Any] = njit(cache=True, error_model="numpy", _nrt=False)(function)
    return compiled
