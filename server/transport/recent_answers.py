"""Answers of a moment ago, for a server that is browned out: bounded in number, size and age."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

_ANSWERS_MAX = 2_048
# Larger answers are few, and would fill the memory.
_ANSWER_BYTES_MAX = 1 << 20
_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class _Answer:
    reply: bytes
    read_ms: int
    age_ms_max: int


class RecentAnswers:
    """Replies by the bytes of their requests. Times in ms of the ledger."""

    def __init__(self) -> None:
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, request: bytes, now_ms: int) -> bytes | None:
        """The reply to these bytes, while it is not too old. O(bytes of the request)."""
        found = self._answers.get(request)
        # A clock that went back makes an answer too old as well.
        if found is None or not 0 <= now_ms - found.read_ms <= found.age_ms_max:
            return None
        return found.reply

    def keep(self, request: bytes, reply: bytes, *, read_ms: int, age_ms_max: int) -> None:
        """Tell `reply` to who asks the same within `age_ms_max` of `read_ms`."""
        if len(request) + len(reply) > _ANSWER_BYTES_MAX:
            return
        self._drop(request)
        while self._answers and (
            len(self._answers) >= _ANSWERS_MAX
            or self._bytes + len(request) + len(reply) > _BYTES_MAX
        ):
            self._drop(next(iter(self._answers)))
        self._answers[request] = _Answer(reply, read_ms, age_ms_max)
        self._bytes += len(request) + len(reply)

    def clear(self) -> None:
        """Forget all of them."""
        self._answers.clear()
        self._bytes = 0

    def _drop(self, request: bytes) -> None:
        found = self._answers.pop(request, None)
        if found is not None:
            self._bytes -= len(request) + len(found.reply)
