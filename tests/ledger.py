"""A ledger that reads like a story: for tests of the engine, and of whoever stands on it.

    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    hold = ledger.create([("pear", "berlin", 2)])
    assert ledger.at("pear", "berlin").held == 2
    assert ledger.confirm(hold).ok

Names become known when they are first used. After every command the whole ledger is checked
(`engine.invariants.check`); `replayed` applies everything again to a fresh ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine import commands, invariants, machine, outcomes, reads, tables
from engine.balances import read_balance
from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from engine.state import Capacity, State
from tests import columns
from tests.columns import Line

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000

Wanted = tuple[str, str, int]
"""(sku, node, quantity)"""

SMALL = Capacity(
    positions=1 << 10,
    names=1 << 10,
    name_bytes=1 << 14,
    group_members=1 << 8,
    reservations=1 << 10,
    takes=1 << 12,
    supplies=1 << 8,
    requests=1 << 11,
    reply_details=1 << 13,
    movements=1 << 12,
)
"""Room for a story; small, as every check walks all of it."""


@dataclass(frozen=True, slots=True)
class Balances:
    """A position's balances, in units."""

    on_hand: int
    held: int
    committed: int
    withheld: int
    available: int


@dataclass(frozen=True, slots=True)
class Take:
    """What a line has at one place; `place` is (kind, sku, node or "", scope or "")."""

    line: int
    place: tuple[int, str, str, str]
    quantity: int
    fulfilled: int
    cancelled: int
    returned: int
    shortfall: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one command: its OUTCOME row and its DETAIL rows, copied."""

    row: Any
    details: Any
    reservation_id: str

    @property
    def ok(self) -> bool:
        """Whether the command took effect."""
        return self.code == outcomes.OK

    @property
    def code(self) -> int:
        """outcomes.OK or the reason of the refusal."""
        return int(self.row["code"])

    @property
    def reason(self) -> str:
        """The reason's name, "OK" when there is none."""
        return outcomes.REASON_NAMES[self.code]

    @property
    def state(self) -> int:
        """The reservation's state after the command."""
        return int(self.row["state"])

    @property
    def revision(self) -> int:
        """The ledger's revision that the command got."""
        return int(self.row["revision"])

    @property
    def etag(self) -> int:
        """The reservation's etag after the command."""
        return int(self.row["etag"])

    @property
    def replayed(self) -> bool:
        """Whether this is the answer to an earlier command."""
        return bool(self.row["flags"] & outcomes.REPLAYED)

    def shortages(self) -> list[tuple[int, int, int]]:
        """(line, asked, available) of each line that was short."""
        return [
            (int(detail["line"]), int(detail["quantity"]), int(detail["available"]))
            for detail in self.details
            if detail["kind"] == outcomes.SHORTAGE
        ]


