"""Afterwards: is everything that was acknowledged still true, and was nothing promised twice?

Three independent answers: the shop's own ledger against every reservation and every position of
the server; the server's own verification; and answers that are asked for once more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from holdfast import aio
from holdfast.demo.checkout import Sample, Shop
from holdfast.demo.ledger import Ledger, Promise
from holdfast.errors import HoldfastError
from holdfast.values.inventory import Verification
from holdfast.values.reservations import Reservation, ReservationState

PAGE = 1_000
DIFFERENCES_SHOWN = 10


@dataclass(slots=True)
class Findings:
    """What the audit found. Anything but zero and true is a fault of the server."""

    reservations_checked: int = 0
    positions_checked: int = 0
    lost: set[str] = field(default_factory=set)
    """Reservations whose acknowledged steps the server no longer knows, or knows otherwise."""
    oversold_units: int = 0
    """By the shop's own ledger: units promised while they were not there."""
    oversold_units_by_server: int = 0
    """By the server's balances: units promised beyond what is there and what counts explain."""
    balances_wrong: int = 0
    """Positions whose balance is not what the acknowledged steps lead to."""
    answers_repeated: int = 0
    answers_changed: int = 0
    expired: int = 0
    """Carts that were abandoned in the season and let go."""
    not_expired: int = 0
    """Abandoned carts that still hold stock."""
    netted_wrong: int = 0
    verification: Verification | None = None
    differences: list[str] = field(default_factory=list)
    """The first few, for people."""

    @property
    def sound(self) -> bool:
        """Whether nothing at all is wrong."""
        faults = (
            len(self.lost),
            self.oversold_units,
            self.oversold_units_by_server,
            self.balances_wrong,
            self.answers_changed,
            self.not_expired,
            self.netted_wrong,
        )
        verified = self.verification is not None and self.verification.sound
        return not any(faults) and verified

    def differ(self, text: str) -> None:
        """Keep one difference, if there is room."""
        if len(self.differences) < DIFFERENCES_SHOWN:
            self.differences.append(text)


async def wait_for_expiry(client: aio.Client, patience_s: float) -> None:
    """Wait until no hold is open any more, or patience ends."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while asyncio.get_running_loop().time() < deadline:
        status = await client.status()
        if not any(shard.open_holds for shard in status.shards):
            return
        await asyncio.sleep(0.2)


async def audit(client: aio.Client, shop: Shop, ledger: Ledger, netted_by_server: int) -> Findings:
    """Compare the book with the server. The season is over and every hold's time has passed."""
    findings = Findings()
    status = await client.status()
    assert status.ledger_time is not None
    ledger.replay(shop.book.entries)
    ledger.expire(round(status.ledger_time.timestamp() * 1_000))
    await _compare_reservations(client, shop, ledger, findings)
    await _compare_positions(client, ledger, findings)
    await _repeat_answers(shop.samples, findings)
    for fault in ledger.impossible:
        findings.lost.add(fault.split()[0])
        findings.differ(fault)
    findings.oversold_units = sum(ledger.oversold.values())
    for position, units in ledger.oversold.items():
        findings.differ(f"{position[0]} at {position[1]} oversold by {units}")
    findings.netted_wrong = abs(sum(ledger.netted.values()) - netted_by_server)
    findings.verification = await client.verify(timeout=120.0)
    for difference in findings.verification.differences:
        findings.differ(
            f"{difference.position}: {difference.field} is {difference.stored}, "
            f"recomputed {difference.recomputed}"
        )
    return findings


async def _compare_reservations(
    client: aio.Client, shop: Shop, ledger: Ledger, findings: Findings
) -> None:
    found: dict[str, Reservation] = {}
    async for reservation in client.list(page_size=PAGE, timeout=30.0):
        found[reservation.reservation_id] = reservation
    abandoned = {shop.purchases[name].reservation_id for name in shop.abandoned}
    for reservation_id, promise in ledger.promises.items():
        findings.reservations_checked += 1
        fault = _difference(found.get(reservation_id), promise, shop.book.latest[reservation_id])
        if fault:
            findings.lost.add(reservation_id)
            findings.differ(f"{reservation_id}: {fault}")
    for reservation_id in abandoned | shop.promised:
        if reservation_id in found and found[reservation_id].state is ReservationState.EXPIRED:
            findings.expired += reservation_id in abandoned
        else:
            findings.not_expired += 1
    for reservation_id in found.keys() - ledger.promises.keys():
        findings.lost.add(reservation_id)
        findings.differ(f"{reservation_id}: the server has it, but nobody was told")


def _difference(reservation: Reservation | None, promise: Promise, latest: Reservation) -> str:
    """What the server tells otherwise than the acknowledged steps; empty: nothing."""
    if reservation is None:
        return "the server does not know it any more"
    if reservation.state is not promise.state:
        return f"it is {reservation.state}, but was acknowledged as {promise.state}"
    if len(reservation.lines) != len(promise.lines):
        return f"it has {len(reservation.lines)} lines, not {len(promise.lines)}"
    if promise.state is latest.state and reservation.lines != latest.lines:
        return "its lines are not those of its last answer"
    for index, (line, expected) in enumerate(zip(reservation.lines, promise.lines, strict=True)):
        numbers = {
            "open": (line.open_quantity, expected.open),
            "shipped": (line.fulfilled_quantity, expected.shipped),
            "cancelled": (line.cancelled_quantity, expected.cancelled),
            "returned": (line.returned_quantity, expected.returned),
        }
        for name, (has, should) in numbers.items():
            if has != should:
                return f"line {index} has {has} units {name}, acknowledged were {should}"
    return ""


async def _compare_positions(client: aio.Client, ledger: Ledger, findings: Findings) -> None:
    shortfall = 0
    async for position in client.positions(page_size=PAGE, timeout=30.0):
        findings.positions_checked += 1
        shortfall += position.shortfall
        balance = ledger.balances[position.sku, position.node]
        has = (
            position.on_hand,
            position.held,
            position.committed,
            position.withheld.damaged,
            position.available,
        )
        should = (
            balance.on_hand,
            balance.held,
            balance.committed,
            balance.damaged,
            balance.available,
        )
        if has != should:
            findings.balances_wrong += 1
            findings.differ(f"{position.sku} at {position.node}: {has}, should be {should}")
    findings.oversold_units_by_server = max(0, shortfall - ledger.shortfall_found)


async def _repeat_answers(samples: list[Sample], findings: Findings) -> None:
    """Send calls once more under their request_id: the answer must be the first one."""
    for sample in samples:
        findings.answers_repeated += 1
        answer: Reservation | str
        try:
            answer = await sample.send()
        except HoldfastError as refusal:
            answer = refusal.reason
        if answer != sample.answer:
            findings.answers_changed += 1
            findings.differ(f"the answer {sample.answer} became {answer}")
