"""Rules held against a network, once a version, and against each order.

Conditions on nodes, services and items do not depend on the order, so they are masks made once;
only ``when`` is asked for each order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from server.routing.layout import Fixed
from server.routing.rules.expressions import Condition
from server.routing.rules.reading import Objective, Rule, Rules

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]

NO_RULE: Final = -1
_NONE: Final = Fixed.of(np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class BoundRule:
    """A rule, and which nodes and services it is about; None where it says nothing of them."""

    rule: Rule
    nodes: Mask | None
    services: Mask | None


@dataclass
class Ruling:
    """What the rules say of one order."""

    node_rule: Numbers
    """(N,) the rule that keeps each node out, or NO_RULE."""
    service_rule: Numbers
    """(S,) the rule that keeps each service out, or NO_RULE."""
    node_penalty: Numbers | None = None
    service_penalty: Numbers | None = None
    keep_together: list[Rule] = field(default_factory=list)
    ship_complete: bool = False
    hold_for_review: bool = False
    applied: list[Rule] = field(default_factory=list)

    @cached_property
    def node_open(self) -> Numbers:
        """(N,) 1 for nodes that no rule keeps out."""
        return (self.node_rule == NO_RULE).astype(np.int64)

    @cached_property
    def service_open(self) -> Numbers:
        """(S,) 1 for services that no rule keeps out; the customer who collects, last, is not
        one."""
        return np.append(self.service_rule == NO_RULE, False).astype(np.int64)

    @cached_property
    def fixed_node_open(self) -> Fixed:
        """`node_open`, its address kept."""
        return Fixed.of(self.node_open)

    @cached_property
    def fixed_service_open(self) -> Fixed:
        """`service_open`, its address kept."""
        return Fixed.of(self.service_open)

    @cached_property
    def fixed_node_penalty(self) -> Fixed:
        """`node_penalty`, empty for none."""
        return _NONE if self.node_penalty is None else Fixed.of(self.node_penalty)

    @cached_property
    def fixed_service_penalty(self) -> Fixed:
        """(S,) `service_penalty`, with that of the customer who collects; empty for none."""
        if self.service_penalty is None:
            return _NONE
        return Fixed.of(np.append(self.service_penalty, 0))


class BoundRules:
    """All rules of a network version."""

    def __init__(
        self,
        sets: Sequence[Rules],
        nodes: Sequence[Mapping[str, Any]],
        services: Sequence[Mapping[str, Any]],
    ) -> None:
        self.objective = next(
            (one.objective for one in sets if one.objective is not None), Objective()
        )
        self.rules = tuple(
            BoundRule(
                rule,
                _mask(rule.nodes, nodes),
                _mask(rule.services, services),
            )
            for one in sets
            for rule in one.rules
        )
        self.asks_about_orders = any(bound.rule.when is not None for bound in self.rules)
        self._none = (
            np.full(len(nodes), NO_RULE, np.int64),
            np.full(len(services), NO_RULE, np.int64),
        )

    @cached_property
    def always(self) -> Ruling:
        """What they say of every order, where they need no facts of it."""
        return self.on(None)

    def rule(self, number: int) -> Rule:
        """By the number that `Ruling` gives."""
        return self.rules[number].rule

    def on(self, order: Mapping[str, Any] | None) -> Ruling:
        """What they say of an order; its facts are only needed where `asks_about_orders`."""
        ruling = Ruling(*self._none)
        for number, bound in enumerate(self.rules):
            when = bound.rule.when
            if when is not None and (order is None or not when.holds(order)):
                continue
            if bound.rule.action == "do_not_split_below" and (
                order is None or order["value"] >= bound.rule.amount
            ):
                continue
            ruling.applied.append(bound.rule)
            _apply(ruling, number, bound)
        return ruling

    @property
    def needs_facts(self) -> bool:
        """Whether `on` must be told an order's facts."""
        return self.asks_about_orders or any(
            bound.rule.action == "do_not_split_below" for bound in self.rules
        )


def _mask(condition: Condition | None, subjects: Sequence[Mapping[str, Any]]) -> Mask | None:
    """Which of the nodes, or services, a condition is about; None without one."""
    if condition is None:
        return None
    return np.array([condition.holds(subject) for subject in subjects], np.bool_)


def _apply(ruling: Ruling, number: int, bound: BoundRule) -> None:
    rule = bound.rule
    if rule.action == "exclude":
        if bound.nodes is not None:
            ruling.node_rule = _first(ruling.node_rule, bound.nodes, number)
        if bound.services is not None:
            ruling.service_rule = _first(ruling.service_rule, bound.services, number)
    elif rule.action == "vip_service" and bound.services is not None:
        ruling.service_rule = _first(ruling.service_rule, ~bound.services, number)
    elif rule.action == "prefer":
        if bound.nodes is not None:
            ruling.node_penalty = _added(ruling.node_penalty, ~bound.nodes, rule.amount)
        if bound.services is not None:
            ruling.service_penalty = _added(ruling.service_penalty, ~bound.services, rule.amount)
    elif rule.action == "keep_together":
        ruling.keep_together.append(rule)
    elif rule.action in ("ship_complete", "do_not_split_below"):
        ruling.ship_complete = True
    elif rule.action == "hold_for_review":
        ruling.hold_for_review = True


def _first(numbers: Numbers, where: Mask, number: int) -> Numbers:
    """The first rule that keeps each out."""
    return np.where(where & (numbers == NO_RULE), number, numbers)


def _added(penalty: Numbers | None, where: Mask, amount: int) -> Numbers:
    added = where.astype(np.int64) * amount
    return added if penalty is None else penalty + added
