"""A server's time as a standby: what it tells meanwhile, and how it ends.

Calls are refused with SHARD_MOVED, but reads where the settings allow them. Health is NOT_SERVING,
except for the name `holdfast.ready`, which is SERVING while the standby keeps up: then the other
server may be stopped.

Callers: `server.lifecycle`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from engine.state import State
from server import logs
from server.application.gateway import Gateway
from server.application.ledger import Ledger
from server.application.recovery import RecoveryReport
from server.application.standby import Event, Standby
from server.config import Config
from server.journal.errors import JournalError
from server.journal.port import Journal
from server.transport.health import Health

_log = logs.get("standby")

# Further behind than this it does not keep up: a takeover would take that much longer.
_BEHIND_S_MAX: Final = 1.0


class StandingBy:
    """One standby, from its beginning to its turn."""

    def __init__(
        self,
        config: Config,
        gateway: Gateway,
        health: Health,
        *,
        open_journal: Callable[[], Awaitable[Journal]],
    ) -> None:
        """Nothing is read yet."""
        self._config = config
        self._gateway = gateway
        self._health = health
        self._open_journal = open_journal
        self._standby: Standby | None = None
        self._turn_s = 0.0

    async def begin(self) -> State:
        """Read the journal to its end; the state that follows it. Raises JournalError."""
        began_s = asyncio.get_running_loop().time()
        standby = await Standby.open(
            self._open_journal, self._config.capacity, on_event=self._heard
        )
        self._standby = standby
        self._gateway.stand_by(standby, reads=self._config.standby_reads)
        self._health.set(False, ready=True)
        _log.info(
            "standing by",
            journal=standby.journal.place,
            reads=self._config.standby_reads,
            revision=standby.state.revision,
            seconds=round(asyncio.get_running_loop().time() - began_s, 3),
        )
        return standby.state

    async def until_owner(
        self, holder: str, on_lost: Callable[[JournalError], None]
    ) -> tuple[Ledger, RecoveryReport, float]:
        """Follow until the ledger is this process's: it, and when its turn began, in loop time.

        Raises JournalError when this process can be no standby.
        """
        assert self._standby is not None
        ledger, report = await self._standby.run(holder, on_lost, on_step=self._tell_health)
        return ledger, report, self._turn_s

    def take_over(self) -> None:
        """Have it take the journal from whoever owns it."""
        if self._standby is not None:
            _log.info("takeover asked for", owner=self._standby.owner or None)
            self._standby.take_over()

    async def close(self) -> None:
        """End it before its turn has come."""
        if self._standby is not None:
            await self._standby.close()

    def _tell_health(self) -> None:
        assert self._standby is not None
        keeps_up = self._standby.behind_s() < _BEHIND_S_MAX
        if keeps_up != self._health.is_ready:
            self._health.set(False, ready=keeps_up)
            _log.info(
                "keeps up" if keeps_up else "falls behind", revision=self._standby.state.revision
            )

    def _heard(self, event: Event, reason: str) -> None:
        if event is Event.TURN:
            self._turn_s = asyncio.get_running_loop().time()
            _log.info(event.value, reason=reason)
        else:
            _log.warning(event.value, reason=reason)
