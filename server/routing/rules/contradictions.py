"""Rules that contradict each other: no order to which all of them apply could be kept.

Compared are rules without a condition and those with the same one, as these surely meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from server.routing.rules.reading import Rules, RulesRefused
from server.routing.rules.ruling import BoundRule, BoundRules


def refuse_contradictions(sets: Sequence[Rules], bound: BoundRules) -> None:
    """Raise RulesRefused naming the later of two rules, or sets, that can not both be kept."""
    objectives = [one for one in sets if one.objective is not None]
    if len(objectives) > 1 and objectives[0].objective != objectives[1].objective:
        first, second = objectives[0].source, objectives[1].source
        raise RulesRefused(1, f"the objective of {second!r} contradicts that of {first!r}")
    conditions = {_condition(one) for one in bound.rules} | {""}
    for condition in sorted(conditions):
        meeting = [one for one in bound.rules if _condition(one) in ("", condition)]
        _refuse_empty(meeting)
        _refuse_opposites(meeting)


def _condition(one: BoundRule) -> str:
    return one.rule.when.text if one.rule.when is not None else ""


def _refuse_empty(meeting: Sequence[BoundRule]) -> None:
    """Whatever is left of nodes and of services must not be nothing."""
    for what in ("nodes", "services"):
        left = None
        blamed: list[BoundRule] = []
        for one in meeting:
            mask = getattr(one, what)
            if mask is None or not len(mask) or one.rule.action not in ("exclude", "vip_service"):
                continue
            allowed = mask if one.rule.action == "vip_service" else ~mask
            if left is None:
                left = np.ones(len(mask), np.bool_)
            if (left & allowed).sum() < left.sum():
                blamed.append(one)
            left &= allowed
            if not left.any():
                others = ", ".join(other.rule.where for other in blamed[:-1])
                raise RulesRefused(
                    one.rule.line,
                    f"{one.rule.where} leaves no {what}"
                    + (f" together with {others}" if others else ""),
                )


def _refuse_opposites(meeting: Sequence[BoundRule]) -> None:
    """What one rule prefers another must not exclude."""
    for one in meeting:
        if one.rule.action != "prefer":
            continue
        for other in meeting:
            if other.rule.action != "exclude":
                continue
            for what in ("nodes", "services"):
                wanted, out = getattr(one, what), getattr(other, what)
                if wanted is None or out is None or not wanted.any():
                    continue
                if not (wanted & ~out).any():
                    later = max((one, other), key=lambda bound: bound.rule.line)
                    raise RulesRefused(
                        later.rule.line,
                        f"{one.rule.where} prefers what {other.rule.where} excludes",
                    )
