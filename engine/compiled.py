"""The decorator of every compiled kernel, and where compiled code is kept.

numba's cache notices a change in a function's own file but not in the files it calls into, so a
stale kernel could outlive an upgrade. Compiled code is therefore kept under a folder named after
a digest of the sources a kernel may call into: the engine's own, and the kernels of its folder and
of the packages around it; those of all of the engine's folders where it stands outside. Another
source, another folder.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

Integer = Any
"""A whole number in a kernel: ``int`` as written, 64 bits wide as compiled."""


_CONFIG: Any = numba.config
KEPT_IN = Path(_CONFIG.CACHE_DIR or Path.home() / ".cache" / "holdfast")
"""The folder of what is made once and read by every process."""
_ENGINE = Path(__file__).parent


@functools.cache
def _digest_of(folder: Path) -> str:
    """Digest of the kernels that those of `folder` may call."""
    digest = hashlib.blake2b(digest_size=8)
    around = [one for one in folder.parents if (one / "__init__.py").exists()]
    paths = [path for one in (*reversed(around), folder) for path in sorted(one.glob("*.py"))]
    if not folder.is_relative_to(_ENGINE):
        paths = [*sorted(_ENGINE.rglob("*.py")), *paths]
    for path in paths:
        source = path.read_bytes()
        if path.parent == _ENGINE or b"kernel" in source:
            digest.update(path.name.encode())
            digest.update(source)
    return digest.hexdigest()


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` with numba at its first call and keep the result on disk.

    Kernels allocate nothing, so numba's reference counting is left out (`_nrt`).
    """
    return _compiled(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A `kernel` whose code is put into its callers: for the steps of every create, whose many
    arguments, arrays among them, would go over the stack."""
    return _compiled(function, forceinline=True)


def _compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    njit: Any = numba.njit
    _CONFIG.CACHE_DIR = str(KEPT_IN / _digest_of(Path(function.__code__.co_filename).parent))
    compiled: Callable[..., Any] = njit(cache=True, error_model="numpy", _nrt=False, **options)(
        function
    )
    return compiled
