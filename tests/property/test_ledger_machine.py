"""The engine against the model: random batches of random commands, compared after each batch.

Properties: every balance and every reservation is what the model says; the ledger is sound after
every batch; a replayed request gets its first answer, bit for bit; a restored ledger goes on as if
nothing had happened; the whole history gives the same state again, in the same batches and in
batches of one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from engine import commands, outcomes
from tests.columns import Line
from tests.ledger import START_MS
from tests.property.operations import Operation, numbered
from tests.property.pair import Pair
from tests.property.profiles import PROFILE
from tests.property.rerouting import rerouted
from tests.property.traffic import CHANNELS, NODES, OWNERS, PLACES, SKUS, Traffic


def _mostly(common: Sequence[str], rare: str) -> st.SearchStrategy[str]:
    """One of `common`, once in a while what nobody knows."""
    return st.integers(0, 39).map(lambda n: common[n % len(common)] if n else rare)


skus = _mostly(SKUS, "ghost")
nodes = _mostly(NODES, "nowhere")
maybe_nodes = st.one_of(st.just(""), nodes)
channels = _mostly(["", *CHANNELS], "radio")
owners = st.sampled_from(OWNERS)
units = st.integers(1, 5)
policies = st.sampled_from([commands.ON_HAND, commands.INCOMING, commands.BACKORDER])
fill_policies = st.sampled_from(
    [commands.ALL_OR_NONE, commands.ALL_OR_NONE, commands.PARTIAL_LINES, commands.PARTIAL_QUANTITY]
)
shortfall_policies = st.sampled_from([commands.REPORT, commands.CANCEL_NEWEST_HOLDS])
buckets = st.sampled_from(
    [commands.SAFETY_STOCK, commands.DAMAGED, commands.QUALITY_CONTROL, commands.FROZEN]
)
spans_ms = st.integers(1, 20_000)
refs = st.integers(0, 60)
lasts = st.sampled_from([False, False, True])
etags = st.sampled_from(["", "", "", "right", "right", "wrong"])
supply_names = st.sampled_from(["po-1", "po-2", "po-3", "shop", "t-1", "t-2"])

at_nodes = st.builds(
    Line, skus, nodes, quantity=units, policy=policies, time_ms=st.just(0) | spans_ms
)
in_groups = st.builds(
    Line,
    skus,
    scope=_mostly(["all", "south"], "west"),
    quantity=units,
    policy=policies,
    kind=st.just(commands.IN_GROUP),
)
capacity_lines = st.builds(
    Line,
    _mostly(["monday"], "never"),
    st.sampled_from(["berlin", "hamburg"]),
    quantity=st.integers(1, 2),
    kind=st.just(commands.NODE_CAPACITY),
) | st.builds(
    Line, st.just("pickup"), st.just("berlin"), quantity=units, kind=st.just(commands.CARRIER_SLOT)
)
wanted_lines = st.builds(
    lambda stock, capacity: stock + capacity,
    st.lists(at_nodes | in_groups, min_size=1, max_size=3),
    st.lists(capacity_lines, max_size=1),
)
by_line = st.lists(
    st.builds(
        Line,
        node=maybe_nodes,
        quantity=st.integers(1, 3),
        number=st.sampled_from([0, 0, 0, 1, 1, 2]),
        kind=st.just(commands.BY_LINE),
    ),
    min_size=1,
    max_size=2,
)
moves = st.lists(
    st.builds(
        Line,
        node=nodes,
        scope=nodes,
        quantity=st.integers(0, 3),
        number=st.sampled_from([0, 0, 0, 1, 2]),
        kind=st.just(commands.BY_LINE),
    ).filter(lambda line: line.node != line.scope),
    min_size=1,
    max_size=2,
)


def _numbered(lines: list[Line], now_ms: int = 0) -> tuple[Line, ...]:
    """Lines as an order has them: stock first, numbered through; times from now on."""
    capacity = (commands.NODE_CAPACITY, commands.CARRIER_SLOT)
    ordered = sorted(lines, key=lambda line: line.kind in capacity)
    return tuple(
        replace(line, number=number, time_ms=line.time_ms and now_ms + line.time_ms)
        for number, line in enumerate(ordered)
    )


def _one(kind: int, line: Line) -> Operation:
    return Operation(kind, (line,))


class LedgerMachine(RuleBasedStateMachine):
    """Rules add operations to a batch; the last of a batch applies it and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.ledger = self.pair.ledger
        self.model = self.pair.model
        self.pending: list[Operation] = []
        self.asked: list[Operation] = []  # everything sent under a request id
        self.counter = 0  # makes names

    # --- applying -----------------------------------------------------------

    def _add(self, operation: Operation, last: bool = False) -> None:
        self._add_all([operation], last)

    def _add_all(self, operations: list[Operation], last: bool) -> None:
        self.pending += operations
        self.asked += [each for each in operations if each.request_id]
        if last:
            self._apply()

    def _apply(self) -> None:
        if not self.pending:
            return
        operations, self.pending = self.pending, []
        for operation in operations:
            note(f"{self.ledger.now_ms - START_MS:>6} {operation.told()}")
        self.pair.apply(operations)

    def _name(self, ref: int, *, confirmed: bool = False) -> str:
        """The reservation a reference stands for: mostly one that can be worked on."""
        state = outcomes.CONFIRMED if confirmed else outcomes.HELD
        live = [each.name for each in self.model.live() if each.state == state]
        if live and ref % 8:
            return live[-1 - ref % len(live)]
        known = list(self.model.world.reservations) or ["unknown"]
        return known[ref % len(known)] if ref else "unknown"

    def _about(
        self,
        kind: int,
        name: str,
        lines: tuple[Line, ...] = (),
        etag: str = "",
        keyed: bool = False,
    ) -> Operation:
        """An operation on a reservation."""
        number = 0
        if etag and name in self.model.world.reservations:
            number = self.model.world.reservations[name].etag + 1000 * (etag == "wrong")
        return Operation(kind, lines, self._request(keyed), name, etag=number)

    def _request(self, keyed: bool) -> str:
        self.counter += 1
        return f"q-{self.counter}" if keyed else ""

    # --- rules: the world around ----------------------------------------------

    @initialize(
        counts=st.lists(st.integers(0, 12), min_size=len(PLACES), max_size=len(PLACES)),
        beyond=st.lists(st.integers(0, 4), min_size=len(PLACES), max_size=len(PLACES)),
        fences=st.lists(st.integers(0, 4), max_size=len(PLACES)),
        limit=st.none() | st.integers(4, 12),
        picks=st.integers(0, 12),
    )
    def furnish(
        self,
        counts: list[int],
        beyond: list[int],
        fences: list[int],
        limit: int | None,
        picks: int,
    ) -> None:
        """A world worth trading in."""
        lines = tuple(
            Line(sku, node, quantity=count, number=number)
            for number, ((sku, node), count) in enumerate(zip(PLACES, counts, strict=True))
        )
        self._add(Operation(commands.COUNT, lines))
        for place, backorders in zip(PLACES, beyond, strict=True):
            if backorders:
                self._add(_one(commands.SET_BACKORDER_LIMIT, Line(*place, quantity=backorders)))
        for number, fence in enumerate(fences):
            line = Line(*PLACES[number], CHANNELS[number % 2], fence)
            self._add(_one(commands.SET_CHANNEL_FENCE, line))
        if limit is not None:
            self._add(_one(commands.SET_PURCHASE_LIMIT, Line(SKUS[0], quantity=limit)))
        for name, kind in (
            ("monday", commands.NODE_CAPACITY),
            ("pickup", commands.CARRIER_SLOT),
        ):
            self._add(
                _one(
                    commands.SET_CAPACITY,
                    Line(name, "berlin", quantity=picks, kind=kind, text=name),
                )
            )
        self._apply()

    @rule(ms=st.integers(1, 6_000), expire=st.sampled_from([0, 1, 2, 10_000]))
    def pass_time(self, ms: int, expire: int) -> None:
        """Later, and what is due may be released first, as the sequencer does."""
        self._apply()
        self.ledger.now_ms += ms
        if expire:
            self._add(Operation(commands.EXPIRE, amount=expire))

    @rule(
        kind=st.sampled_from([commands.ADJUST, commands.WITHHOLD]),
        lines=st.lists(
            st.builds(
                Line,
                skus,
                nodes,
                quantity=st.integers(-4, 5),
                policy=buckets,
                flags=st.sampled_from([0, 0, 1]),
            ),
            min_size=1,
            max_size=3,
        ),
        per_line=st.booleans(),
        keyed=st.booleans(),
        last=lasts,
    )
    def change_stock(
        self, kind: int, lines: list[Line], per_line: bool, keyed: bool, last: bool
    ) -> None:
        """Units more or fewer, for sale or not."""
        if kind == commands.ADJUST:
            lines = [replace(line, policy=0, flags=0) for line in lines]
        flags = commands.PER_LINE if per_line else 0
        self._add(Operation(kind, _numbered(lines), self._request(keyed), flags=flags), last)

    @rule(
        lines=st.lists(
            st.builds(
                Line,
                skus,
                nodes,
                quantity=st.integers(0, 9),
                policy=shortfall_policies,
                time_ms=st.just(0) | st.integers(1, 9_000),
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda line: (line.sku, line.node),
        ),
        ahead_ms=st.integers(0, 19).map(lambda n: {0: 100_000, 1: 400_000}.get(n, 0)),
        per_line=st.booleans(),
        last=lasts,
    )
    def count_stock(self, lines: list[Line], ahead_ms: int, per_line: bool, last: bool) -> None:
        """What was counted, a while ago or (a clock is wrong) in a while."""
        now_ms = self.ledger.now_ms + ahead_ms
        dated = tuple(
            replace(line, number=number, time_ms=line.time_ms and now_ms - line.time_ms)
            for number, line in enumerate(lines)
        )
        flags = commands.PER_LINE if per_line else 0
        self._add(Operation(commands.COUNT, dated, flags=flags), last)

    @rule(
        lines=st.lists(
            st.builds(Line, skus, quantity=units, text=st.sampled_from(["t-1", "t-2", "t-3"])),
            min_size=1,
            max_size=2,
        ),
        source=nodes,
        destination=nodes,
        travel_ms=st.sampled_from([0, 5000]),
        keyed=st.booleans(),
        last=lasts,
    )
    def transfer(
        self,
        lines: list[Line],
        source: str,
        destination: str,
        travel_ms: int,
        keyed: bool,
        last: bool,
    ) -> None:
        """Units move between nodes, at once or as a supply on its way."""
        if source == destination:
            return
        moved = tuple(
            replace(
                line,
                node=source,
                scope=destination,
                number=number,
                time_ms=travel_ms and self.ledger.now_ms + travel_ms,
                text=line.text if travel_ms else "",
            )
            for number, line in enumerate(lines)
        )
        self._add(Operation(commands.TRANSFER, moved, self._request(keyed)), last)

    @rule(
        kind=st.sampled_from(
            [commands.UPSERT_SUPPLY] * 2 + [commands.RECEIVE_SUPPLY, commands.CANCEL_SUPPLY]
        ),
        name=supply_names,
        ref=refs,
        quantity=st.integers(1, 8),
        expected_ms=spans_ms,
        final=st.booleans(),
        source=st.sampled_from(["", *NODES]),
        policy=shortfall_policies,
        keyed=st.booleans(),
        last=lasts,
    )
    def change_supply(
        self,
        kind: int,
        name: str,
        ref: int,
        quantity: int,
        expected_ms: int,
        final: bool,
        source: str,
        policy: int,
        keyed: bool,
        last: bool,
    ) -> None:
        """A supply is announced, changed, received or cancelled."""
        known = self.model.world.supplies.get(name)
        sku, node = known.stock if known and ref % 8 else PLACES[ref % len(PLACES)]
        line = Line(scope=name, quantity=quantity, flags=policy)
        if kind == commands.UPSERT_SUPPLY:
            line = replace(
                line,
                sku=sku,
                node=node,
                policy=commands.TRANSFER_SUPPLY if source else commands.PURCHASE_ORDER,
                time_ms=START_MS + expected_ms // 1000 * 1000,
                text=name,
            )
        else:
            source = ""
        flags = commands.FINAL if final and kind == commands.RECEIVE_SUPPLY else 0
        made = Operation(kind, (line,), self._request(keyed), channel=source, flags=flags)
        self._add(made, last)

    @rule(
        line=st.one_of(
            st.builds(Line, skus, nodes, quantity=st.integers(0, 5)),
            st.builds(Line, skus, nodes, _mostly(CHANNELS, "radio"), st.integers(0, 6)),
            st.builds(
                Line,
                st.just("monday"),
                nodes,
                quantity=st.integers(0, 9),
                kind=st.just(commands.NODE_CAPACITY),
                text=st.just("monday"),
            ),
            st.builds(Line, skus, quantity=st.integers(0, 9), flags=st.sampled_from([0, 1])),
            st.builds(Line, node=nodes, quantity=st.integers(0, 1)),
        ),
        last=lasts,
    )
    def change_allowance(self, line: Line, last: bool) -> None:
        """Backorder limit, fence, capacity, purchase limit, freeze: told apart by their line."""
        if line.kind == commands.NODE_CAPACITY:
            operation = _one(commands.SET_CAPACITY, line)
        elif not line.sku:
            operation = _one(commands.SET_NODE_FROZEN, line)
        elif not line.node:
            unlimited = commands.UNLIMITED if line.flags else 0
            line = replace(line, flags=0)
            operation = Operation(commands.SET_PURCHASE_LIMIT, (line,), flags=unlimited)
        elif line.scope:
            operation = _one(commands.SET_CHANNEL_FENCE, line)
        else:
            operation = _one(commands.SET_BACKORDER_LIMIT, line)
        self._add(operation, last)

    # --- rules: reservations ----------------------------------------------------

    @rule(
        lines=wanted_lines,
        owner=owners,
        channel=channels,
        fill_policy=fill_policies,
        replaces=st.booleans(),
        ttl_ms=spans_ms,
        named=st.sampled_from([True, True, True, False]),
        keyed=st.booleans(),
        last=lasts,
    )
    def create(
        self,
        lines: list[Line],
        owner: str,
        channel: str,
        fill_policy: int,
        replaces: bool,
        ttl_ms: int,
        named: bool,
        keyed: bool,
        last: bool,
    ) -> None:
        """An order of all kinds of lines."""
        made = self._creating(lines, owner, channel, fill_policy, replaces, ttl_ms, keyed)
        self._add(made if named else replace(made, reservation_id=""), last)

    @rule(
        orders=st.lists(st.tuples(at_nodes, spans_ms), min_size=1, max_size=6),
        owner=owners,
        channel=channels,
        last=lasts,
    )
    def create_many(
        self, orders: list[tuple[Line, int]], owner: str, channel: str, last: bool
    ) -> None:
        """Small orders one after another, each on its own."""
        for line, ttl_ms in orders:
            self._add(
                self._creating([line], owner, channel, commands.ALL_OR_NONE, False, ttl_ms, True)
            )
        if last:
            self._apply()

    @rule(
        members=st.lists(
            st.tuples(
                wanted_lines,
                owners,
                channels,
                fill_policies,
                st.booleans(),
                spans_ms,
                st.booleans(),
            ),
            min_size=2,
            max_size=3,
        ),
        again=st.integers(0, 9),
        ref=refs,
        last=lasts,
    )
    def create_together(
        self, members: list[tuple[Any, ...]], again: int, ref: int, last: bool
    ) -> None:
        """Orders of which all stand or none does; now and then with a request id used before."""
        group = [self._creating(*member) for member in members]
        if again == 0 and self.asked:
            used = self.asked[ref % len(self.asked)].request_id
            group[-1] = replace(group[-1], request_id=used)
        self._add_all(numbered(group), last)

    def _creating(
        self,
        lines: list[Line],
        owner: str,
        channel: str,
        fill_policy: int,
        replaces: bool,
        ttl_ms: int,
        keyed: bool,
    ) -> Operation:
        self.counter += 1
        return Operation(
            commands.CREATE,
            _numbered(lines, self.ledger.now_ms),
            self._request(keyed),
            f"r-{self.counter}",
            owner,
            channel,
            fill_policy=fill_policy,
            flags=commands.REPLACE_OWNER_HOLDS if replaces and owner else 0,
            ttl_ms=ttl_ms,
        )

    @rule(
        kind=st.sampled_from([commands.CONFIRM, commands.FULFILL, commands.CANCEL]),
        ref=refs,
        lines=st.just([]) | by_line,
        etag=etags,
        keyed=st.booleans(),
        last=lasts,
    )
    def settle(
        self, kind: int, ref: int, lines: list[Line], etag: str, keyed: bool, last: bool
    ) -> None:
        """Confirm, fulfil or cancel, whole or by line."""
        name = self._name(ref, confirmed=kind == commands.FULFILL)
        self._add(self._about(kind, name, tuple(lines), etag, keyed), last)

    @rule(refs=st.lists(refs, min_size=1, max_size=5), last=lasts)
    def pay(self, refs: list[int], last: bool) -> None:
        """Confirm several orders as they are."""
        for ref in refs:
            self._add(self._about(commands.CONFIRM, self._name(ref)))
        if last:
            self._apply()

    @rule(ref=refs, lines=by_line, last=lasts)
    def ship(self, ref: int, lines: list[Line], last: bool) -> None:
        """A part of a paid order leaves."""
        name = self._name(ref, confirmed=True)
        self._add(self._about(commands.FULFILL, name, tuple(lines)), last)

    @rule(ref=refs, ttl_ms=spans_ms, etag=etags, keyed=st.booleans(), last=lasts)
    def extend(self, ref: int, ttl_ms: int, etag: str, keyed: bool, last: bool) -> None:
        """A hold is to live longer."""
        about = self._about(commands.EXTEND, self._name(ref), (), etag, keyed)
        self._add(replace(about, ttl_ms=ttl_ms), last)

    @rule(
        ref=refs,
        lines=wanted_lines,
        fill_policy=fill_policies,
        etag=etags,
        keyed=st.booleans(),
        last=lasts,
    )
    def revise(
        self,
        ref: int,
        lines: list[Line],
        fill_policy: int,
        etag: str,
        keyed: bool,
        last: bool,
    ) -> None:
        """Other lines instead of those."""
        new = _numbered(lines, self.ledger.now_ms)
        about = self._about(commands.REVISE, self._name(ref), new, etag, keyed)
        self._add(replace(about, fill_policy=fill_policy), last)

    @rule(ref=refs, lines=moves, towards=refs, etag=etags, keyed=st.booleans(), last=lasts)
    def reassign(
        self, ref: int, lines: list[Line], towards: int, etag: str, keyed: bool, last: bool
    ) -> None:
        """Units move to another node; mostly from one that has some."""
        name = self._name(ref)
        found = self.model.world.reservations.get(name)
        takes = [take for take in found.takes if take.carries and take.quantity] if found else []
        if takes and towards % 6:
            take = takes[towards % len(takes)]
            node = self.model.node_of(take.place)
            lines = [replace(lines[0], number=take.line, node=node), *lines[1:]]
            lines = [line for line in lines if line.node != line.scope]
        if lines:
            self._add(self._about(commands.REASSIGN, name, tuple(lines), etag, keyed), last)

    @rule(
        ref=refs,
        where=st.lists(nodes, min_size=1, max_size=3),
        policy=policies,
        is_split=st.booleans(),
        capacity=st.lists(capacity_lines, max_size=2),
        off_by=st.sampled_from([0] * 9 + [-1, 1]),
        etag=etags,
        keyed=st.booleans(),
        last=lasts,
    )
    def reroute(
        self,
        ref: int,
        where: list[str],
        policy: int,
        is_split: bool,
        capacity: list[Line],
        off_by: int,
        etag: str,
        keyed: bool,
        last: bool,
    ) -> None:
        """What is open moves elsewhere, mostly of an order of which a part has shipped."""
        self._apply()
        begun = [
            each.name
            for each in self.model.live()
            if any(take.fulfilled for take in each.takes if take.carries)
        ]
        name = begun[ref % len(begun)] if begun and ref % 4 else self._name(ref)
        lines = rerouted(self.model, name, where, policy=policy, is_split=is_split)
        if lines and off_by:
            lines[0] = replace(lines[0], quantity=lines[0].quantity + off_by)
        lines += [replace(line, number=100) for line in capacity]
        self._add(self._about(commands.REROUTE, name, tuple(lines), etag, keyed), last)

    @rule(
        ref=refs,
        lines=by_line,
        node=maybe_nodes,
        bucket=st.sampled_from([0, 0, commands.DAMAGED, commands.QUALITY_CONTROL]),
        keyed=st.booleans(),
        last=lasts,
    )
    def give_back(
        self, ref: int, lines: list[Line], node: str, bucket: int, keyed: bool, last: bool
    ) -> None:
        """Shipped units come back."""
        back = tuple(replace(line, scope=node, policy=bucket) for line in lines)
        shipped = [
            each.name
            for each in self.model.world.reservations.values()
            if any(take.fulfilled for take in each.takes)
        ]
        name = shipped[ref % len(shipped)] if shipped and ref % 8 else self._name(ref)
        self._add(self._about(commands.RETURN, name, back, keyed=keyed), last)

    # --- rules: the same again ----------------------------------------------------

    @rule(ref=refs, changed=st.booleans(), last=lasts)
    def create_again(self, ref: int, changed: bool, last: bool) -> None:
        """The same reservation id: with the same body its answer, with another a refusal."""
        made = self.model.made_by.get(self._name(ref))
        if made is not None and made.reservation_id and made.amount <= 1:
            ttl_ms = made.ttl_ms + int(changed)
            self._add(replace(made, request_id="", ttl_ms=ttl_ms), last)

    @rule(refs=st.lists(refs, min_size=1, max_size=4), other=st.integers(0, 4), last=lasts)
    def ask_again(self, refs: list[int], other: int, last: bool) -> None:
        """Request ids a second time: for the same, or for something else."""
        for ref in refs:
            if not self.asked:
                return
            again = self.asked[-1 - ref % len(self.asked)]
            if again.amount <= 1:
                self._add(again if other else replace(again, etag=again.etag + 1))
        if last:
            self._apply()

    # --- rules: many at once, and the ledger as a whole -----------------------------

    @rule(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 12), max_size=4))
    def busy_minute(self, seed: int, sizes: list[int]) -> None:
        """Some batches of mixed traffic."""
        self._apply()
        self.counter += 1
        traffic = Traffic(random.Random(seed), self.model, prefix=f"m{self.counter}-")
        for size in sizes:
            self.ledger.now_ms += 100
            self._add_all(traffic.batch(self.ledger.now_ms, size), last=True)

    @rule(often=st.integers(0, 4))
    def restore(self, often: int) -> None:
        """From here on with a ledger restored from a snapshot."""
        if often == 0:
            self._apply()
            self.pair.restore()

    def teardown(self) -> None:
        self._apply()
        self.pair.verify_replay()


TestLedger = LedgerMachine.TestCase
TestLedger.settings = PROFILE
