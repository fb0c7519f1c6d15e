"""What a client is told once: where the server is, how long to wait, how often to ask again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.calls.call import Call
from holdfast.channels import Address, Tls
from holdfast.retry import Attempts, Patience, RetryBudget, RetryPolicy
from holdfast.throttle import Throttle
from holdfast.times import Span, seconds_of

TIMEOUT_S_DEFAULT = 2.0
SLOW_TIMEOUT_S_DEFAULT = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one client; made by `settings_of`."""

    address: Address
    timeout_s: float
    slow_timeout_s: float
    channels: int
    patience: Patience
    metadata: tuple[tuple[str, str], ...] = ()
    settle_address: Address | None = None
    """Where confirmations and cancellations go first; None: with all else."""
    stream_patience: Patience = field(init=False)
    """How streams come back: until the stream's patience has passed without a single message, and
    not paid from the budget, since one stream stands for many calls."""

    def __post_init__(self) -> None:
        policy = RetryPolicy(
            attempts_max=1_000_000,
            backoff_s=self.patience.policy.backoff_s,
            backoff_s_max=self.patience.policy.backoff_s_max,
            attempt_share=1.0,
            budget_tokens_max=1e9,
        )
        patience = Patience(
            policy, RetryBudget(policy), None, self.patience.clock, self.patience.chance
        )
        object.__setattr__(self, "stream_patience", patience)

    def attempts(self, call: Call[object]) -> Attempts:
        """The attempts of `call`, its deadline counted from now."""
        return self.attempts_of(call)()

    def attempts_of(self, like: Call[object]) -> Callable[[], Attempts]:
        """Makes the attempts of calls like this one; each one's deadline counts from when it is
        made."""
        return functools.partial(
            Attempts, self.patience, like.repeatable, self.timeout_s_of(like), like.method.urgent
        )

    def stream_attempts(self, patience_s: float | None = None) -> Attempts:
        """The attempts of a stream: as patient as a call until its first message.

        From then on (`Attempts.renew`) it comes back within a minute of its last message.
        """
        return Attempts(self.stream_patience, True, patience_s or self.timeout_s)

    def timeout_s_of(self, call: Call[object]) -> float:
        """Seconds that `call` may take: its own, or the default of its kind."""
        if call.timeout_s is not None:
            return call.timeout_s
        return self.slow_timeout_s if call.method.slow else self.timeout_s


def settings_of(
    target: str | None,
    *,
    tls: Tls | None,
    timeout: Span,
    slow_timeout: Span,
    channels: int,
    retry: RetryPolicy | None,
    throttle: Throttle | None,
    metadata: tuple[tuple[str, str], ...],
    settle_target: str | None = None,
    patience: Patience | None = None,
) -> Settings:
    """The settings of a client, checked. Raises ValueError naming what does not fit."""
    spans = {"timeout": seconds_of(timeout), "slow_timeout": seconds_of(slow_timeout)}
    for name, seconds in spans.items():
        if seconds <= 0:
            raise ValueError(f"{name} must be above 0 seconds, not {seconds:g}")
    if patience is None:
        policy = retry or RetryPolicy()
        patience = Patience(policy, RetryBudget(policy), throttle)
    return Settings(
        Address.of(target, tls),
        spans["timeout"],
        spans["slow_timeout"],
        channels,
        patience,
        metadata,
        Address(settle_target, tls) if settle_target else None,
    )
