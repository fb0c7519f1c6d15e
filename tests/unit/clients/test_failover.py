"""A client that knows several servers, of which one serves: where it sends what."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

import holdfast
from holdfast import errors
from holdfast.channels import Address
from holdfast.retry import RetryPolicy
from holdfast.v1 import reservation_service_pb2 as wire
from tests.redis_server import free_port
from tests.unit.clients.conftest import Caller, Time
from tests.unit.clients.fake_server import FakeServer, Refusal, Silence

HELD = wire.CreateReservationResponse(revision=7)
HELD.reservation.reservation_id = "r-1"
STANDBY = Refusal(grpc.StatusCode.UNAVAILABLE, "SHARD_MOVED", pushback="100")
DRAINING = Refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING", pushback="250")
OVERLOADED = Refusal(grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
GONE = Refusal(grpc.StatusCode.UNAVAILABLE)


@pytest.fixture
def other() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture(params=["sync", "aio"])
def caller(request: pytest.FixtureRequest, server: FakeServer, other: FakeServer) -> Caller:
    return Caller(request.param, f"{server.target},{other.target}", Time())


def reserve(client):
    return client.reserve([("SKU-1", "WH-1", 2)], owner="cart-1", ttl=900)


def twice(client):
    """Two calls after one another."""
    if isinstance(client, holdfast.Client):
        return [reserve(client), reserve(client)]

    async def both():
        return [await reserve(client), await reserve(client)]

    return both()


def count(server: FakeServer) -> int:
    return len(server.requests("CreateReservation"))


@pytest.mark.parametrize("refusal", [STANDBY, DRAINING], ids=["standby", "draining"])
def test_a_server_that_is_not_the_one_passes_the_call_on(
    server: FakeServer, other: FakeServer, caller: Caller, refusal: Refusal
):
    server.script("CreateReservation", refusal)
    other.script("CreateReservation", HELD)
    caller.run(twice)
    # The second call begins where the first one was answered.
    assert (count(server), count(other)) == (1, 2)
    assert caller.time.waits_s == [int(refusal.pushback or 0) / 1_000]
    first, second = (each.requests("CreateReservation")[0] for each in (server, other))
    assert first.request_id == second.request_id


def test_passing_on_costs_neither_budget_nor_attempts(
    server: FakeServer, other: FakeServer, caller: Caller
):
    caller.policy = RetryPolicy(attempts_max=1, budget_tokens_max=0)
    server.script("CreateReservation", DRAINING, HELD)
    other.script("CreateReservation", STANDBY)
    caller.run(reserve)
    assert (count(server), count(other)) == (2, 1)
    assert caller.budget is not None
    assert caller.budget.spent == 0


def test_passing_on_ends_with_the_deadline(server: FakeServer, other: FakeServer, caller: Caller):
    server.script("CreateReservation", STANDBY)
    other.script("CreateReservation", STANDBY)
    with pytest.raises(errors.ShardMoved) as caught:
        caller.run(reserve)
    assert caught.value.gave_up == "no time left"
    assert sum(caller.time.waits_s) <= caller.timeout_s


def test_a_server_that_is_not_there_costs_nothing(
    server: FakeServer, other: FakeServer, caller: Caller
):
    caller.target = f"127.0.0.1:{free_port()},{other.target}"
    caller.policy = RetryPolicy(attempts_max=1, budget_tokens_max=0)
    other.script("CreateReservation", HELD)
    caller.run(twice)
    assert count(other) == 2
    assert len(caller.time.waits_s) == 1


def test_none_that_is_there_is_asked_less_and_less_often(caller: Caller):
    caller.target = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    with pytest.raises(errors.Unavailable) as caught:
        caller.run(reserve)
    assert caught.value.gave_up == "no time left"
    # Half of 25 ms, doubled with every attempt up to a second's half.
    assert caller.time.waits_s[:7] == pytest.approx([0.025, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5])


def test_a_call_that_was_lost_is_paid_and_goes_to_the_other(
    server: FakeServer, other: FakeServer, caller: Caller
):
    server.script("CreateReservation", GONE)
    other.script("CreateReservation", HELD)
    caller.run(reserve)
    assert (count(server), count(other)) == (1, 1)
    assert caller.budget is not None
    assert caller.budget.spent == 1


def test_an_overloaded_server_is_not_left(server: FakeServer, other: FakeServer, caller: Caller):
    server.script("CreateReservation", OVERLOADED, HELD)
    other.script("CreateReservation", STANDBY)
    caller.run(reserve)
    assert (count(server), count(other)) == (2, 0)


def test_a_refusal_of_the_ledger_is_an_answer(
    server: FakeServer, other: FakeServer, caller: Caller
):
    server.script(
        "CreateReservation",
        Refusal(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_STOCK"),
    )
    with pytest.raises(errors.InsufficientStock):
        caller.run(reserve)
    assert count(other) == 0


def test_a_server_that_keeps_silent_is_left(server: FakeServer, other: FakeServer, caller: Caller):
    caller.timeout_s = 1.0
    server.script("CreateReservation", Silence())
    other.script("CreateReservation", HELD)
    caller.run(reserve)
    assert (count(server), count(other)) == (1, 1)


def test_an_exchange_goes_on_with_the_other_server(
    server: FakeServer, other: FakeServer, caller: Caller
):
    def standby(requests):
        yield STANDBY

    def serving(requests):
        for request in requests:
            result = wire.ExchangeReservationsResponse(correlation_id=request.correlation_id)
            result.create_reservation.CopyFrom(HELD)
            yield result

    server.stream("ExchangeReservations", standby)
    other.stream("ExchangeReservations", serving)

    def blocking(client):
        with client.exchange() as stream:
            return stream.reserve([("SKU-1", "WH-1", 2)], ttl=900).result()

    async def awaited(client):
        async with client.exchange() as stream:
            return await stream.reserve([("SKU-1", "WH-1", 2)], ttl=900)

    assert caller.run(blocking if caller.flavour == "sync" else awaited).reservation_id == "r-1"


def test_targets_are_told_apart_by_commas():
    assert Address.of("a:1, b:2").targets == ("a:1", "b:2")
    assert Address.of("[::1]:7420").targets == ("[::1]:7420",)


@pytest.mark.parametrize("target", ["a:1,", ",", ",".join(["a:1"] * 17)])
def test_a_list_with_a_hole_or_without_end_is_refused(target: str):
    with pytest.raises(ValueError, match="with commas between"):
        holdfast.Client(target)


def test_a_server_that_sheds_is_not_left(server: FakeServer, other: FakeServer, caller: Caller):
    """What gRPC's core sheds has no reason; the others stand by, and could not help."""
    server.script("CreateReservation", Refusal(grpc.StatusCode.CANCELLED), HELD)
    other.script("CreateReservation", STANDBY)
    assert caller.run(reserve).reservation_id == "r-1"
    assert len(server.received) == 2
    assert not other.received


CONFIRMED = wire.ConfirmReservationResponse(revision=8)
CONFIRMED.reservation.reservation_id = "r-1"


def confirm(client):
    return client.confirm("r-1")


def test_what_settles_a_hold_goes_where_nothing_else_does(
    server: FakeServer, other: FakeServer, caller: Caller
):
    caller.target, caller.settle_target = server.target, other.target
    server.script("CreateReservation", HELD)
    other.script("ConfirmReservation", CONFIRMED)
    caller.run(reserve)
    caller.run(confirm)
    assert [call.method for call in server.received] == ["CreateReservation"]
    assert [call.method for call in other.received] == ["ConfirmReservation"]


def test_what_settles_a_hold_goes_with_all_else_where_there_is_no_such_place(
    server: FakeServer, caller: Caller
):
    caller.target, caller.settle_target = server.target, f"127.0.0.1:{free_port()}"
    server.script("ConfirmReservation", CONFIRMED)
    assert caller.run(confirm).reservation_id == "r-1"
