"""Every fault that is made to happen here, by its number in docs/robustness.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.robustness.faults.callers import cancel_everywhere, lose_answers, repeat_and_steal
from tests.robustness.faults.clocks import expire_in_one_second, jump_the_clock
from tests.robustness.faults.damage import damage_bytes
from tests.robustness.faults.kill import kill_redis, kill_the_server
from tests.robustness.faults.large import kill_with_a_full_ledger
from tests.robustness.faults.power import cut_power, cut_power_of_a_relaxed_redis, fail_the_disk
from tests.robustness.faults.shards import crash_between_shards
from tests.robustness.faults.size import Size
from tests.robustness.faults.stalls import depose_a_writer, stall_redis
from tests.robustness.session import REDIS, SQLITE, Session

Harm = Callable[[Session, Size], Awaitable[None]]
BOTH: Final = (SQLITE, REDIS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of harm, done to a running ledger."""

    number: int
    title: str
    harm: Harm
    journals: tuple[str, ...] = BOTH
    needs_trap: bool = False
    judged: bool = True
    """Whether the last judgement follows; otherwise `harm` judges by itself."""
    quick: tuple[str, ...] = BOTH
    """The journals with which it is done when it has to be quick; both find the same there."""

    @property
    def name(self) -> str:
        """For the command line and messages."""
        return f"fault {self.number}, {self.title}"


# In the order in which they are done to one ledger when it has to be quick.
FAULTS: Final = (
    Fault(number=6, title="the answer is lost", harm=lose_answers),
    Fault(number=7, title="repeated and stolen request ids", harm=repeat_and_steal),
    Fault(number=8, title="the caller goes away", harm=cancel_everywhere),
    Fault(number=5, title="Redis stalled", harm=stall_redis, journals=(REDIS,)),
    Fault(number=10, title="the clock jumps", harm=jump_the_clock),
    Fault(number=2, title="kill -9 of Redis", harm=kill_redis, journals=(REDIS,)),
    Fault(number=4, title="a sync fails, the disk is full", harm=fail_the_disk, needs_trap=True),
    Fault(number=11, title="damaged bytes and torn ends", harm=damage_bytes),
    Fault(number=3, title="power cut", harm=cut_power, needs_trap=True),
    Fault(number=1, title="kill -9 of the server", harm=kill_the_server),
    Fault(number=9, title="two writers", harm=depose_a_writer),
    Fault(
        number=12,
        title="a crash between two shards",
        harm=crash_between_shards,
        quick=(SQLITE,),
    ),
    Fault(
        number=17,
        title="many holds expire in one second",
        harm=expire_in_one_second,
        judged=False,
    ),
    Fault(
        number=3,
        title="power cut of a Redis with everysec",
        harm=cut_power_of_a_relaxed_redis,
        journals=(REDIS,),
        needs_trap=True,
        judged=False,
        quick=(),
    ),
)

# With a million of everything, on tables of their default size; only for the figures.
LARGE_FAULTS: Final = (
    Fault(number=2, title="Redis dead for 30 s", harm=kill_redis, journals=(REDIS,)),
    Fault(number=5, title="Redis stalled for 30 s", harm=stall_redis, journals=(REDIS,)),
    Fault(
        number=1,
        title="kill -9 of a server with a million positions and holds",
        harm=kill_with_a_full_ledger,
        judged=False,
    ),
    Fault(
        number=17,
        title="a million holds expire in one second",
        harm=expire_in_one_second,
        judged=False,
    ),
)
