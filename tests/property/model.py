"""The ledger once more, without a thought for speed: what each command means.

Written from the contract's meaning, not from the kernels. `Model.apply` takes the operations of
one batch, and for each says what the answer must be (`Expected`); where the contract leaves a
choice of reasons, any of `codes` will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from engine import commands, outcomes
from tests.columns import Line
from tests.property.operations import Operation
from tests.property.world import Place, Reservation, Stock, Supply, Take, World

OK = {outcomes.OK}
SKEW_MS = 300_000
BUCKETS = (commands.SAFETY_STOCK, commands.DAMAGED, commands.QUALITY_CONTROL, commands.FROZEN)


class Refused(Exception):
    """The command has no effect; `codes` are the reasons that fit."""

    def __init__(self, *codes: int) -> None:
        super().__init__(*codes)
        self.codes = set(codes)


@dataclass
class Expected:
    """What an answer must be. None: not looked at."""

    codes: set[int]
    revision: int
    replay_of: int | None = None  # number of the operation whose answer comes again
    reservation: Reservation | None = None  # as it stands right after the command
    affected: int | None = None


@dataclass
class Names:
    """What is defined."""

    skus: set[str] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    channels: set[str] = field(default_factory=set)
    groups: dict[str, list[str]] = field(default_factory=dict)


class Model:
    """The state, and the meaning of every command."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.world = World()
        self.now_ms = 0
        self.revision = 0
        self.asked: dict[str, tuple[Operation, int]] = {}  # request id -> (operation, number)
        self.made_by: dict[str, Operation] = {}  # reservation id -> CREATE
        self.answered: list[Expected] = []
        self._replaced: list[Reservation] = []  # holds that the running CREATEs replace

    # --- a batch ----------------------------------------------------------------------------

    def apply(
        self, now_ms: int, operations: Sequence[Operation], rows: Sequence[tuple[int, str]]
    ) -> list[Expected]:
        """Apply a batch. `rows` are the row and id of the reservation each answer names."""
        self.now_ms = max(self.now_ms, now_ms)
        first = len(self.answered)
        at = 0
        while at < len(operations):
            operation = operations[at]
            size = 1
            if operation.kind == commands.CREATE:
                size = min(max(1, operation.amount), len(operations) - at)
            self._apply_group(operations[at : at + size], rows[at : at + size])
            at += size
        return self.answered[first:]

    def _apply_group(self, group: Sequence[Operation], rows: Sequence[tuple[int, str]]) -> None:
        """One command, or CREATEs that all stand or all fall."""
        before = self.world.copy() if len(group) > 1 else self.world
        made_before = dict(self.made_by)
        began = self.revision
        self._replaced = []
        expected: list[Expected] = []
        new: list[bool] = []
        refused = False
        seen: set[str] = set()
        for operation, (row, name) in zip(group, rows, strict=True):
            known = self.asked.get(operation.request_id) if operation.request_id else None
            new.append(False)
            if known is not None:
                expected.append(self._recall(operation, *known))
            elif operation.request_id in seen:
                expected.append(Expected({outcomes.REQUEST_ID_REUSED}, self.revision))
            else:
                new[-1] = True
                self.revision += 1
                if refused:
                    expected.append(Expected({outcomes.BATCH_ABORTED}, self.revision))
                else:
                    expected.append(self._apply_one(operation, began, row, name))
            refused = refused or expected[-1].codes != OK
            if operation.request_id:
                seen.add(operation.request_id)
        if refused and len(group) > 1:
            self.world = before
            self.made_by = made_before
            for place, each in enumerate(expected):
                if each.codes == OK and new[place] and not self._is_old(group[place]):
                    expected[place] = Expected({outcomes.BATCH_ABORTED}, each.revision)
        else:
            for hold in self._replaced:
                hold.etag = self.revision
            self._serve()
            for each in expected:
                each.reservation = each.reservation and each.reservation.copy()
        for operation, each, is_new in zip(group, expected, new, strict=True):
            if is_new and operation.request_id:
                self.asked[operation.request_id] = (operation, len(self.answered))
            self.answered.append(each)

    def _is_old(self, operation: Operation) -> bool:
        """Whether a CREATE only named a reservation that stood before its group."""
        return operation.reservation_id in self.made_by

    def _recall(self, operation: Operation, first: Operation, number: int) -> Expected:
        if not operation.asks_the_same_as(first):
            return Expected({outcomes.REQUEST_ID_REUSED}, self.revision)
        again = self.answered[number]
        return Expected(again.codes, again.revision, replay_of=number)

    def _apply_one(self, operation: Operation, began: int, row: int, name: str) -> Expected:
        kind = operation.kind
        expected = Expected(OK, self.revision)
        try:
            if kind == commands.CREATE:
                expected.reservation = self._create(operation, began, row, name)
            elif kind == commands.EXPIRE:
                expected.affected = self._expire(operation.amount)
            elif kind in _SETTLERS:
                expected.reservation = _SETTLERS[kind](self, operation)
            else:
                expected.affected = _KEEPERS[kind](self, operation)
        except Refused as refusal:
            expected.codes = refusal.codes
        return expected

    # --- CREATE -----------------------------------------------------------------------------

    def _create(self, operation: Operation, began: int, row: int, name: str) -> Reservation:
        existing = self.world.reservations.get(operation.reservation_id)
        if existing is not None:
            if self.made_by[existing.name].asks_the_same_as(operation):
                return existing
            raise Refused(outcomes.RESERVATION_EXISTS)
        if operation.channel and operation.channel not in self.names.channels:
            raise Refused(outcomes.CHANNEL_NOT_FOUND)
        replaced = []
        if operation.has(commands.REPLACE_OWNER_HOLDS) and operation.owner:
            replaced = [
                each
                for each in self.world.reservations.values()
                if each.owner == operation.owner
                and each.state == outcomes.HELD
                and each.made <= began
            ]
        kept = [each.copy() for each in replaced]
        for each in replaced:
            self._close(each, outcomes.CANCELLED)
        made = Reservation(
            name=operation.reservation_id or name,
            owner=operation.owner,
            channel=operation.channel,
            state=outcomes.HELD,
            expire_ms=self.now_ms + operation.ttl_ms,
            made=self.revision,
            row=row,
            lines=len(operation.lines),
            etag=self.revision,
        )
        self.world.reservations[made.name] = made
        try:
            self._fill(made, operation)
        except Refused:
            del self.world.reservations[made.name]
            for each in kept:
                self.world.reservations[each.name] = each
            raise
        self.made_by[made.name] = operation
        self._replaced += replaced
        return made

    def _fill(self, made: Reservation, operation: Operation, *, is_limited: bool = True) -> None:
        """Give `made` what the lines ask for, or raise with all that was missing."""
        problems: set[int] = set()
        for line in operation.lines:
            begun = len(made.takes)
            try:
                had, shown = self._fill_line(made, line, operation)
                if had < line.quantity:
                    if operation.fill_policy == commands.PARTIAL_LINES:
                        del made.takes[begun:]
                        had = 0
                    if operation.fill_policy == commands.ALL_OR_NONE or shown is None:
                        raise Refused(outcomes.INSUFFICIENT_STOCK)
                    short = Take(line.number, shown, 0, shortfall=line.quantity - had)
                    made.takes.append(short)
                limited = is_limited and line.sku in self.world.limits
                if had and limited and _is_of_stock(line):
                    self._take_limit(made, line, had)
            except Refused as refusal:
                problems |= refusal.codes
        if problems:
            raise Refused(*problems)

    def _fill_line(
        self, made: Reservation, line: Line, operation: Operation
    ) -> tuple[int, Place | None]:
        """Take up to what a line asks for. (units had, where a shortfall is noted)"""
        if not _is_of_stock(line):
            place: Place = ("capacity", line.kind, line.sku, line.node)
            if place not in self.world.capacities:
                raise Refused(outcomes.CAPACITY_NOT_FOUND)
            if self.world.capacity_left(place) < line.quantity:
                raise Refused(outcomes.CAPACITY_EXHAUSTED)
            made.takes.append(Take(-1, place, line.quantity, self.world.tick()))
            return line.quantity, place
        if line.kind == commands.IN_GROUP:
            if line.scope not in self.names.groups:
                raise Refused(outcomes.GROUP_NOT_FOUND)
            nodes = self.names.groups[line.scope]
        else:
            nodes = [line.node]
        self._need_names(line.sku, *nodes)
        usable = [node for node in nodes if node not in self.world.frozen]
        all_or_none = operation.fill_policy == commands.ALL_OR_NONE
        if line.kind == commands.AT_NODE and not usable and all_or_none:
            # Where nothing ever was, that is as good a reason.
            raise Refused(outcomes.NODE_FROZEN, outcomes.INSUFFICIENT_STOCK)
        had = 0
        for node in usable:
            had += self._take_stock(made, line, (line.sku, node), line.quantity - had)
        for node in usable if line.policy >= commands.INCOMING else []:
            had += self._take_supply(made, line, (line.sku, node), line.quantity - had)
        return had, ("stock", line.sku, nodes[0])

    def _take_stock(self, made: Reservation, line: Line, stock: Stock, want: int) -> int:
        part = min(want, self.world.sellable(stock, made.channel))
        if part <= 0:
            return 0
        fence = min(part, self.world.in_fence(stock, made.channel))
        made.takes.append(Take(line.number, ("stock", *stock), part, self.world.tick()))
        if fence > 0:
            place = ("fence", *stock, made.channel)
            made.takes.append(Take(line.number, place, fence, self.world.tick()))
        return part

    def _take_supply(self, made: Reservation, line: Line, stock: Stock, want: int) -> int:
        had = 0
        for name in self.world.supplies_of(stock):
            if line.time_ms and self.world.supplies[name].expected_ms > line.time_ms:
                continue
            part = min(want - had, self.world.of_supply(name))
            if part > 0:
                place: Place = ("supply", name)
                made.takes.append(Take(line.number, place, part, self.world.tick()))
                had += part
        if line.policy == commands.BACKORDER:
            place = ("beyond", *stock)
            part = min(want - had, self.world.beyond.get(stock, 0) - self.world.promised(place))
            if part > 0:
                made.takes.append(Take(line.number, place, part, self.world.tick()))
                had += part
        return had

    def _take_limit(self, made: Reservation, line: Line, units: int) -> None:
        if not made.owner:
            raise Refused(outcomes.OWNER_REQUIRED)
        if self.world.limit_left(line.sku, made.owner) < units:
            raise Refused(outcomes.PURCHASE_LIMIT_REACHED)
        place = ("limit", line.sku, made.owner)
        made.takes.append(Take(line.number, place, units, self.world.tick()))

    # --- what happens to a reservation ------------------------------------------------------

    def _open(self, operation: Operation) -> Reservation:
        found = self.world.reservations.get(operation.reservation_id)
        if found is None:
            raise Refused(outcomes.RESERVATION_NOT_FOUND)
        late = found.state == outcomes.HELD and found.expire_ms <= self.now_ms
        if late or found.state == outcomes.EXPIRED:
            raise Refused(outcomes.RESERVATION_EXPIRED)
        if not found.open:
            raise Refused(outcomes.STATE_TRANSITION_NOT_ALLOWED)
        self._need_etag(found, operation)
        return found

    @staticmethod
    def _need_etag(found: Reservation, operation: Operation) -> None:
        if operation.etag and operation.etag != found.etag:
            raise Refused(outcomes.ETAG_MISMATCH)

    def _close(self, reservation: Reservation, state: int) -> None:
        """Everything open is given back."""
        for take in reservation.takes:
            take.cancelled += take.quantity
            take.quantity = 0
        reservation.state = state
        reservation.etag = self.revision

    def _plan(
        self,
        reservation: Reservation,
        lines: Sequence[Line],
        *,
        shipped: bool = False,
        last_first: bool = False,
        on_hand_only: bool = False,
    ) -> dict[int, int]:
        """Spread quantities by line over the takes: index of the take -> units."""
        plan: dict[int, int] = {}
        order = range(len(reservation.takes))
        for line in lines:
            if line.number >= reservation.lines:
                raise Refused(outcomes.LINE_NOT_FOUND)
            if line.node and line.node not in self.names.nodes:
                raise Refused(outcomes.NODE_NOT_FOUND)
            left = line.quantity
            waiting = False
            for at in reversed(order) if last_first else order:
                take = reservation.takes[at]
                if take.line != line.number or not take.carries:
                    continue
                if line.node and self.node_of(take.place) != line.node:
                    continue
                units = take.fulfilled - take.returned if shipped else take.quantity
                units -= plan.get(at, 0)
                if units > 0 and on_hand_only and take.place[0] != "stock":
                    waiting = True
                    continue
                part = max(0, min(left, units))
                plan[at] = plan.get(at, 0) + part
                left -= part
            if left:
                late = outcomes.SUPPLY_NOT_RECEIVED
                raise Refused(late if waiting else outcomes.QUANTITY_EXCEEDS_OPEN)
        return {at: units for at, units in plan.items() if units}

    def node_of(self, place: Place) -> str:
        """The node that a place is at."""
        if place[0] == "supply":
            return self.world.supplies[str(place[1])].stock[1]
        return str(place[2])

    def _release(self, reservation: Reservation, plan: dict[int, int]) -> None:
        """Units are given back; shares in fences and limits follow."""
        for at, units in plan.items():
            take = reservation.takes[at]
            take.quantity -= units
            take.cancelled += units
            for share in reservation.takes:
                if share.line == take.line and share.place[0] == "limit":
                    share.quantity -= min(units, share.quantity)
        self._trim_fences(reservation)

    @staticmethod
    def _trim_fences(reservation: Reservation) -> None:
        """A fence covers no more of a line than the line still has at its stock."""
        for share in reservation.takes:
            if share.place[0] == "fence":
                stays = reservation.units(share.line, ("stock", *share.place[1:3]))
                given = max(0, share.quantity - stays)
                share.quantity -= given
                share.cancelled += given

    def _ship(self, reservation: Reservation, plan: dict[int, int]) -> None:
        """Units leave; a fence's share leaves first."""
        for at, units in plan.items():
            take = reservation.takes[at]
            stock = (str(take.place[1]), str(take.place[2]))
            self._ship_take(take, units)
            self.world.on_hand[stock] -= units
            self._note_move(stock, -units)
            for share in reservation.takes:
                if share.line != take.line:
                    continue
                if share.place[0] == "limit":
                    self._ship_take(share, min(units, share.quantity))
                if share.place[0] == "fence" and share.place[1:3] == stock:
                    part = min(units, share.quantity)
                    self._ship_take(share, part)
                    self.world.fences[share.place] -= part

    @staticmethod
    def _ship_take(take: Take, units: int) -> None:
        take.quantity -= units
        take.fulfilled += units

    def _end_if_done(self, reservation: Reservation) -> None:
        """Nothing open: the order ends, and its capacity was used if anything shipped."""
        reservation.etag = self.revision
        if any(take.carries and take.quantity for take in reservation.takes):
            return
        shipped = any(take.fulfilled for take in reservation.takes)
        for take in reservation.takes:
            if shipped:
                self._ship_take(take, take.quantity)
            else:
                take.quantity = 0
        reservation.state = outcomes.FULFILLED if shipped else outcomes.CANCELLED

    def _confirm(self, operation: Operation) -> Reservation:
        found = self._open(operation)
        if found.state != outcomes.HELD:
            raise Refused(outcomes.STATE_TRANSITION_NOT_ALLOWED)
        if operation.lines:
            kept = self._plan(found, operation.lines)
            rest = {
                at: take.quantity - kept.get(at, 0)
                for at, take in enumerate(found.takes)
                if take.carries
            }
            self._release(found, rest)
        found.state = outcomes.CONFIRMED
        found.etag = self.revision
        return found

    def _everything(self, reservation: Reservation) -> dict[int, int]:
        return {at: t.quantity for at, t in enumerate(reservation.takes) if t.carries}

    def _cancel(self, operation: Operation) -> Reservation:
        found = self._open(operation)
        if operation.lines:
            plan = self._plan(found, operation.lines, last_first=True)
        else:
            plan = self._everything(found)
        self._release(found, plan)
        self._end_if_done(found)
        return found

    def _fulfill(self, operation: Operation) -> Reservation:
        found = self._open(operation)
        if found.state != outcomes.CONFIRMED:
            raise Refused(outcomes.STATE_TRANSITION_NOT_ALLOWED)
        if operation.lines:
            plan = self._plan(found, operation.lines, on_hand_only=True)
        else:
            plan = {at: units for at, units in self._everything(found).items() if units}
            if any(found.takes[at].place[0] != "stock" for at in plan):
                raise Refused(outcomes.SUPPLY_NOT_RECEIVED)
        self._ship(found, plan)
        self._end_if_done(found)
        return found

    def _extend(self, operation: Operation) -> Reservation:
        found = self._open(operation)
        if found.state != outcomes.HELD:
            raise Refused(outcomes.STATE_TRANSITION_NOT_ALLOWED)
        found.expire_ms = max(found.expire_ms, self.now_ms + operation.ttl_ms)
        found.etag = self.revision
        return found

    def _revise(self, operation: Operation) -> Reservation:
        found = self._open(operation)
        if any(take.fulfilled for take in found.takes):
            raise Refused(outcomes.STATE_TRANSITION_NOT_ALLOWED)
        old, found.takes = found.takes, []
        try:
            self._fill(found, operation)
        except Refused:
            found.takes = old
            raise
        found.lines = len(operation.lines)
        found.etag = self.revision
        return found

    def _reassign(self, operation: Operation) -> Reservation:
        found = self._open(operation)
        moves = self._check_moves(found, operation.lines)
        for line, units in zip(operation.lines, moves, strict=True):
            sku = self.sku_of(found, line.number)
            assert sku is not None
            target = (sku, line.scope)
            left = units
            for take in found.takes:
                there = take.carries and self.node_of(take.place) == line.node
                if take.line == line.number and there:
                    part = min(left, take.quantity)
                    take.quantity -= part
                    left -= part
            self._trim_fences(found)
            fence = min(units, self.world.in_fence(target, found.channel))
            self._join(found, line.number, ("stock", *target), units)
            if fence:
                self._join(found, line.number, ("fence", *target, found.channel), fence)
        self._forget_empty(found)
        found.etag = self.revision
        return found

    @staticmethod
    def _forget_empty(found: Reservation) -> None:
        """What is empty and tells nothing is forgotten."""
        found.takes = [
            t for t in found.takes if t.quantity or t.fulfilled or t.cancelled or t.shortfall
        ]

    def _reroute(self, operation: Operation) -> Reservation:
        found = self._open(operation)
        self._need_open_units(found, operation.lines)
        used = self._used_capacity(found)
        before = [replace(take) for take in found.takes]
        for take in found.takes:
            if take.place[0] == "capacity":
                take.quantity = used.get(id(take), 0)
            elif take.place[0] != "limit":
                take.quantity = 0
        kept = len(found.takes)
        try:
            asked = replace(operation, fill_policy=commands.ALL_OR_NONE)
            self._fill(found, asked, is_limited=False)
        except Refused:
            found.takes = before
            raise
        made, found.takes = found.takes[kept:], found.takes[:kept]
        for take in found.takes:
            if take.place[0] == "capacity":
                self._ship_take(take, take.quantity)
            take.settled = take.settled or (take.carries and take.fulfilled > 0)
        for take in made:
            joined = found.open_at(take.line, take.place)
            if joined is None:
                found.takes.append(take)
                continue
            if not joined.quantity:
                joined.since = take.since
            joined.quantity += take.quantity
        self._forget_empty(found)
        found.etag = self.revision
        return found

    def _need_open_units(self, found: Reservation, lines: Sequence[Line]) -> None:
        """Every line must be given, of its own SKU, what it has open."""
        given: dict[int, int] = {}
        for line in lines:
            if _is_of_stock(line):
                if line.number >= found.lines or self.sku_of(found, line.number) != line.sku:
                    raise Refused(outcomes.LINE_NOT_FOUND)
                given[line.number] = given.get(line.number, 0) + line.quantity
        if any(given.get(number, 0) != found.units(number) for number in range(found.lines)):
            raise Refused(outcomes.OPEN_UNITS_DIFFER)

    def _used_capacity(self, found: Reservation) -> dict[int, int]:
        """Capacity that shipments since the last reroute went out with, by the take's id(): of a
        node's days as many units as left the node, of a slot all once anything did."""
        used = {}
        shipped: dict[str, int] = {}
        for take in found.takes:
            if take.carries and not take.settled:
                node = self.node_of(take.place)
                shipped[node] = shipped.get(node, 0) + take.fulfilled
        left = dict(shipped)
        for take in found.takes:
            if take.place[0] != "capacity":
                continue
            node = str(take.place[3])
            if take.place[1] == commands.CARRIER_SLOT:
                used[id(take)] = take.quantity if shipped.get(node, 0) else 0
            else:
                used[id(take)] = min(take.quantity, left.get(node, 0))
                left[node] = left.get(node, 0) - used[id(take)]
        return used

    def _check_moves(self, found: Reservation, lines: Sequence[Line]) -> list[int]:
        moves: list[int] = []
        leaving: dict[tuple[int, str], int] = {}
        coming: dict[Stock, int] = {}
        for line in lines:
            sku = self.sku_of(found, line.number)
            if line.number >= found.lines or sku is None:
                raise Refused(outcomes.LINE_NOT_FOUND)
            if not {line.node, line.scope} <= self.names.nodes:
                raise Refused(outcomes.NODE_NOT_FOUND)
            there = sum(
                take.quantity
                for take in found.takes
                if take.line == line.number
                and take.carries
                and self.node_of(take.place) == line.node
            )
            if not there:
                raise Refused(outcomes.LINE_NOT_FOUND)
            units = line.quantity or there
            moves.append(units)
            origin = (line.number, line.node)
            leaving[origin] = leaving.get(origin, 0) + units
            if leaving[origin] > there:
                raise Refused(outcomes.QUANTITY_EXCEEDS_OPEN)
            target = (sku, line.scope)
            coming[target] = coming.get(target, 0) + units
            problems = set()
            if line.scope in self.world.frozen:
                problems |= {outcomes.NODE_FROZEN}
            if self.world.sellable(target, found.channel) < coming[target]:
                problems |= {outcomes.INSUFFICIENT_STOCK}
            if problems:
                raise Refused(*problems)
        return moves

    def sku_of(self, reservation: Reservation, line: int) -> str | None:
        """The SKU of a line; None: there is no such line."""
        for take in reservation.takes:
            if take.line == line and take.carries:
                if take.place[0] == "supply":
                    return self.world.supplies[str(take.place[1])].stock[0]
                return str(take.place[1])
        return None

    def _join(self, reservation: Reservation, line: int, place: Place, units: int) -> None:
        take = reservation.open_at(line, place)
        if take is None:
            take = Take(line, place, 0, self.world.tick())
            reservation.takes.append(take)
        take.quantity += units

    def _return(self, operation: Operation) -> Reservation:
        found = self.world.reservations.get(operation.reservation_id)
        if found is None:
            raise Refused(outcomes.RESERVATION_NOT_FOUND)
        if found.state not in (outcomes.CONFIRMED, outcomes.FULFILLED):
            raise Refused(outcomes.STATE_TRANSITION_NOT_ALLOWED)
        self._need_etag(found, operation)
        plan = self._plan(found, operation.lines, shipped=True)
        node = operation.lines[0].scope
        bucket = operation.lines[0].policy
        if node and node not in self.names.nodes:
            raise Refused(outcomes.NODE_NOT_FOUND)
        for at, units in plan.items():
            take = found.takes[at]
            take.returned += units
            stock = (str(take.place[1]), node or str(take.place[2]))
            self._arrive(stock, units)
            if bucket:
                self._withhold(stock, bucket, units)
            for share in found.takes:
                if share.line == take.line and share.place[0] == "limit":
                    share.returned += min(units, share.fulfilled - share.returned)
        found.etag = self.revision
        return found

    def _expire(self, most: int) -> int:
        due = [
            each
            for each in self.world.reservations.values()
            if each.state == outcomes.HELD and each.expire_ms <= self.now_ms
        ]
        due.sort(key=lambda each: (each.expire_ms, each.row))
        for each in due[:most]:
            self._close(each, outcomes.EXPIRED)
            self._serve()
        return len(due[:most])

    # --- those who wait ---------------------------------------------------------------------

    def _serve(self) -> None:
        """Free units that no fence sets apart go to those who wait beyond supply."""
        for stock in self.world.beyond:
            free = self.world.available(stock) - self.world.fenced(stock)
            self._move_promises(("beyond", *stock), stock, free)

    def _move_promises(self, place: Place, stock: Stock, units: int) -> int:
        """First come, first served; units moved."""
        left = max(0, units)
        waiting = [(r, t) for r, t in self.world.takes_at(place) if t.quantity]
        for reservation, take in sorted(waiting, key=lambda pair: pair[1].since):
            part = min(left, take.quantity)
            if not part:
                break
            left -= part
            at = reservation.takes.index(take)
            if part == take.quantity:
                take.place = ("stock", *stock)
            else:
                take.quantity -= part
                target: Place = ("stock", *stock)
                following = reservation.takes[at + 1 : at + 2]
                if following and (following[0].line, following[0].place) == (take.line, target):
                    following[0].quantity += part
                else:
                    moved = Take(take.line, target, part, self.world.tick())
                    reservation.takes.insert(at + 1, moved)
            reservation.etag = self.revision
        return max(0, units) - left

    def _cancel_newest(self, place: Place, short: int) -> None:
        """Cancel the newest holds at a place until it is short no more."""
        holds = [
            reservation
            for reservation, take in self.world.takes_at(place)
            if reservation.state == outcomes.HELD and take.quantity
        ]
        for hold in sorted(holds, key=lambda each: -each.made):
            if short <= 0:
                break
            if hold.open:
                short -= sum(take.quantity for take in hold.takes if take.place == place)
                self._close(hold, outcomes.CANCELLED)

    # --- stock ------------------------------------------------------------------------------

    def _need_names(self, sku: str, *nodes: str) -> None:
        if sku not in self.names.skus:
            raise Refused(outcomes.SKU_NOT_FOUND)
        if not set(nodes) <= self.names.nodes:
            raise Refused(outcomes.NODE_NOT_FOUND)

    def _note_move(self, stock: Stock, units: int) -> None:
        self.world.moves.setdefault(stock, []).append((self.now_ms, units))

    def _arrive(self, stock: Stock, units: int) -> None:
        self.world.on_hand[stock] = self.world.on_hand.get(stock, 0) + units
        self._note_move(stock, units)

    def _withhold(self, stock: Stock, bucket: int, units: int) -> None:
        buckets = self.world.withheld.setdefault(stock, dict.fromkeys(BUCKETS, 0))
        buckets[bucket] += units

    def _stock_lines(self, operation: Operation) -> int:
        """ADJUST, COUNT, WITHHOLD: all lines or none, or (PER_LINE) each on its own."""
        change = {
            commands.ADJUST: self._adjust_line,
            commands.COUNT: self._count_line,
            commands.WITHHOLD: self._withhold_line,
        }[operation.kind]
        applied = 0
        if operation.has(commands.PER_LINE):
            for line in operation.lines:
                try:
                    change(line)
                except Refused:
                    continue
                applied += 1
                self._cover(operation, line)
                self._serve()
            return applied
        before = self.world.copy() if len(operation.lines) > 1 else self.world
        try:
            for line in operation.lines:
                change(line)
        except Refused:
            self.world = before
            raise
        for line in operation.lines:
            self._cover(operation, line)
        return len(operation.lines)

    def _adjust_line(self, line: Line) -> None:
        self._need_names(line.sku, line.node)
        stock = (line.sku, line.node)
        if line.quantity < 0 and self.world.available(stock) < -line.quantity:
            raise Refused(outcomes.INSUFFICIENT_STOCK)
        self._arrive(stock, line.quantity)

    def _count_line(self, line: Line) -> None:
        if line.time_ms > self.now_ms + SKEW_MS:
            raise Refused(outcomes.TIME_IN_FUTURE)
        self._need_names(line.sku, line.node)
        stock = (line.sku, line.node)
        as_of_ms = min(line.time_ms or self.now_ms, self.now_ms)
        if as_of_ms < self.world.counts.get(stock, 0):
            raise Refused(outcomes.COUNT_OUT_OF_DATE)
        moves = self.world.moves.get(stock, [])
        on_hand = line.quantity + sum(units for when_ms, units in moves if when_ms > as_of_ms)
        if on_hand < 0:
            raise Refused(outcomes.QUANTITY_OUT_OF_RANGE)
        self.world.on_hand[stock] = on_hand
        self.world.counts[stock] = as_of_ms

    def _withhold_line(self, line: Line) -> None:
        self._need_names(line.sku, line.node)
        stock = (line.sku, line.node)
        before = self.world.buckets(stock).get(line.policy, 0)
        after = line.quantity if line.flags & 1 else before + line.quantity
        if after < 0:
            raise Refused(outcomes.QUANTITY_OUT_OF_RANGE)
        if after - before > max(0, self.world.available(stock)):
            raise Refused(outcomes.INSUFFICIENT_STOCK)
        self._withhold(stock, line.policy, after - before)

    def _cover(self, operation: Operation, line: Line) -> None:
        """After a count: the newest holds go, where that is the policy."""
        if operation.kind == commands.COUNT and line.policy == commands.CANCEL_NEWEST_HOLDS:
            stock = (line.sku, line.node)
            self._cancel_newest(("stock", *stock), -self.world.available(stock))

    def _transfer(self, operation: Operation) -> int:
        before = self.world.copy() if len(operation.lines) > 1 else self.world
        try:
            for line in operation.lines:
                self._transfer_line(line)
        except Refused:
            self.world = before
            raise
        return len(operation.lines)

    def _transfer_line(self, line: Line) -> None:
        self._need_names(line.sku, line.node, line.scope)
        source, target = (line.sku, line.node), (line.sku, line.scope)
        problems = set()
        if line.node in self.world.frozen:
            problems |= {outcomes.NODE_FROZEN}
        if max(0, self.world.available(source)) < line.quantity:
            problems |= {outcomes.INSUFFICIENT_STOCK}
        if line.time_ms and line.text in self.world.supplies:
            problems |= {outcomes.SUPPLY_EXISTS}
        if problems:
            raise Refused(*problems)
        self._arrive(source, -line.quantity)
        if line.time_ms:
            self.world.supplies[line.text] = Supply(
                target, line.time_ms, self.world.tick(), line.quantity, source=line.node
            )
        else:
            self._arrive(target, line.quantity)

    # --- supply -----------------------------------------------------------------------------

    def _cover_supply(self, name: str, policy: int) -> None:
        if policy == commands.CANCEL_NEWEST_HOLDS:
            self._cancel_newest(("supply", name), -self.world.of_supply(name))

    def _open_supply(self, name: str) -> Supply:
        if name not in self.world.supplies:
            raise Refused(outcomes.SUPPLY_NOT_FOUND)
        if not self.world.supplies[name].open:
            raise Refused(outcomes.SUPPLY_CLOSED)
        return self.world.supplies[name]

    def _upsert_supply(self, operation: Operation) -> None:
        (line,) = operation.lines
        stock = (line.sku, line.node)
        if operation.channel and operation.channel not in self.names.nodes:
            # What else is wrong with it may be told as well.
            wrong = {outcomes.SKU_NOT_FOUND, outcomes.SUPPLY_EXISTS, outcomes.SUPPLY_CLOSED}
            raise Refused(outcomes.NODE_NOT_FOUND, *wrong)
        existing = self.world.supplies.get(line.scope)
        if existing is None:
            self._need_names(*stock)
            existing = Supply(stock, line.time_ms, self.world.tick(), 0)
            self.world.supplies[line.scope] = existing
        if existing.stock != stock:
            raise Refused(outcomes.SUPPLY_EXISTS)
        if not existing.open:
            raise Refused(outcomes.SUPPLY_CLOSED)
        if existing.expected_ms != line.time_ms:
            existing.expected_ms = line.time_ms
            existing.order = self.world.tick()
        existing.quantity = line.quantity
        if line.policy != commands.TRANSFER_SUPPLY:
            existing.source = ""
        elif operation.channel:
            existing.source = operation.channel
        self._cover_supply(line.scope, line.flags)

    def _receive_supply(self, operation: Operation) -> None:
        (line,) = operation.lines
        supply = self._open_supply(line.scope)
        self._arrive(supply.stock, line.quantity)
        self._move_promises(("supply", line.scope), supply.stock, line.quantity)
        supply.quantity -= min(supply.quantity, line.quantity)
        if operation.has(commands.FINAL) or not supply.quantity:
            supply.quantity = 0
            supply.open = False
        self._cover_supply(line.scope, line.flags)

    def _cancel_supply(self, operation: Operation) -> None:
        (line,) = operation.lines
        supply = self._open_supply(line.scope)
        supply.quantity = 0
        supply.open = False
        self._cover_supply(line.scope, line.flags)

    def _set_backorder_limit(self, operation: Operation) -> None:
        (line,) = operation.lines
        self._need_names(line.sku, line.node)
        self.world.beyond[(line.sku, line.node)] = line.quantity

    # --- allowances -------------------------------------------------------------------------

    def _set_capacity(self, operation: Operation) -> None:
        (line,) = operation.lines
        if line.node not in self.names.nodes:
            raise Refused(outcomes.NODE_NOT_FOUND)
        self.world.capacities[("capacity", line.kind, line.sku, line.node)] = line.quantity

    def _set_channel_fence(self, operation: Operation) -> None:
        (line,) = operation.lines
        if line.scope not in self.names.channels:
            raise Refused(outcomes.CHANNEL_NOT_FOUND)
        self._need_names(line.sku, line.node)
        self.world.fences[("fence", line.sku, line.node, line.scope)] = line.quantity

    def _set_purchase_limit(self, operation: Operation) -> None:
        (line,) = operation.lines
        if line.sku not in self.names.skus:
            raise Refused(outcomes.SKU_NOT_FOUND)
        if operation.has(commands.UNLIMITED):
            self.world.limits.pop(line.sku, None)
        else:
            self.world.limits[line.sku] = line.quantity

    def _set_node_frozen(self, operation: Operation) -> None:
        (line,) = operation.lines
        if line.node not in self.names.nodes:
            raise Refused(outcomes.NODE_NOT_FOUND)
        if line.quantity:
            self.world.frozen.add(line.node)
        else:
            self.world.frozen.discard(line.node)

    def live(self) -> Iterator[Reservation]:
        """Reservations that are open."""
        return (each for each in self.world.reservations.values() if each.open)


