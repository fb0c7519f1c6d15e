"""Property tests without a deadline per example: the first one may compile a kernel."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("kernels", deadline=None)
settings.load_profile("kernels")