class Ledger:
    """A state, its clock, and everything that was applied to it.

    `checked` False leaves out the check after each command, for tests that apply very many;
    `format_number` is that of the ledger's beginning.
    """

    def __init__(
        self,
        capacity: Capacity = SMALL,
        *,
        now_ms: int = START_MS,
        checked: bool = True,
        format_number: int = tables.FORMAT,
    ) -> None:
        self.capacity = capacity
        self.checked = checked
        self.now_ms = now_ms
        self.format_number = format_number
        self.state = State.create(capacity, format_number=format_number)
        self.history: list[tuple[int, CommandBatch]] = []
        self._places: dict[int, tuple[int, str, str, str]] = {}

    # --- applying -----------------------------------------------------------

    def apply(self, batch: CommandBatch) -> Outcomes:
        """Apply a batch at the clock's time, note it, and check the ledger."""
        self.history.append((self.now_ms, batch))
        answered = machine.apply(self.state, self.now_ms, batch)
        if self.checked:
            assert invariants.check(self.state) == []
        return answered

    def run(self, *batches: CommandBatch) -> list[Answer]:
        """Apply commands as one batch; an answer each."""
        answered = self.apply(columns.join(*batches))
        answers = []
        at = 0
        for row in answered.rows:
            details = answered.details[at : at + int(row["detail_count"])]
            at += int(row["detail_count"])
            answers.append(Answer(row.copy(), details.copy(), self.id_of(row)))
        return answers

    def one(self, batch: CommandBatch) -> Answer:
        """Apply one command."""
        (answer,) = self.run(batch)
        return answer

    def id_of(self, row: Any) -> str:
        reservation = int(row["reservation"])
        if reservation < 0 or not self.state.reservations["state"][reservation]:
            return ""
        return reads.reservation_id(self.state, reservation)

    def wait(self, ms: int) -> int:
        """Let time pass and, as the sequencer does, release what is due; holds released."""
        self.now_ms += ms
        if -1 < machine.next_expiry_ms(self.state) <= self.now_ms:
            return int(self.one(columns.expire()).row["affected"])
        return 0

    def replayed(self) -> Ledger:
        """A fresh ledger to which everything was applied again."""
        fresh = Ledger(self.capacity, checked=False, format_number=self.format_number)
        for fresh.now_ms, batch in self.history:
            fresh.apply(batch)
        return fresh

    def restored(self) -> Ledger:
        """A ledger restored from this one's snapshot. Its history is empty."""
        copy = Ledger(self.capacity, now_ms=self.now_ms, checked=self.checked)
        copy.state = State.restore(self.state.sections())
        return copy

    def hash(self) -> bytes:
        """Hash of the state."""
        return invariants.state_hash(self.state)

    # --- names --------------------------------------------------------------

    def know(self, kind: int, *names: str) -> None:
        """Define the names that are not known yet."""
        new = [name for name in names if name and reads.find_name(self.state, kind, name) < 0]
        if new:
            assert self.one(columns.define(kind, *new)).ok

    def channel(self, *names: str) -> None:
        """Make channels known."""
        self.know(commands.CHANNEL, *names)

    def group(self, name: str, *nodes: str) -> Answer:
        """Define a group of nodes in the order in which they are taken from."""
        self.know(commands.NODE, *nodes)
        return self.one(columns.define_group(name, *nodes))

    # --- stock --------------------------------------------------------------

    def stock(self, sku: str, node: str, units: int) -> Answer:
        """So many units are there: names defined, count applied."""
        self.know(commands.SKU, sku)
        self.know(commands.NODE, node)
        return self.count(sku, node, units)

    def count(
        self,
        sku: str,
        node: str,
        units: int,
        *,
        as_of_ms: int = 0,
        policy: int = commands.REPORT,
        request_id: str = "",
    ) -> Answer:
        """Set on_hand to what was counted."""
        line = Line(sku, node, quantity=units, time_ms=as_of_ms, policy=policy)
        return self.one(columns.command(commands.COUNT, [line], request_id=request_id))

    def adjust(self, sku: str, node: str, difference: int, **header: Any) -> Answer:
        """Add to on_hand, or take from it."""
        line = Line(sku, node, quantity=difference)
        return self.one(columns.command(commands.ADJUST, [line], **header))

    def withhold(self, sku: str, node: str, bucket: int, difference: int, **header: Any) -> Answer:
        """Put units into a withheld bucket, or take them out."""
        line = Line(sku, node, quantity=difference, policy=bucket)
        return self.one(columns.command(commands.WITHHOLD, [line], **header))

    def transfer(
        self,
        sku: str,
        source: str,
        target: str,
        units: int,
        *,
        arrives_ms: int = 0,
        name: str = "",
        **header: Any,
    ) -> Answer:
        """Move units between nodes; with `arrives_ms` they travel as the supply `name`."""
        self.know(commands.NODE, target)
        line = Line(sku, source, target, units, time_ms=arrives_ms, text=name)
        return self.one(columns.command(commands.TRANSFER, [line], **header))

    # --- supply and limits --------------------------------------------------

    def supply(
        self,
        name: str,
        sku: str,
        node: str,
        units: int,
        expected_ms: int,
        *,
        policy: int = commands.REPORT,
        kind: int = commands.PURCHASE_ORDER,
        source: str = "",
    ) -> Answer:
        """Announce a supply, or change it; `source` is the node that a transfer comes from."""
        self.know(commands.SKU, sku)
        self.know(commands.NODE, node)
        line = Line(
            sku,
            node,
            name,
            units,
            policy=kind,
            time_ms=expected_ms,
            flags=policy,
            text=name,
        )
        return self.one(columns.command(commands.UPSERT_SUPPLY, [line], channel=source))

    def receive(
        self,
        name: str,
        units: int,
        *,
        final: bool = False,
        policy: int = commands.REPORT,
        **header: Any,
    ) -> Answer:
        """Units of a supply arrive."""
        line = Line(scope=name, quantity=units, flags=policy)
        flags = commands.FINAL if final else 0
        return self.one(columns.command(commands.RECEIVE_SUPPLY, [line], flags=flags, **header))

    def cancel_supply(self, name: str, *, policy: int = commands.REPORT) -> Answer:
        """A supply will not come."""
        return self.one(columns.command(commands.CANCEL_SUPPLY, [Line(scope=name, flags=policy)]))

    def backorder(self, sku: str, node: str, limit: int) -> Answer:
        """Set how many units may be promised beyond all supply."""
        self.know(commands.SKU, sku)
        self.know(commands.NODE, node)
        return self.one(
            columns.command(commands.SET_BACKORDER_LIMIT, [Line(sku, node, quantity=limit)])
        )

    def capacity_of(self, day: str, node: str, units: int) -> Answer:
        """Set a node's pick capacity on a day."""
        self.know(commands.NODE, node)
        line = Line(day, node, quantity=units, kind=commands.NODE_CAPACITY, text=day)
        return self.one(columns.command(commands.SET_CAPACITY, [line]))

    def fence(self, channel: str, sku: str, node: str, units: int) -> Answer:
        """Set units apart for a channel."""
        self.channel(channel)
        line = Line(sku, node, channel, units)
        return self.one(columns.command(commands.SET_CHANNEL_FENCE, [line]))

    def limit(self, sku: str, units: int | None) -> Answer:
        """Set what one owner may buy; None lifts the limit."""
        self.know(commands.SKU, sku)
        line = Line(sku, quantity=units or 0)
        flags = commands.UNLIMITED if units is None else 0
        return self.one(columns.command(commands.SET_PURCHASE_LIMIT, [line], flags=flags))

    def freeze(self, node: str, frozen: bool = True) -> Answer:
        """Stop, or allow, new reservations at a node."""
        line = Line(node=node, quantity=int(frozen))
        return self.one(columns.command(commands.SET_NODE_FROZEN, [line]))

    # --- reservations -------------------------------------------------------

    def create(
        self,
        wanted: Iterable[Wanted | Line],
        *,
        reservation_id: str = "",
        request_id: str = "",
        owner: str = "",
        channel: str = "",
        policy: int = commands.ON_HAND,
        fill_policy: int = commands.ALL_OR_NONE,
        replace: bool = False,
        ttl_ms: int = 15 * MINUTE_MS,
    ) -> Answer:
        """Hold lines at nodes; lines of another kind are given as `Line`."""
        return self.one(
            self.creating(
                wanted,
                reservation_id=reservation_id,
                request_id=request_id,
                owner=owner,
                channel=channel,
                policy=policy,
                fill_policy=fill_policy,
                replace=replace,
                ttl_ms=ttl_ms,
            )
        )

    @staticmethod
    def creating(
        wanted: Iterable[Wanted | Line],
        *,
        policy: int = commands.ON_HAND,
        replace: bool = False,
        ttl_ms: int = 15 * MINUTE_MS,
        **header: Any,
    ) -> CommandBatch:
        """The command of `create`, not applied."""
        flags = commands.REPLACE_OWNER_HOLDS if replace else 0
        return columns.command(
            commands.CREATE, _lines_of(wanted, policy), flags=flags, ttl_ms=ttl_ms, **header
        )

    def create_all(self, *creates: CommandBatch) -> list[Answer]:
        """Apply CREATEs of which all stand or none does."""
        return self.run(columns.atomic(*creates))

    def confirm(self, hold: Answer | str, lines: Sequence[Line] = (), **header: Any) -> Answer:
        """HELD -> CONFIRMED, whole or with quantities by line."""
        return self._settle(commands.CONFIRM, hold, lines, **header)

    def cancel(self, hold: Answer | str, lines: Sequence[Line] = (), **header: Any) -> Answer:
        """Give back everything, or quantities by line."""
        return self._settle(commands.CANCEL, hold, lines, **header)

    def fulfill(self, hold: Answer | str, lines: Sequence[Line] = (), **header: Any) -> Answer:
        """Everything open ships, or quantities by line."""
        return self._settle(commands.FULFILL, hold, lines, **header)

    def give_back(self, hold: Answer | str, lines: Sequence[Line], **header: Any) -> Answer:
        """Shipped units come back; a line's `policy` is the bucket, its `scope` the node."""
        return self._settle(commands.RETURN, hold, lines, **header)

    def extend(self, hold: Answer | str, ttl_ms: int, **header: Any) -> Answer:
        """Let a hold live at least so long from now."""
        return self._settle(commands.EXTEND, hold, (), ttl_ms=ttl_ms, **header)

    def revise(
        self,
        hold: Answer | str,
        wanted: Iterable[Wanted | Line],
        *,
        policy: int = commands.ON_HAND,
        **header: Any,
    ) -> Answer:
        """Replace a reservation's lines, or change nothing."""
        return self._settle(commands.REVISE, hold, _lines_of(wanted, policy), **header)

    def reassign(self, hold: Answer | str, moves: Sequence[Line], **header: Any) -> Answer:
        """Move units of lines from `node` to `scope`."""
        return self._settle(commands.REASSIGN, hold, moves, **header)

    def reroute(
        self,
        hold: Answer | str,
        wanted: Iterable[Wanted | Line],
        *,
        policy: int = commands.ON_HAND,
        **header: Any,
    ) -> Answer:
        """Replace what a reservation has open, line by line, by the same units elsewhere."""
        return self._settle(commands.REROUTE, hold, _lines_of(wanted, policy), **header)

    def _settle(
        self, kind: int, hold: Answer | str, lines: Sequence[Line], **header: Any
    ) -> Answer:
        reservation_id = hold if isinstance(hold, str) else hold.reservation_id
        return self.one(columns.command(kind, lines, reservation_id=reservation_id, **header))

    # --- reading ------------------------------------------------------------

    def at(self, sku: str, node: str) -> Balances:
        """The balances of a SKU at a node; all 0 where there never was any."""
        row = reads.position_row(self.state, sku, node)
        return self.balances(row) if row >= 0 else Balances(0, 0, 0, 0, 0)

    def balances(self, row: int) -> Balances:
        """The balances of a position."""
        position = self.state.positions[row]
        return Balances(
            int(position["on_hand"]),
            int(position["held"]),
            int(position["committed"]),
            int(position["withheld"]),
            reads.available(self.state, row),
        )

    def causes(self) -> list[reads.Cause]:
        """Why the movements that are kept were made, from old to new."""
        meta, size = self.state.meta[0], self.capacity.movements
        numbers = range(int(meta["movement_oldest"]), int(meta["movement_next"]))
        return [reads.movement_cause(self.state, number % size) for number in numbers]

    def source_of(self, name: str) -> str:
        """The node that a supply comes from, as an answer tells it; empty where it is not known."""
        row = int(self.state.supplies["position"][reads.supply_row(self.state, name)])
        return reads.name_text(self.state, int(read_balance(self.state, row)["source"]) - 1)

    def supply_balances(self, name: str) -> Balances:
        """The balances of a supply: on_hand is what is still to come."""
        row = reads.supply_row(self.state, name)
        return self.balances(int(self.state.supplies["position"][row]))

    def state_of(self, hold: Answer | str) -> int:
        """The reservation's state; 0 when it is unknown."""
        row = self.row_of(hold)
        return int(self.state.reservations["state"][row]) if row >= 0 else 0

    def row_of(self, hold: Answer | str) -> int:
        """The reservation's row; -1 when it is unknown."""
        reservation_id = hold if isinstance(hold, str) else hold.reservation_id
        return reads.reservation_row(self.state, reservation_id)

    def takes(self, hold: Answer | str) -> list[Take]:
        """What the reservation has, in its order."""
        found = []
        for row in reads.takes_of(self.state, self.row_of(hold)):
            take = self.state.takes[row]
            found.append(
                Take(
                    int(take["line"]),
                    self.place(int(take["position"])),
                    int(take["quantity"]),
                    int(take["fulfilled"]),
                    int(take["cancelled"]),
                    int(take["returned"]),
                    int(take["shortfall"]),
                )
            )
        return found

    def place(self, row: int) -> tuple[int, str, str, str]:
        """A position in words: (kind, sku, node, scope). It is the same for ever."""
        if row not in self._places:
            position = self.state.positions[row]
            self._places[row] = (
                int(position["kind"]),
                reads.name_text(self.state, int(position["sku"])),
                reads.name_text(self.state, int(position["node"])),
                reads.name_text(self.state, int(position["scope"])),
            )
        return self._places[row]

    def open_units(self, hold: Answer | str) -> dict[str, int]:
        """Units on hand that the reservation holds or has committed, by node."""
        units: dict[str, int] = {}
        for take in self.takes(hold):
            if take.place[0] == tables.STOCK and take.quantity:
                units[take.place[2]] = units.get(take.place[2], 0) + take.quantity
        return units


def _lines_of(wanted: Iterable[Wanted | Line], policy: int) -> list[Line]:
    return [
        item
        if isinstance(item, Line)
        else Line(item[0], item[1], quantity=item[2], number=number, policy=policy)
        for number, item in enumerate(wanted)
    ]