def _is_of_stock(line: Line) -> bool:
    return line.kind in (commands.AT_NODE, commands.IN_GROUP)


_SETTLERS = {
    commands.CONFIRM: Model._confirm,
    commands.CANCEL: Model._cancel,
    commands.FULFILL: Model._fulfill,
    commands.EXTEND: Model._extend,
    commands.REVISE: Model._revise,
    commands.REASSIGN: Model._reassign,
    commands.REROUTE: Model._reroute,
    commands.RETURN: Model._return,
}

_KEEPERS = {
    commands.ADJUST: Model._stock_lines,
    commands.COUNT: Model._stock_lines,
    commands.WITHHOLD: Model._stock_lines,
    commands.TRANSFER: Model._transfer,
    commands.UPSERT_SUPPLY: Model._upsert_supply,
    commands.RECEIVE_SUPPLY: Model._receive_supply,
    commands.CANCEL_SUPPLY: Model._cancel_supply,
    commands.SET_BACKORDER_LIMIT: Model._set_backorder_limit,
    commands.SET_CAPACITY: Model._set_capacity,
    commands.SET_CHANNEL_FENCE: Model._set_channel_fence,
    commands.SET_PURCHASE_LIMIT: Model._set_purchase_limit,
    commands.SET_NODE_FROZEN: Model._set_node_frozen,
}
