"""CreateCollector: those who come at the same time go together, and first come is first served."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.v1 import reservation_service_pb2 as messages
from server.caller import Caller
from server.transport import detached
from server.transport.channel_nodes import ChannelNodes
from server.transport.create_collector import Answer, CreateCollector
from server.transport.ledger_view import LedgerView
from tests.wire.conftest import Wire, create

ALICE, BOB = Caller(b"alice"), Caller(b"bob")
FOR_EVER, HURRIED = None, 0.2


class Asked:
    """A call of someone with so much time left, in seconds."""

    def __init__(self, caller: Caller, remaining_s: float | None) -> None:
        self.caller = caller
        self._remaining_s = remaining_s

    def remaining_s(self) -> float | None:
        return self._remaining_s


async def all_at_once(
    wire: Wire, wishes: Sequence[tuple[Caller, float | None, messages.CreateReservationRequest]]
) -> list[Answer | None]:
    """Creates that come in one turn of the event loop, in this order."""
    view = LedgerView(wire.server._gateway)
    collector = CreateCollector(view, ChannelNodes(view), lambda: 0.0)
    calls = (
        collector.create(request.SerializeToString(), Asked(caller, remaining_s))  # type: ignore[arg-type]
        for caller, remaining_s, request in wishes
    )
    return list(await asyncio.gather(*calls))


@pytest.fixture
async def wire(tmp_path: Path):
    made = Wire(tmp_path / "data")
    await made.start()
    await made.nodes("berlin")
    await made.items("pear")
    yield made
    await made.stop()


@pytest.mark.parametrize("hurried", [(), (3,), (0, 4), (5,)])
async def test_the_last_units_go_to_who_came_first_whoever_that_is(
    wire: Wire, hurried: tuple[int, ...]
) -> None:
    await wire.stock("pear", "berlin", 4)
    callers = itertools.cycle((ALICE, BOB, BOB))
    wishes = [
        (next(callers), HURRIED if number in hurried else FOR_EVER, create(("pear", "berlin", 1)))
        for number in range(8)
    ]
    answers = await all_at_once(wire, wishes)
    assert [isinstance(answer, bytes) for answer in answers] == [True] * 4 + [False] * 4
    assert (await wire.position("pear", "berlin")).held == 4


async def test_one_set_is_one_piece_of_the_ledger_and_each_gets_its_own_answer(
    wire: Wire,
) -> None:
    await wire.stock("pear", "berlin", 9)
    before = wire.server._gateway.state.revision
    wishes = [
        (caller, FOR_EVER, create(("pear", "berlin", units), reservation_id=name))
        for caller, units, name in ((ALICE, 1, "a"), (BOB, 2, "b"), (ALICE, 3, "c"))
    ]
    answers = await all_at_once(wire, wishes)
    made = [
        messages.CreateReservationResponse.FromString(answer)
        for answer in answers
        if isinstance(answer, bytes)
    ]
    assert [one.reservation.reservation_id for one in made] == ["a", "b", "c"]
    assert [one.reservation.lines[0].quantity for one in made] == [1, 2, 3]
    assert [one.revision for one in made] == [before + 1, before + 2, before + 3]


async def test_an_unusual_request_is_left_to_protobuf_and_the_others_go_on(wire: Wire) -> None:
    await wire.stock("pear", "berlin", 9)
    strange = create(("pear", "berlin", 1), owner="Zo\u00eb")
    usual = create(("pear", "berlin", 1))
    first, second, third = await all_at_once(
        wire, [(ALICE, FOR_EVER, usual), (ALICE, FOR_EVER, strange), (BOB, FOR_EVER, usual)]
    )
    assert second is None
    assert [isinstance(answer, bytes) for answer in (first, third)] == [True, True]
    assert (await wire.position("pear", "berlin")).held == 2


async def test_who_has_an_answer_or_has_gone_is_under_way_no_longer(wire: Wire) -> None:
    await wire.stock("pear", "berlin", 9)
    view = LedgerView(wire.server._gateway)
    collector = CreateCollector(view, ChannelNodes(view), lambda: 0.0)
    usual = create(("pear", "berlin", 1)).SerializeToString()
    strange = create(("pear", "berlin", 1), owner="Zo\u00eb").SerializeToString()
    told, left, hurried, gone = (
        collector.create(raw, Asked(ALICE, remaining_s))  # type: ignore[arg-type]
        for raw, remaining_s in (
            (usual, FOR_EVER),
            (strange, FOR_EVER),
            (usual, HURRIED),
            (usual, FOR_EVER),
        )
    )
    assert collector._crowd._under_way == 4
    gone.cancel()
    await asyncio.gather(told, left, hurried)
    await asyncio.gather(*detached._under_way)
    assert collector._crowd._under_way == 0
