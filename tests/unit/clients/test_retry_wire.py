"""Retries as a server sees them: the same for the blocking and the asyncio client."""

from __future__ import annotations

import grpc
import pytest

from holdfast import errors
from holdfast.retry import RetryPolicy
from holdfast.throttle import Throttle
from holdfast.v1 import reservation_service_pb2 as wire
from tests.unit.clients.conftest import Caller
from tests.unit.clients.fake_server import FakeServer, Refusal, Silence

HELD = wire.CreateReservationResponse(revision=7)
HELD.reservation.reservation_id = "r-1"
OVERLOADED = Refusal(grpc.StatusCode.UNAVAILABLE, "OVERLOADED")


def reserve(client):
    return client.reserve([("SKU-1", "WH-1", 2)], owner="cart-1", ttl=900)


def test_the_request_id_is_made_once_and_kept_over_retries(server: FakeServer, caller: Caller):
    server.script("CreateReservation", OVERLOADED, OVERLOADED, HELD)
    assert caller.run(reserve).reservation_id == "r-1"
    ids = [request.request_id for request in server.requests("CreateReservation")]
    assert len(ids) == 3
    assert ids[0] != ""
    assert set(ids) == {ids[0]}


def test_two_calls_have_two_request_ids(server: FakeServer, caller: Caller):
    server.script("CreateReservation", HELD)
    caller.run(reserve)
    caller.run(reserve)
    assert len({request.request_id for request in server.requests("CreateReservation")}) == 2


def test_waits_grow_with_full_jitter(server: FakeServer, caller: Caller):
    caller.policy = RetryPolicy(attempts_max=5, backoff_s=0.1, backoff_s_max=0.25)
    server.script("CreateReservation", OVERLOADED)
    with pytest.raises(errors.Overloaded) as caught:
        caller.run(reserve)
    # Half of 0.1, 0.2, then of the ceiling.
    assert caller.time.waits_s == pytest.approx([0.05, 0.1, 0.125, 0.125])
    assert caught.value.attempts == 5
    assert caught.value.gave_up == "every attempt used"


def test_pushback_is_obeyed_to_the_millisecond(server: FakeServer, caller: Caller):
    server.script(
        "CreateReservation",
        Refusal(grpc.StatusCode.UNAVAILABLE, "OVERLOADED", pushback="137", retry_after_s=3),
        HELD,
    )
    caller.run(reserve)
    assert caller.time.waits_s == [0.137]


@pytest.mark.parametrize("pushback", ["-1", "soon", ""])
def test_a_pushback_that_says_never_ends_the_call(
    server: FakeServer, caller: Caller, pushback: str
):
    server.script(
        "CreateReservation", Refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING", pushback=pushback)
    )
    with pytest.raises(errors.Draining) as caught:
        caller.run(reserve)
    assert caught.value.attempts == 1
    assert caught.value.gave_up == "the server forbade a retry"


def test_retry_info_is_the_least_wait(server: FakeServer, caller: Caller):
    server.script(
        "CreateReservation",
        Refusal(grpc.StatusCode.UNAVAILABLE, "OVERLOADED", retry_after_s=0.25),
        HELD,
    )
    caller.run(reserve)
    (wait_s,) = caller.time.waits_s
    assert 0.25 <= wait_s <= 0.25 + caller.policy.backoff_s


def test_cancelled_by_the_server_is_tried_again(server: FakeServer, caller: Caller):
    server.script("CreateReservation", Refusal(grpc.StatusCode.CANCELLED), HELD)
    assert caller.run(reserve).revision == 7


def test_a_lost_answer_is_asked_for_again(server: FakeServer, caller: Caller):
    caller.timeout_s = 1.0
    caller.policy = RetryPolicy(attempt_share=0.1)
    server.script("CreateReservation", Silence(), HELD)
    assert caller.run(reserve).revision == 7
    first, second = server.requests("CreateReservation")
    assert first.request_id == second.request_id


def test_an_attempt_gets_its_share_of_the_deadline(server: FakeServer, caller: Caller):
    caller.timeout_s = 40.0
    caller.policy = RetryPolicy(attempts_max=2, attempt_share=0.25)
    server.script("CreateReservation", OVERLOADED, HELD)
    caller.run(reserve)
    first, second = [each.time_remaining_s for each in server.received]
    assert first is not None
    assert second is not None
    assert first <= 11.0  # the header has few digits and is rounded up
    # The last attempt may use all that is left.
    assert 20.0 < second <= 44.0


def test_no_wait_goes_past_the_deadline(server: FakeServer, caller: Caller):
    caller.timeout_s = 1.0
    server.script(
        "CreateReservation", Refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING", pushback="1500")
    )
    with pytest.raises(errors.Draining) as caught:
        caller.run(reserve)
    assert caught.value.gave_up == "no time left"
    assert caught.value.retry_after_s == 1.5
    assert caller.time.waits_s == []


def test_retries_stop_when_the_budget_is_spent_and_earn_it_back(server: FakeServer, caller: Caller):
    caller.policy = RetryPolicy(attempts_max=4, budget_tokens_max=2, budget_per_call=0.25)
    server.script("CreateReservation", OVERLOADED)
    with pytest.raises(errors.Overloaded) as caught:
        caller.run(reserve)
    assert caught.value.attempts == 3
    assert caught.value.gave_up == "retry budget spent"
    attempts = []
    for _ in range(5):
        with pytest.raises(errors.Overloaded) as caught:
            caller.run(reserve)
        attempts.append(caught.value.attempts)
    # Four calls earn one retry.
    assert attempts == [1, 1, 1, 2, 1]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_STOCK"),
        (grpc.StatusCode.ABORTED, "ETAG_MISMATCH"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ""),
        (grpc.StatusCode.INTERNAL, "INVARIANT_VIOLATED"),
        (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
    ],
)
def test_what_repeating_can_not_help_is_not_repeated(
    server: FakeServer, caller: Caller, code: grpc.StatusCode, reason: str
):
    server.script("CreateReservation", Refusal(code, reason))
    with pytest.raises(errors.HoldfastError) as caught:
        caller.run(reserve)
    assert caught.value.attempts == 1
    assert len(server.received) == 1


