"""From YAML to rules, each with the line it began on; what is wrong is told with line and reason.

objective:
  currency: USD
  split_cost: 300              # minor units for each shipment after the first
  co2e_price_per_tonne: 9000
  failed_delivery_cost: 1500   # times the probability of being late
rules:
  - name: no-store-for-hazmat
    when: '"hazmat" in order.flags'
    exclude: {nodes: 'node.type == "STORE"'}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from engine.routing import limits
from server.routing.rules.expressions import Condition, ExpressionError

RULES_MAX: Final = 256
_ACTIONS: Final = (
    "exclude",
    "prefer",
    "keep_together",
    "ship_complete",
    "do_not_split_below",
    "vip_service",
    "hold_for_review",
)
_MONEY: Final = limits.cost_max // 10_000


class RulesRefused(ValueError):
    """A text that is no set of rules."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Objective:
    """What counts besides rates and handling, in minor units."""

    currency: str = ""
    split_cost: int = 0
    co2e_price_per_tonne: int = 0
    failed_delivery_cost: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: whom it applies to, and its one action."""

    source: str
    """The set of rules it is from."""
    name: str
    line: int
    action: str
    reason: str
    when: Condition | None
    nodes: Condition | None = None
    services: Condition | None = None
    lines: Condition | None = None
    amount: int = 0
    """Minor units: a preference's worth, or the value below which nothing is split."""

    @property
    def where(self) -> str:
        """For people: which rule this is."""
        return f"rule {self.name!r} ({self.source!r} line {self.line})"


@dataclass(frozen=True, slots=True)
class Rules:
    """One set of rules as read."""

    source: str
    objective: Objective | None
    rules: tuple[Rule, ...]


def read_rules(source: str, text: str) -> Rules:
    """Raises RulesRefused."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        line = 1 if mark is None else mark.line + 1
        raise RulesRefused(line, f"is no YAML: {fault.problem}") from None
    except yaml.YAMLError as fault:
        raise RulesRefused(1, f"is no YAML: {fault}") from None
    if root is None:
        return Rules(source, None, ())
    fields = _mapping(root, "the rules", ("objective", "rules"))
    objective = None
    if "objective" in fields:
        objective = _objective(fields["objective"])
    rules: list[Rule] = []
    for node in _sequence(fields.get("rules"), "rules"):
        rule = _rule(source, node)
        twin = next((one for one in rules if one.name == rule.name), None)
        if twin is not None:
            raise RulesRefused(rule.line, f"name {rule.name!r} is line {twin.line}'s already")
        rules.append(rule)
    if len(rules) > RULES_MAX:
        raise RulesRefused(_line(root), f"{len(rules)} rules are beyond rules_max = {RULES_MAX}")
    return Rules(source, objective, tuple(rules))


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _mapping(node: Any, what: str, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise RulesRefused(_line(node), f"{what} must be a mapping of {', '.join(known)}")
    fields: dict[str, Any] = {}
    for key, value in node.value:
        name = str(key.value)
        if name not in known:
            raise RulesRefused(_line(key), f"{name!r} is not known here; {', '.join(known)} are")
        if name in fields:
            raise RulesRefused(_line(key), f"{name!r} is there twice")
        fields[name] = value
    return fields


def _sequence(node: Any, what: str) -> Iterator[Any]:
    if node is None:
        return
    if not isinstance(node, yaml.SequenceNode):
        raise RulesRefused(_line(node), f"{what} must be a list")
    yield from node.value


def _text(node: Any, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or not str(node.value).strip():
        raise RulesRefused(_line(node), f"{what} must be a text")
    return str(node.value)


def _money(node: Any, what: str) -> int:
    text = _text(node, what)
    if not text.isdecimal() or int(text) > _MONEY:
        raise RulesRefused(
            _line(node), f"{what} is {text!r}: a whole number from 0 to {_MONEY} minor units"
        )
    return int(text)


def _true(node: Any, what: str) -> None:
    if _text(node, what) not in ("true", "True"):
        raise RulesRefused(_line(node), f"{what} can only be true; leave it out otherwise")


def _condition(node: Any, subject: str, what: str) -> Condition:
    try:
        return Condition(_text(node, what), subject)
    except ExpressionError as fault:
        raise RulesRefused(_line(node), f"{what}: {fault}") from None


def _objective(node: Any) -> Objective:
    fields = _mapping(
        node,
        "objective",
        ("currency", "split_cost", "co2e_price_per_tonne", "failed_delivery_cost"),
    )
    currency = _text(fields["currency"], "currency") if "currency" in fields else ""
    if currency and not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise RulesRefused(
            _line(fields["currency"]), f"currency {currency!r} is no ISO 4217 currency code"
        )
    money = {name: _money(value, name) for name, value in fields.items() if name != "currency"}
    return Objective(currency, **money)


def _rule(source: str, node: Any) -> Rule:
    fields = _mapping(node, "a rule", ("name", "when", "reason", *_ACTIONS))
    line = _line(node)
    if "name" not in fields:
        raise RulesRefused(line, "a rule needs a name")
    name = _text(fields["name"], "name")
    actions = [action for action in _ACTIONS if action in fields]
    if len(actions) != 1:
        raise RulesRefused(
            line, f"rule {name!r} needs one action, it has {', '.join(actions) or 'none'}"
        )
    action = actions[0]
    value = fields[action]
    parts: dict[str, Any] = {}
    if action in ("exclude", "prefer"):
        parts = _targets(value, action)
    elif action == "vip_service":
        parts["services"] = _condition(value, "service", action)
    elif action == "keep_together":
        if getattr(value, "value", "") not in ("true", "True"):
            parts["lines"] = _condition(value, "line", action)
    elif action == "do_not_split_below":
        parts["amount"] = _money(value, action)
    else:
        _true(value, action)
    return Rule(
        source=source,
        name=name,
        line=line,
        action=action,
        reason=_text(fields["reason"], "reason") if "reason" in fields else "",
        when=_condition(fields["when"], "order", "when") if "when" in fields else None,
        **parts,
    )


def _targets(node: Any, action: str) -> dict[str, Any]:
    known = ("nodes", "services", "worth") if action == "prefer" else ("nodes", "services")
    fields = _mapping(node, action, known)
    parts: dict[str, Any] = {}
    if "nodes" in fields:
        parts["nodes"] = _condition(fields["nodes"], "node", f"{action}.nodes")
    if "services" in fields:
        parts["services"] = _condition(fields["services"], "service", f"{action}.services")
    if not parts:
        raise RulesRefused(_line(node), f"{action} needs nodes or services")
    if action == "prefer":
        if "worth" not in fields:
            raise RulesRefused(_line(node), "prefer needs worth, in minor units")
        parts["amount"] = _money(fields["worth"], "worth")
    return parts
