"""Random commands as a busy day sends them: mostly sensible, now and then not.

`Traffic` draws from a `random.Random` and looks at the model only to refer to what is there, so a
seed and a history give the same commands again.
"""

from __future__ import annotations

import random
from dataclasses import replace

from engine import commands, outcomes
from tests.columns import Line
from tests.ledger import START_MS
from tests.property.model import BUCKETS, Model
from tests.property.operations import Operation, numbered
from tests.property.rerouting import rerouted

SKUS = ("pear", "plum")
NODES = ("berlin", "hamburg", "munich")
CHANNELS = ("shop", "market")
GROUPS = {"all": ["berlin", "hamburg", "munich"], "south": ["munich", "berlin"]}
OWNERS = ("", "ann", "ben")
PLACES = tuple((sku, node) for sku in SKUS for node in NODES)
SUPPLIES = ("po-1", "po-2", "po-3", "shop", "t-1", "t-2")
DAY, SLOT = "monday", "pickup"

_WEIGHTS = {
    "create": 14,
    "create_together": 3,
    "confirm": 9,
    "fulfill": 8,
    "cancel": 5,
    "extend": 1,
    "revise": 3,
    "reassign": 5,
    "reroute": 6,
    "give_back": 4,
    "expire": 3,
    "adjust": 3,
    "count": 3,
    "withhold": 2,
    "transfer": 3,
    "upsert_supply": 4,
    "receive_supply": 3,
    "cancel_supply": 1,
    "allow": 4,
    "create_again": 1,
    "ask_again": 4,
}


