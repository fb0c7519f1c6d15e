"""What services share of the ledger: the door to it, and the texts behind its row numbers."""

from __future__ import annotations

from engine.state import State
from server.application.gateway import Gateway
from server.transport.names import Names


class LedgerView:
    """The gateway, and the names of whatever state it has now."""

    __slots__ = ("_named_state", "_names", "gateway")

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._named_state: State | None = None
        self._names: Names | None = None

    @property
    def state(self) -> State:
        """The live state; see `Gateway.state`."""
        return self.gateway.state

    @property
    def names(self) -> Names:
        """The names of the live state. A rebuilt state is another object with names of its own."""
        state = self.gateway.state
        if self._names is None or self._named_state is not state:
            self._names = Names(state)
            self._named_state = state
        return self._names

    def ledger_seed(self) -> int:
        """What tells the ids made by two ledgers apart."""
        return int(self.gateway.state.meta["ledger_seed"][0])
