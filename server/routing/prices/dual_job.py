"""One solve of dual prices, as a solver's process is told it: kept decisions as they are.

The process reads the decisions by itself: here they are only put one after another, so that a job
takes the event loop two or three milliseconds, whatever orders are in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.routing.prices.duals.prices import ROUNDS
from engine.state import State
from server.documents import ROUTING_DECISION, ROUTING_DIRECTORY, ROUTING_TARIFF
from server.routing.decisions import parts_of, problem_of
from server.routing.prices.price_table import PriceTable
from server.routing.prices.texts import packed, unpacked


@dataclass(frozen=True, slots=True, kw_only=True)
class DualJob:
    """What prices follow from."""

    decisions: Sequence[bytes]
    """The sample, the oldest first."""
    tariffs: Mapping[str, bytes]
    """The packed tariffs of their problems, by digest."""
    directories: Mapping[str, bytes]
    since_ms: int
    """Since when the sample has come."""
    now_ms: int
    begin_ms: int
    """When the stock came that is to last until `horizon_ms`."""
    horizon_ms: int
    scale: int
    before: PriceTable
    """Where prices begin."""
    rounds: int = ROUNDS

    @staticmethod
    def of(
        state: State, promises: Sequence[tuple[str, int]], *, since_ms: int, **told: Any
    ) -> DualJob:
        """Of those promises (name, time), the oldest first, whose decisions the ledger still has,
        with what they need. Where the oldest are gone, the others have come since then."""
        decisions: list[bytes] = []
        tariffs: dict[str, bytes] = {}
        directories: dict[str, bytes] = {"": b""}
        for name, time_ms in promises:
            kept = state.documents.get((ROUTING_DECISION, name))
            problem = problem_of(kept[0]) if kept is not None else b""
            if kept is None or not problem:
                since_ms = since_ms if decisions else time_ms
                continue
            tariff, directory = parts_of(problem)
            if _has(state, ROUTING_TARIFF, tariff, tariffs) and _has(
                state, ROUTING_DIRECTORY, directory, directories
            ):
                decisions.append(kept[0])
        return DualJob(
            decisions=decisions,
            tariffs=tariffs,
            directories=directories,
            since_ms=since_ms,
            **told,
        )

    def numbers(self) -> dict[str, Any]:
        """For a frame."""
        made: dict[str, Any] = {
            "times": np.array(
                [self.since_ms, self.now_ms, self.begin_ms, self.horizon_ms], np.int64
            ),
            "scale": self.scale,
            "rounds": self.rounds,
            **self.before.numbers(),
        }
        for name, parts in (
            ("decision", self.decisions),
            ("tariff", list(self.tariffs.values())),
            ("tariff_name", [one.encode() for one in self.tariffs]),
            ("directory", list(self.directories.values())),
            ("directory_name", [one.encode() for one in self.directories]),
        ):
            made[f"{name}_sizes"], made[f"{name}_bytes"] = packed(parts)
        return made

    @staticmethod
    def from_numbers(numbers: Mapping[str, Any]) -> DualJob:
        """Read what `numbers` made. Raises ValueError or KeyError for anything else."""

        def parts(name: str) -> list[bytes]:
            return unpacked(numbers[f"{name}_sizes"], numbers[f"{name}_bytes"])

        def named(name: str) -> dict[str, bytes]:
            names = [one.decode() for one in parts(f"{name}_name")]
            return dict(zip(names, parts(name), strict=True))

        since_ms, now_ms, begin_ms, horizon_ms = numbers["times"].tolist()
        scale = int(numbers["scale"])
        return DualJob(
            decisions=parts("decision"),
            tariffs=named("tariff"),
            directories=named("directory"),
            since_ms=since_ms,
            now_ms=now_ms,
            begin_ms=begin_ms,
            horizon_ms=horizon_ms,
            scale=scale,
            before=PriceTable.from_numbers(numbers, scale=scale),
            rounds=int(numbers["rounds"]),
        )


def _has(state: State, kind: int, digest: str, found: dict[str, bytes]) -> bool:
    """Whether a document is kept that decisions share; it is among `found` then."""
    if digest not in found:
        kept = state.documents.get((kind, digest))
        if kept is None:
            return False
        found[digest] = kept[0]
    return True
