"""Has the system hand over the memory of the tables before the ledger needs it.

The tables are allocated at their limits, from pages that the system fills with zeros when a row in
them is written first. That is cheap to start with, and dear in a sale: of a bulk hold the first
pages took nearly half of the processor's time on one machine, and each huge page stops the writer
for as long as it takes. After some days every table has gone round once and no page is new any
more; a claim brings that forward to the first seconds after the start, and shows a machine that is
too small then and not in the peak.

It runs in a thread that yields to every other, while the ledger is served, and changes no byte.

Invariants
1. Only memory of arrays that the claim holds on to is asked for.
2. `left_bytes` reaches 0 only when all of it has been handed over.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from numpy.typing import NDArray

from server import logs

_log = logs.get("memory")

# Linux 5.14 and later; `mmap` has no name for it.
_MADV_POPULATE_WRITE: Final = 23
# Asked for in one go: the end of the server waits for no more than one.
_SLICE_BYTES: Final = 32 << 20
# Smaller ones come from memory that is in use anyway.
_LEAST_BYTES: Final = 1 << 20
# Written to in formats of the state that only a replay meets (`engine.formats`).
_UNUSED: Final = frozenset({"movement_text"})
# Of a thread, on Linux: it gets what the others leave.
_LOWEST_PRIORITY: Final = 19


class MemoryClaim:
    """One claim at a time, of the tables of the state that is served."""

    def __init__(self) -> None:
        self._under_way: _Claim | None = None

    @property
    def left_bytes(self) -> int:
        """What is still to be handed over."""
        return 0 if self._under_way is None else self._under_way.left_bytes

    def begin(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Claim the memory of those that are in use; a claim before it ends."""
        if self._under_way is not None:
            self._under_way.stop()
        self._under_way = _Claim([each for name, each in arrays.items() if name not in _UNUSED])

    async def close(self) -> None:
        """End it; nothing is given back."""
        if self._under_way is not None:
            self._under_way.stop()
            await asyncio.to_thread(self._under_way.join)


class _Claim(threading.Thread):
    """The thread of one claim."""

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        super().__init__(name="memory-claim", daemon=True)
        self._arrays = [each for each in arrays if each.nbytes >= _LEAST_BYTES]
        self._is_stopped = False
        self.left_bytes = sum(each.nbytes for each in self._arrays)
        self.start()

    def stop(self) -> None:
        """Do no more than what has begun."""
        self._is_stopped = True

    def run(self) -> None:
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        all_bytes = self.left_bytes
        try:
            for each in self._arrays:
                self._claim(each.ctypes.data, each.nbytes)
        except OSError as fault:
            _log.warning(
                "memory is not claimed ahead", reason=str(fault), left_bytes=self.left_bytes
            )
        else:
            if not self._is_stopped:
                _log.info("memory claimed", size_bytes=all_bytes)
        self._arrays.clear()

    def _claim(self, address: int, size: int) -> None:
        end = address + size
        while address < end and not self._is_stopped:
            following = min(end, address + _SLICE_BYTES)
            _populate(address, following)
            self.left_bytes -= following - address
            address = following


def _populate(address: int, end: int) -> None:
    """Have the pages of [address, end) in memory. Raises OSError where the system can not."""
    first = address // mmap.PAGESIZE * mmap.PAGESIZE
    # The interpreter's lock is not held meanwhile.
    if _libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _MADV_POPULATE_WRITE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_libc: Final = ctypes.CDLL(None, use_errno=True)