def test_a_write_without_request_id_is_never_repeated(server: FakeServer, caller: Caller):
    server.script("CreateReservation", OVERLOADED, HELD)
    with pytest.raises(errors.Overloaded):
        caller.run(lambda client: client.reserve([("SKU-1", "WH-1", 2)], request_id=""))
    assert len(server.received) == 1


def test_reads_are_repeated(server: FakeServer, caller: Caller):
    server.script("GetReservation", OVERLOADED, wire.GetReservationResponse(revision=3))
    assert caller.run(lambda client: client.get("r-1")).revision == 3


def test_the_throttle_holds_calls_back_without_sending_them(server: FakeServer, caller: Caller):
    caller.throttle = Throttle(k=1.5)
    caller.policy = RetryPolicy(attempts_max=1)
    server.script("CreateReservation", OVERLOADED)
    kinds = []
    for _ in range(20):
        with pytest.raises(errors.Unavailable) as caught:
            caller.run(reserve)
        kinds.append(type(caught.value))
    # n requests, none accepted: dropped once n / (n + 1) is beyond the drawn half.
    assert kinds == [errors.Overloaded] * 2 + [errors.Throttled] * 18
    assert len(server.received) == 2


def test_refusals_of_the_ledger_do_not_throttle(server: FakeServer, caller: Caller):
    caller.throttle = Throttle(k=1.5)
    server.script(
        "CreateReservation", Refusal(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_STOCK")
    )
    for _ in range(20):
        with pytest.raises(errors.InsufficientStock):
            caller.run(reserve)
    assert len(server.received) == 20


def test_no_server_at_all_is_unavailable(caller: Caller, unused_tcp_port: int):
    caller.target = f"127.0.0.1:{unused_tcp_port}"
    with pytest.raises(errors.Unavailable) as caught:
        caller.run(reserve)
    assert caught.value.attempts == 4
    assert caught.value.method == "CreateReservation"
    assert caught.value.request_id


def confirm(client):
    return client.confirm("r-1")


CONFIRMED = wire.ConfirmReservationResponse(revision=8)
CONFIRMED.reservation.reservation_id = "r-1"
SHED = Refusal(grpc.StatusCode.CANCELLED, message="CANCELLED")
"""What gRPC's core sheds: no reason, no details."""


def test_what_the_core_sheds_is_sent_again_under_the_same_request_id(
    server: FakeServer, caller: Caller
):
    server.script("CreateReservation", SHED, SHED, HELD)
    assert caller.run(reserve).reservation_id == "r-1"
    ids = [request.request_id for request in server.requests("CreateReservation")]
    assert len(ids) == 3
    assert set(ids) == {ids[0]}


def test_a_confirmation_is_never_throttled(server: FakeServer, caller: Caller):
    caller.throttle = Throttle(k=1.0)
    caller.chance = 0.0  # the throttle drops whatever it may
    server.script("CreateReservation", OVERLOADED)
    server.script("ConfirmReservation", CONFIRMED)
    caller.policy = RetryPolicy(attempts_max=1)

    for _ in range(20):
        with pytest.raises(errors.Unavailable):
            caller.run(reserve)
    with pytest.raises(errors.Throttled) as caught:
        caller.run(reserve)
    assert 0.5 <= (caught.value.retry_after_s or 0.0) <= 1.5
    assert caller.run(confirm).reservation_id == "r-1"


def test_a_confirmation_has_attempts_and_a_budget_of_its_own(server: FakeServer, caller: Caller):
    caller.policy = RetryPolicy(budget_tokens_max=2.0, budget_per_call=0.0)
    server.script("CreateReservation", OVERLOADED)
    for _ in range(2):
        with pytest.raises(errors.Overloaded):
            caller.run(reserve)
    with pytest.raises(errors.Overloaded) as caught:
        caller.run(reserve)
    assert caught.value.gave_up == "retry budget spent"
    server.script("ConfirmReservation", *[SHED] * 2, CONFIRMED)
    assert caller.run(confirm).reservation_id == "r-1"
    assert len({request.request_id for request in server.requests("ConfirmReservation")}) == 1


@pytest.mark.parametrize(("attempts_max", "sent"), [(1, 1), (2, 10), (15, 15)])
def test_how_often_a_confirmation_is_sent(
    server: FakeServer, caller: Caller, attempts_max: int, sent: int
):
    caller.policy = RetryPolicy(attempts_max=attempts_max, budget_tokens_max=100, backoff_s=0.001)
    server.script("ConfirmReservation", SHED)
    with pytest.raises(errors.Overloaded) as caught:
        caller.run(confirm)
    assert caught.value.attempts == len(server.requests("ConfirmReservation")) == sent


def test_what_was_shed_in_vain_has_a_reason_and_a_time_to_come_back(
    server: FakeServer, caller: Caller
):
    server.script("CreateReservation", SHED)
    with pytest.raises(errors.Overloaded) as caught:
        caller.run(reserve)
    assert caught.value.reason == "OVERLOADED"
    assert caught.value.code is grpc.StatusCode.CANCELLED
    assert 0.25 <= (caught.value.retry_after_s or 0.0) <= 0.75
