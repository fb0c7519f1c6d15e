"""Whether, and when, a failed call is sent again: policy, budget, and the attempts of one call.

Pure but for the clock and the chance it is given; both clients drive the same `Attempts`.

Invariants
1. A call is sent again only when that is safe: it is a read, or it bears a request_id, which all
   its attempts share.
2. Retries are paid from a budget that calls fill, so that they stay a share of the traffic. A call
   that is only passed on to another server (`ChannelPool.leave`) is not paid, and not counted: it
   was not sent, or its server has said that another one serves; and once when it said nothing.
3. The server's word wins: a pushback is obeyed to the millisecond, and "never" is never.
4. No attempt and no wait goes past the call's deadline.
5. What is urgent (it settles a hold: the shopper has paid, or gives the units back) is never held
   back by the throttle, and its retries come from a budget of its own: what gRPC's core sheds is
   drawn by lot, whatever it is, and a confirmation must not run out of tickets.

The retryable codes were measured, not guessed: what gRPC's core sheds before the server's Python
sees it arrives as UNAVAILABLE or as CANCELLED without details; with both, every such call of a
test came through, with UNAVAILABLE alone one in five.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from holdfast.errors import DeadlineExceeded, HoldfastError, Overloaded, Throttled
from holdfast.failures import Failure
from holdfast.throttle import Throttle

_RETRYABLE = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
)
_ATTEMPT_S_MIN = 0.001
STREAM_PATIENCE_S = 60.0
"""How long a stream that once brought a message tries to come back, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a call is repeated. Times in seconds.

    The n-th wait is drawn evenly from 0 to ``backoff_s * 2**(n-1)``, at most ``backoff_s_max``
    (full jitter: callers that failed together do not come back together).
    """

    attempts_max: int = 4
    backoff_s: float = 0.025
    backoff_s_max: float = 1.0
    attempt_share: float = 0.5
    """The part of a call's time that one attempt may use, so that a lost answer leaves time to
    ask again. 1: a lost answer is never asked for again."""
    budget_tokens_max: float = 10.0
    """Retries that may be saved up for a burst."""
    budget_per_call: float = 0.1
    """Retries that each call earns: 0.1 lets retries be a tenth of the calls."""

    urgent_attempts_max: int = 10
    """As attempts_max, for confirmations and cancellations: the greater of the two counts, and
    with an attempts_max of 1 nothing is repeated."""
    urgent_budget_per_call: float = 2.0
    """As budget_per_call, for confirmations and cancellations: the greater of the two counts."""

    def __post_init__(self) -> None:
        for name in ("attempts_max", "urgent_attempts_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.attempt_share <= 1:
            raise ValueError(f"attempt_share must lie in (0, 1], not {self.attempt_share}")
        if min(self.backoff_s, self.backoff_s_max, self.budget_tokens_max) < 0:
            raise ValueError("backoff_s, backoff_s_max and budget_tokens_max must not be negative")
        for name in ("budget_per_call", "urgent_budget_per_call"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")


class RetryBudget:
    """A bucket of retries, shared by all calls of a client. Safe to share between threads."""

    def __init__(self, policy: RetryPolicy, *, urgent: bool = False) -> None:
        """`urgent`: the one that confirmations and cancellations fill."""
        self._tokens = policy.budget_tokens_max
        self._tokens_max = policy.budget_tokens_max
        self._per_call = policy.budget_per_call
        if urgent:
            self._per_call = max(self._per_call, policy.urgent_budget_per_call)
        self.spent = 0
        """Retries paid for so far."""
        self._lock = threading.Lock()

    @property
    def tokens(self) -> float:
        """Retries that could be paid for now."""
        return self._tokens

    def earn(self) -> None:
        """A call begins."""
        with self._lock:
            tokens = self._tokens + self._per_call
            self._tokens = tokens if tokens < self._tokens_max else self._tokens_max

    def spend(self) -> bool:
        """Pay for one retry; False when there is not enough."""
        with self._lock:
            # Tenths do not add up exactly in binary: ten of them must still buy a retry.
            if self._tokens < 1.0 - 1e-9:
                return False
            self._tokens = max(0.0, self._tokens - 1.0)
            self.spent += 1
            return True


@dataclass(frozen=True, slots=True)
class Patience:
    """What all calls of a client share: policy, budgets, throttle, and where time comes from."""

    policy: RetryPolicy
    budget: RetryBudget
    throttle: Throttle | None = None
    clock: Callable[[], float] = time.monotonic
    """Seconds that only go forward."""
    chance: Callable[[], float] = random.random
    """Evenly from 0 to 1."""
    urgent_budget: RetryBudget = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "urgent_budget", RetryBudget(self.policy, urgent=True))

    @property
    def retries(self) -> int:
        """Retries paid for so far."""
        return self.budget.spent + self.urgent_budget.spent


@dataclass(slots=True)
class Attempts:
    """The attempts of one call: `begin` each, and tell how it `failed` or `succeeded`."""

    patience: Patience
    repeatable: bool
    timeout_s: float
    urgent: bool = False
    count: int = 0
    _is_admitted: bool = False
    _not_sent: int = 0
    _was_passed_on: bool = False
    _deadline: float = field(init=False)
    _budget: RetryBudget = field(init=False)

    def __post_init__(self) -> None:
        patience = self.patience
        self._deadline = patience.clock() + self.timeout_s
        self._budget = patience.urgent_budget if self.urgent else patience.budget
        self._budget.earn()

    @property
    def _attempts_max(self) -> int:
        policy = self.patience.policy
        if not self.urgent or policy.attempts_max == 1:
            return policy.attempts_max
        return max(policy.attempts_max, policy.urgent_attempts_max)

    def admitted(self) -> bool:
        """Ask the throttle whether the next attempt may leave this process.

        `begin` does so where nobody did before. Who asks first need not build the request of a call
        that is held back; told False, the call is over.
        """
        patience = self.patience
        throttle = patience.throttle
        self._is_admitted = (
            throttle is None
            or throttle.admit(patience.clock(), patience.chance())
            or self.urgent  # counted like all others
        )
        return self._is_admitted

    def begin(self) -> float:
        """Seconds the next attempt may take. Raises Throttled, or DeadlineExceeded."""
        patience = self.patience
        left_s = self._deadline - patience.clock()
        if left_s < _ATTEMPT_S_MIN:
            raise DeadlineExceeded(f"no answer within {self.timeout_s:g} s")
        if not self._is_admitted and not self.admitted():
            assert patience.throttle is not None
            raise Throttled(
                "held back by the client: the server turns most calls away",
                retry_after_s=patience.throttle.calm_s * (0.5 + patience.chance()),
            )
        self._is_admitted = False
        self.count += 1
        if not self.repeatable or self.count >= self._attempts_max:
            return left_s
        return min(left_s, self.timeout_s * patience.policy.attempt_share)

    def renew(self) -> None:
        """A stream brought a message: its patience starts anew."""
        self.count = self._not_sent = 0
        self._was_passed_on = False
        self.timeout_s = STREAM_PATIENCE_S
        self._deadline = self.patience.clock() + self.timeout_s

    def succeeded(self) -> None:
        """The server answered."""
        if self.patience.throttle:
            self.patience.throttle.accepted(self.patience.clock())

    def failed(self, failure: Failure, *, passed_on: bool = False) -> float:
        """Seconds to wait before the next attempt, or raises the call's error.

        `passed_on`: the next one goes to another server, and this one was none of its.
        """
        throttle = self.patience.throttle
        if throttle and failure.code in _RETRYABLE:
            throttle.turned_away(self.patience.clock())
        elif throttle:
            # A refusal by the ledger is an answer: the server had the capacity to give it.
            throttle.accepted(self.patience.clock())
        wait_s, hindrance = self._judge(failure, passed_on)
        if wait_s is None:
            raise self._error(failure, hindrance)
        return wait_s

    def _judge(self, failure: Failure, passed_on: bool) -> tuple[float | None, str]:
        """The wait before another attempt; or None, and what stands against one."""
        if failure.code not in _RETRYABLE or not self.repeatable:
            return None, ""
        if failure.retry_forbidden:
            return None, "the server forbade a retry"
        if passed_on and failure.was_not_sent:
            self._not_sent += 1
        elif passed_on and not failure.reason:
            passed_on, self._was_passed_on = not self._was_passed_on, True
        if self.count >= self._attempts_max and not passed_on:
            return None, "every attempt used"
        wait_s = self._wait_s(failure)
        if self.patience.clock() + wait_s + _ATTEMPT_S_MIN > self._deadline:
            return None, "no time left"
        if passed_on:
            self.count -= 1
        elif not self._budget.spend():
            return None, "retry budget spent"
        return wait_s, ""

    def _wait_s(self, failure: Failure) -> float:
        if failure.pushback_s is not None:
            return failure.pushback_s
        policy = self.patience.policy
        doublings = self.count - 1 + self._not_sent
        ceiling_s = min(policy.backoff_s_max, policy.backoff_s * 2.0**doublings)
        # RetryInfo says "not before"; the jitter on top keeps its receivers apart.
        return (failure.retry_after_s or 0.0) + self.patience.chance() * ceiling_s

    def _error(self, failure: Failure, hindrance: str) -> HoldfastError:
        error = failure.error()
        if failure.was_shed:
            # Nobody said when to come back: as long as this client itself would have waited.
            policy = self.patience.policy
            error = Overloaded(
                "shed before the server looked at it: it had no effect",
                code=failure.code,
                retry_after_s=policy.backoff_s_max * (0.5 + self.patience.chance()) / 2,
            )
        error.attempts = self.count
        error.gave_up = hindrance
        return error