class Traffic:
    """A stream of operations for one model."""

    def __init__(self, chance: random.Random, model: Model, *, prefix: str = "") -> None:
        self.chance = chance
        self.model = model
        self.prefix = prefix  # of all names it makes, so that two streams do not meet
        self.asked: list[Operation] = []
        self.made = 0

    def batch(self, now_ms: int, size: int) -> list[Operation]:
        """About `size` operations to be applied as one batch at now_ms."""
        operations: list[Operation] = []
        while len(operations) < size:
            kind = self.chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
            operations += getattr(self, f"_{kind}")(now_ms)
        self.asked += [each for each in operations if each.request_id and each.amount <= 1]
        return operations

    def wait_ms(self, now_ms: int) -> int:
        """How long until the next batch: often until the very millisecond of an expiry."""
        due = [
            each.expire_ms - now_ms
            for each in self.model.live()
            if each.state == outcomes.HELD and 0 < each.expire_ms - now_ms < 3_000
        ]
        if due and self.chance.random() < 0.3:
            return max(0, min(due) + self.chance.choice([-1, 0, 0]))
        return self.chance.choice([0, 1, 100, 1000, 3000])

    # --- choices ----------------------------------------------------------------

    def _rarely(self, share: int = 30) -> bool:
        return self.chance.randrange(share) == 0

    def _sku(self) -> str:
        return "ghost" if self._rarely() else self.chance.choice(SKUS)

    def _node(self) -> str:
        return "nowhere" if self._rarely() else self.chance.choice(NODES)

    def _units(self, most: int = 4) -> int:
        return self.chance.randint(1, most)

    def _policy(self) -> int:
        return self.chance.choice([commands.REPORT, commands.CANCEL_NEWEST_HOLDS])

    def _request(self) -> str:
        self.made += 1
        return f"{self.prefix}q-{self.made}" if self.chance.random() < 0.3 else ""

    def _etag(self, name: str) -> int:
        found = self.model.world.reservations.get(name)
        if found is None or self.chance.random() < 0.7:
            return 0
        return found.etag + (1000 if self._rarely(4) else 0)

    def _reservation(self, *states: int) -> str:
        known = self.model.world.reservations
        wanted = [each.name for each in known.values() if each.state in states]
        if wanted and not self._rarely(12):
            return self.chance.choice(wanted[-12:])
        return self.chance.choice([*known, "unknown"])

    def _flags(self) -> int:
        return commands.PER_LINE if self.chance.random() < 0.3 else 0

    # --- reservations -----------------------------------------------------------

    def _wanted(self, now_ms: int) -> tuple[Line, ...]:
        lines = []
        for _ in range(self.chance.choice([1, 1, 1, 2, 2, 3])):
            policy = self.chance.choice([commands.ON_HAND, commands.INCOMING, commands.BACKORDER])
            line = Line(self._sku(), self._node(), quantity=self._units(), policy=policy)
            if self.chance.random() < 0.3:
                group = "west" if self._rarely() else self.chance.choice(list(GROUPS))
                line = replace(line, node="", scope=group, kind=commands.IN_GROUP)
            if self.chance.random() < 0.2:
                line = replace(line, time_ms=now_ms + self._units(20_000))
            lines.append(line)
        if self.chance.random() < 0.2:
            day = self.chance.random() < 0.7
            lines.append(
                Line(
                    "never" if self._rarely() else DAY if day else SLOT,
                    "berlin",
                    quantity=self._units(2),
                    kind=commands.NODE_CAPACITY if day else commands.CARRIER_SLOT,
                )
            )
        return tuple(replace(line, number=number) for number, line in enumerate(lines))

    def _fill_policy(self) -> int:
        every = commands.ALL_OR_NONE
        return self.chance.choice(
            [every, every, every, commands.PARTIAL_LINES, commands.PARTIAL_QUANTITY]
        )

    def _creating(self, now_ms: int) -> Operation:
        self.made += 1
        owner = self.chance.choice(OWNERS)
        replaces = bool(owner) and self.chance.random() < 0.3
        channel = self.chance.choice(["", "", *CHANNELS])
        return Operation(
            commands.CREATE,
            self._wanted(now_ms),
            self._request(),
            f"{self.prefix}r-{self.made}",
            owner,
            "radio" if self._rarely() else channel,
            fill_policy=self._fill_policy(),
            flags=commands.REPLACE_OWNER_HOLDS if replaces else 0,
            ttl_ms=self._units(self.chance.choice([5_000, 60_000, 300_000])),
        )

    def _create(self, now_ms: int) -> list[Operation]:
        made = self._creating(now_ms)
        return [replace(made, reservation_id="") if self._rarely(6) else made]

    def _create_together(self, now_ms: int) -> list[Operation]:
        group = [self._creating(now_ms) for _ in range(self.chance.randint(2, 4))]
        if self.asked and self._rarely(6):
            used = self.chance.choice(self.asked).request_id
            group[-1] = replace(group[-1], request_id=used)
        if self._rarely(8):
            group[0] = replace(group[0], request_id=group[-1].request_id)
        return numbered(group)

    def _about(
        self,
        kind: int,
        name: str,
        lines: tuple[Line, ...] = (),
        *,
        ttl_ms: int = 0,
        fill_policy: int = commands.ALL_OR_NONE,
    ) -> list[Operation]:
        return [
            Operation(
                kind,
                lines,
                self._request(),
                name,
                etag=self._etag(name),
                ttl_ms=ttl_ms,
                fill_policy=fill_policy,
            )
        ]

    def _by_line(self, name: str, *, shipped: bool = False) -> tuple[Line, ...]:
        """Quantities by line, mostly of what is there."""
        found = self.model.world.reservations.get(name)
        lines = []
        for _ in range(self.chance.choice([1, 1, 2])):
            takes = [
                take
                for take in (found.takes if found else [])
                if take.carries and (take.fulfilled - take.returned if shipped else take.quantity)
            ]
            number, node, most = self.chance.randrange(4), "", 3
            if takes and not self._rarely(10):
                take = self.chance.choice(takes)
                number = take.line
                most = take.fulfilled - take.returned if shipped else take.quantity
                if self.chance.random() < 0.4:
                    node = self.model.node_of(take.place)
            if self._rarely():
                node = self._node()
            lines.append(
                Line(node=node, quantity=self._units(most), number=number, kind=commands.BY_LINE)
            )
        return tuple(lines)

    def _confirm(self, now_ms: int) -> list[Operation]:
        name = self._reservation(outcomes.HELD)
        lines = self._by_line(name) if self.chance.random() < 0.3 else ()
        return self._about(commands.CONFIRM, name, lines)

    def _fulfill(self, now_ms: int) -> list[Operation]:
        name = self._reservation(outcomes.CONFIRMED)
        lines = self._by_line(name) if self.chance.random() < 0.6 else ()
        return self._about(commands.FULFILL, name, lines)

    def _cancel(self, now_ms: int) -> list[Operation]:
        name = self._reservation(outcomes.HELD, outcomes.CONFIRMED)
        lines = self._by_line(name) if self.chance.random() < 0.5 else ()
        return self._about(commands.CANCEL, name, lines)

    def _extend(self, now_ms: int) -> list[Operation]:
        name = self._reservation(outcomes.HELD)
        return self._about(commands.EXTEND, name, ttl_ms=self._units(20_000))

    def _revise(self, now_ms: int) -> list[Operation]:
        name = self._reservation(outcomes.HELD, outcomes.CONFIRMED)
        wanted = self._wanted(now_ms)
        return self._about(commands.REVISE, name, wanted, fill_policy=self._fill_policy())

    def _reassign(self, now_ms: int) -> list[Operation]:
        name = self._reservation(outcomes.HELD, outcomes.CONFIRMED)
        moves = []
        for line in self._by_line(name):
            found = self.model.world.reservations.get(name)
            nodes = [
                self.model.node_of(take.place)
                for take in (found.takes if found else [])
                if take.line == line.number and take.carries and take.quantity
            ]
            source = self.chance.choice(nodes) if nodes else self._node()
            target = self._node()
            units = 0 if self._rarely(4) else line.quantity
            if source != target:
                moves.append(replace(line, node=source, scope=target, quantity=units))
        return self._about(commands.REASSIGN, name, tuple(moves)) if moves else []

    def _reroute(self, now_ms: int) -> list[Operation]:
        """What is open elsewhere; of orders that have shipped in part more often than not."""
        name = self._reservation(outcomes.HELD, outcomes.CONFIRMED)
        begun = [
            each.name
            for each in self.model.live()
            if any(take.fulfilled for take in each.takes if take.carries)
        ]
        if begun and not self._rarely(3):
            name = self.chance.choice(begun)
        policy = self.chance.choice(
            [commands.ON_HAND, commands.ON_HAND, commands.INCOMING, commands.BACKORDER]
        )
        nodes = [self._node() for _ in range(3)]
        lines = rerouted(
            self.model, name, nodes, policy=policy, is_split=self.chance.random() < 0.4
        )
        if lines and self._rarely(10):
            at = self.chance.randrange(len(lines))
            wrong = replace(lines[at], quantity=lines[at].quantity + self.chance.choice([-1, 1]))
            lines[at] = self.chance.choice(
                [wrong, replace(wrong, number=9), replace(wrong, sku="")]
            )
        for sku, kind in ((DAY, commands.NODE_CAPACITY), (SLOT, commands.CARRIER_SLOT)):
            if self.chance.random() < 0.4:
                taken = Line(sku, "berlin", quantity=self._units(2), number=100, kind=kind)
                lines.append(taken)
        return self._about(commands.REROUTE, name, tuple(lines), fill_policy=self._fill_policy())

    def _give_back(self, now_ms: int) -> list[Operation]:
        shipped = [
            each.name
            for each in self.model.world.reservations.values()
            if any(take.fulfilled > take.returned for take in each.takes if take.carries)
        ]
        name = self._reservation(outcomes.FULFILLED)
        if shipped and not self._rarely(10):
            name = self.chance.choice(shipped)
        node = self._node() if self.chance.random() < 0.4 else ""
        bucket = self.chance.choice([0, 0, commands.DAMAGED, commands.QUALITY_CONTROL])
        lines = self._by_line(name, shipped=True)
        back = tuple(replace(line, scope=node, policy=bucket) for line in lines)
        return self._about(commands.RETURN, name, back)

    def _expire(self, now_ms: int) -> list[Operation]:
        return [Operation(commands.EXPIRE, amount=self.chance.choice([1, 2, 10_000, 10_000]))]

    # --- stock and supply -------------------------------------------------------

    def _stock_lines(self, low: int, high: int) -> tuple[Line, ...]:
        return tuple(
            Line(
                self._sku(),
                self._node(),
                quantity=self.chance.randint(low, high),
                number=number,
            )
            for number in range(self.chance.choice([1, 1, 2, 3]))
        )

    def _adjust(self, now_ms: int) -> list[Operation]:
        lines = self._stock_lines(-3, 4)
        return [self._referring(commands.ADJUST, lines, flags=self._flags())]

    def _referring(self, kind: int, lines: tuple[Line, ...], flags: int = 0) -> Operation:
        """A command that may name a document, long or short."""
        self.made += 1
        reference = self.chance.choice(["", "", f"doc-{self.made}", f"{self.made:064}"])
        return Operation(kind, lines, self._request(), flags=flags, reference=reference)

    def _count(self, now_ms: int) -> list[Operation]:
        counted: dict[tuple[str, str], Line] = {}
        for line in self._stock_lines(0, 8):
            time_ms = self._moment(now_ms) if self.chance.random() < 0.6 else 0
            if self._rarely():
                time_ms = now_ms + self.chance.choice([100_000, 400_000])
            line = replace(line, time_ms=time_ms, policy=self._policy())
            counted.setdefault((line.sku, line.node), line)
        lines = tuple(counted.values())
        return [self._referring(commands.COUNT, lines, flags=self._flags())]

    def _moment(self, now_ms: int) -> int:
        """A time to count at: often the very millisecond in which something happened."""
        world = self.model.world
        happened = [when_ms for moves in world.moves.values() for when_ms, _ in moves[-6:]]
        happened += world.counts.values()
        if happened and self.chance.random() < 0.7:
            return self.chance.choice(happened) + self.chance.choice([-1, 0, 0, 1])
        return now_ms - self._units(8_000)

    def _withhold(self, now_ms: int) -> list[Operation]:
        lines = tuple(
            replace(
                line,
                policy=self.chance.choice(BUCKETS),
                flags=int(self.chance.random() < 0.3),
            )
            for line in self._stock_lines(-2, 3)
        )
        return [self._referring(commands.WITHHOLD, lines, flags=self._flags())]

    def _transfer(self, now_ms: int) -> list[Operation]:
        source, target = self._node(), self._node()
        if source == target:
            return []
        travels = self.chance.random() < 0.4
        lines = tuple(
            Line(
                self._sku(),
                source,
                target,
                self._units(3),
                number,
                time_ms=now_ms + self._units(10_000) if travels else 0,
                text=self._travelling() if travels else "",
            )
            for number in range(self.chance.choice([1, 1, 2]))
        )
        return [self._referring(commands.TRANSFER, lines)]

    def _travelling(self) -> str:
        self.made += 1
        return self.chance.choice(["t-1", "t-2", f"{self.prefix}t-{self.made}"])

    def _upsert_supply(self, now_ms: int) -> list[Operation]:
        self.made += 1
        name = self.chance.choice(
            [*SUPPLIES, *self.model.world.supplies, f"{self.prefix}po-{self.made}"]
        )
        known = self.model.world.supplies.get(name)
        place = known.stock if known and not self._rarely(10) else self.chance.choice(PLACES)
        line = Line(
            *place,
            name,
            self._units(8),
            policy=self.chance.choice([commands.PURCHASE_ORDER, commands.TRANSFER_SUPPLY]),
            time_ms=START_MS + 1000 * self.chance.randrange(60),
            flags=self._policy(),
            text=name,
        )
        source = ""
        if line.policy == commands.TRANSFER_SUPPLY and self.chance.random() < 0.6:
            source = self._node()
        return [Operation(commands.UPSERT_SUPPLY, (line,), self._request(), channel=source)]

    def _supply(self) -> str:
        open_ones = [name for name, each in self.model.world.supplies.items() if each.open]
        if open_ones and not self._rarely(10):
            return self.chance.choice(open_ones)
        return self.chance.choice(SUPPLIES)

    def _receive_supply(self, now_ms: int) -> list[Operation]:
        final = self.chance.random() < 0.3
        line = Line(scope=self._supply(), quantity=self.chance.randint(0, 6), flags=self._policy())
        flags = commands.FINAL if final else 0
        return [self._referring(commands.RECEIVE_SUPPLY, (line,), flags=flags)]

    def _cancel_supply(self, now_ms: int) -> list[Operation]:
        line = Line(scope=self._supply(), flags=self._policy())
        return [Operation(commands.CANCEL_SUPPLY, (line,), self._request())]

    # --- allowances ---------------------------------------------------------------

    def _allow(self, now_ms: int) -> list[Operation]:
        sku, node = self._sku(), self._node()
        units = self.chance.randint(0, 6)
        which = self.chance.choice([0, 1, 1, 1, 2, 3, 4])
        if which == 0:
            line = Line(sku, node, quantity=units)
            return [Operation(commands.SET_BACKORDER_LIMIT, (line,), self._request())]
        if which == 1:
            channel = "radio" if self._rarely() else self.chance.choice(CHANNELS)
            line = Line(sku, node, channel, units)
            return [Operation(commands.SET_CHANNEL_FENCE, (line,), self._request())]
        if which == 2:
            day = self.chance.random() < 0.7
            name = DAY if day else SLOT
            kind = commands.NODE_CAPACITY if day else commands.CARRIER_SLOT
            line = Line(name, "berlin", quantity=2 * units, kind=kind, text=name)
            return [Operation(commands.SET_CAPACITY, (line,), self._request())]
        if which == 3:
            flags = commands.UNLIMITED if self.chance.random() < 0.7 else 0
            line = Line(sku, quantity=4 * units)
            return [Operation(commands.SET_PURCHASE_LIMIT, (line,), self._request(), flags=flags)]
        frozen = int(self._rarely(3))
        return [Operation(commands.SET_NODE_FROZEN, (Line(node=node, quantity=frozen),))]

    # --- the same again -----------------------------------------------------------

    def _create_again(self, now_ms: int) -> list[Operation]:
        made = [each for each in self.model.made_by.values() if each.reservation_id]
        if not made:
            return []
        again = replace(self.chance.choice(made), request_id="")
        if again.amount <= 1 and not self._rarely(3):
            return [again]
        return [replace(again, amount=0, ttl_ms=again.ttl_ms + 1)]

    def _ask_again(self, now_ms: int) -> list[Operation]:
        if not self.asked:
            return []
        again = self.chance.choice(self.asked)
        return [replace(again, etag=again.etag + 1) if self._rarely(4) else again]
