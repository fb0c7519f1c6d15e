"""Pieces that wait for the writer, by priority class, within limits.

A piece is what one caller is answered together: one command, an atomic group, or a bulk message.
Pieces of one class leave in the order in which they came; a more urgent class leaves first, so
commands that depend on each other belong into one class, or the second waits for the first's
answer.

Invariants
1. What `push` takes in leaves by `take` or by `clear`, once.
2. A class's share of the queue is smaller the less urgent it is, so a flood of reservations never
   keeps out the confirmations that free the queue again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from server.application.sequencer_errors import DeadlinePassed, Overloaded

# Priority classes, most urgent first.
SETTLE: Final = 0  # confirm, cancel: they free what others wait for
EXTEND: Final = 1  # extend, fulfil, return: about orders that exist
RESERVE: Final = 2  # create, revise, reassign
REPORT: Final = 3  # adjustments, counts, feeds, network data
CLASSES: Final = 4
CLASS_NAMES: Final = ("settle", "extend", "reserve", "report")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may wait, and how much one batch takes. Crossing one is named in Overloaded."""

    queue_commands_max: int = 65_536
    # The part of it each class may fill.
    class_shares: tuple[float, float, float, float] = (1.0, 0.9, 0.75, 0.6)
    # A class whose oldest piece has waited longer takes no more in; 0: no such limit. Feeds wait
    # as long as they must, their streams have flow control.
    queue_age_ms_max: tuple[int, int, int, int] = (0, 1000, 250, 0)
    # One batch, one journal record: bounded, so that the next one never waits long.
    batch_commands_max: int = 8_192
    batch_bytes_max: int = 16 * 1024 * 1024
    # One piece alone may be larger than a batch; beyond this it is refused with ValueError.
    piece_bytes_max: int = 128 * 1024 * 1024


class Piece:
    """One caller's commands and the future of their answer."""

    __slots__ = (
        "answers_early",
        "batch",
        "count",
        "deadline_ms",
        "enqueued_s",
        "future",
        "size_bytes",
    )

    def __init__(
        self,
        batch: CommandBatch,
        future: asyncio.Future[Outcomes],
        *,
        deadline_ms: int | None,
        answers_early: bool,
        enqueued_s: float,
    ) -> None:
        self.batch = batch
        self.future = future
        self.count = len(batch.headers)
        self.size_bytes = batch.headers.nbytes + batch.lines.nbytes + batch.text.nbytes
        self.deadline_ms = deadline_ms
        self.answers_early = answers_early
        self.enqueued_s = enqueued_s


class PieceQueue:
    """Bounded deques, one per class."""

    def __init__(self, limits: QueueLimits) -> None:
        self.limits = limits
        self.commands = 0
        self._classes: tuple[deque[Piece], ...] = tuple(deque() for _ in range(CLASSES))
        self._class_commands_max = [
            max(1, int(limits.queue_commands_max * share)) for share in limits.class_shares
        ]
        self._class_age_s_max = [limit / 1e3 for limit in limits.queue_age_ms_max]

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._classes)

    def push(self, piece: Piece, priority: int) -> None:
        """Take `piece` in. Raises Overloaded; ValueError when it can never be taken. O(1)."""
        waiting = self._classes[priority]
        if self.commands and self.commands + piece.count > self._class_commands_max[priority]:
            raise Overloaded("queue_commands_max", retry_after_ms=self._wait_ms(piece))
        age_s_max = self._class_age_s_max[priority]
        if age_s_max and waiting and piece.enqueued_s - waiting[0].enqueued_s > age_s_max:
            raise Overloaded("queue_age_ms_max", retry_after_ms=self._wait_ms(piece))
        if piece.size_bytes > self.limits.piece_bytes_max:
            raise ValueError(
                f"{piece.size_bytes} bytes of commands in one piece, "
                f"piece_bytes_max is {self.limits.piece_bytes_max}"
            )
        waiting.append(piece)
        self.commands += piece.count

    def take(self, now_ms: int, *, commit_ms: float) -> list[Piece]:
        """The pieces of the next batch, most urgent first. O(pieces).

        Drops what nobody waits for any more, and what could not be durable (which takes
        `commit_ms`) before its deadline.
        """
        taken: list[Piece] = []
        commands_left = self.limits.batch_commands_max
        bytes_left = self.limits.batch_bytes_max
        for waiting in self._classes:
            while waiting:
                piece = waiting[0]
                if piece.future.done():  # its caller has gone: nothing happened, nothing will
                    self._drop(waiting)
                    continue
                if piece.deadline_ms is not None and now_ms + commit_ms >= piece.deadline_ms:
                    self._drop(waiting)
                    piece.future.set_exception(
                        DeadlinePassed("the deadline came before the command's turn")
                    )
                    continue
                if taken and (piece.count > commands_left or piece.size_bytes > bytes_left):
                    return taken
                self._drop(waiting)
                taken.append(piece)
                commands_left -= piece.count
                bytes_left -= piece.size_bytes
        return taken

    def clear(self) -> list[Piece]:
        """All that wait, out of the queue."""
        pieces = [piece for waiting in self._classes for piece in waiting]
        for waiting in self._classes:
            waiting.clear()
        self.commands = 0
        return pieces

    def age_s(self, elapsed_s: float) -> list[float]:
        """How long the oldest piece of each class has waited; 0 where none waits."""
        return [elapsed_s - waiting[0].enqueued_s if waiting else 0.0 for waiting in self._classes]

    def _drop(self, waiting: deque[Piece]) -> None:
        self.commands -= waiting.popleft().count

    def _wait_ms(self, piece: Piece) -> int:
        """What the oldest one has waited is the best guess of what a new one would."""
        oldest_s = min((w[0].enqueued_s for w in self._classes if w), default=piece.enqueued_s)
        return min(5_000, max(10, int((piece.enqueued_s - oldest_s) * 1e3)))
