"""What is open of a promised order: shared out over its lines, and cut from order and plan."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine import limits, outcomes, tables
from engine.state import State
from holdfast.v1 import reservation_service_pb2 as reservations
from holdfast.v1 import routing_service_pb2 as messages
from server.routing.decisions import Decision
from server.routing.orders import Held
from server.transport import refusals
from server.transport.codec.promises import Takes
from server.transport.columns import Columns, line
from server.transport.kept_problems import open_part
from server.transport.names import Names, PositionNames
from server.transport.promised_orders import Away, OpenLine, Standing, cut


def _standing(*lines: tuple[int, str, dict[str, int]]) -> Standing:
    return Standing(7, [OpenLine(*line) for line in lines], Held({}, {}, {}))


def test_a_line_keeps_what_it_has_at_a_node() -> None:
    standing = _standing((0, "mug", {"newark": 2}), (1, "mug", {"chicago": 3}))
    shares = standing.shared_out([("chicago", "mug", 3), ("newark", "mug", 2)])
    assert shares == [[(1, 3)], [(0, 2)]]


def test_the_rest_goes_by_the_order_of_the_lines() -> None:
    standing = _standing(
        (0, "mug", {"newark": 2}), (2, "rug", {"newark": 1}), (3, "mug", {"newark": 1, "po": 1})
    )
    wanted = [("manhattan", "mug", 3), ("chicago", "rug", 1), ("chicago", "mug", 1)]
    assert standing.shared_out(wanted) == [[(0, 2), (3, 1)], [(2, 1)], [(3, 1)]]


_NODES = ("newark", "chicago", "manhattan")


@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(["mug", "rug"]),
            st.dictionaries(st.sampled_from(_NODES), st.integers(1, 4), min_size=1),
        ),
        min_size=1,
        max_size=5,
    ),
    where=st.lists(st.sampled_from(_NODES), min_size=40, max_size=40),
)
def test_every_line_gets_what_it_has_open(
    lines: list[tuple[str, dict[str, int]]], where: list[str]
) -> None:
    standing = _standing(*((number, sku, at) for number, (sku, at) in enumerate(lines)))
    wanted: dict[tuple[str, str], int] = {}
    places = iter(where * 4)
    for sku, units in standing.units_of().items():
        for _ in range(units):
            key = (next(places), sku)
            wanted[key] = wanted.get(key, 0) + 1
    plan = [(node, sku, units) for (node, sku), units in wanted.items()]
    shares = standing.shared_out(plan)
    given_to: dict[int, int] = {}
    for (_, sku, units), share in zip(plan, shares, strict=True):
        assert sum(part for _, part in share) == units
        for number, part in share:
            assert lines[number][0] == sku
            assert part > 0
            given_to[number] = given_to.get(number, 0) + part
    assert given_to == {number: sum(at.values()) for number, (_, at) in enumerate(lines)}


def test_an_order_is_cut_to_what_is_open() -> None:
    order = messages.RoutingOrder()
    order.lines.add(sku="mug", quantity=5, keep_together_group="g")
    order.lines.add(sku="rug", quantity=2)
    cut(order, _standing((0, "mug", {"newark": 1, "chicago": 2}), (4, "cup", {"newark": 1})))
    assert [(line.sku, line.quantity, line.keep_together_group) for line in order.lines] == [
        ("mug", 3, "g"),
        ("cup", 1, ""),
    ]


class _Network:
    """Of which only the names count."""

    node_number: dict[str, int] = dict.fromkeys("abc", 0)
    service_number: dict[str, int] = dict.fromkeys(("air", "ground"), 0)


def _excluded(order: messages.RoutingOrder) -> tuple[list[str], list[str]]:
    return list(order.excluded_nodes), list(order.excluded_carrier_services)


def test_what_an_order_excludes_stays_and_services_are_left_for_once() -> None:
    order = messages.RoutingOrder(
        excluded_nodes=["a", "gone"], excluded_carrier_services=["air", "past"]
    )
    network: Any = _Network()
    away = Away(["b", "a"], ["ground", "air"])
    away.note(order)
    assert _excluded(order) == (["a", "gone", "b"], ["air", "past"])
    assert _excluded(away.planned(order, network)) == (["a", "b"], ["air", "ground"])
    assert _excluded(Away().planned(order, network)) == (["a", "b"], ["air"])
    # What is named now is kept, to be refused; what the order has from before is not.
    assert _excluded(Away(["gone"], ["past"]).planned(order, network)) == (
        ["a", "b", "gone"],
        ["air", "past"],
    )
    assert _excluded(order) == (["a", "gone", "b"], ["air", "past"])


def _plan(*shipments: tuple[str, int, dict[str, int]], split: int = 0) -> messages.FulfillmentPlan:
    plan = messages.FulfillmentPlan()
    places = {"mug": 0, "rug": 1}
    for node, cost, units in shipments:
        one = plan.shipments.add(node=node, carrier_service="ground", cost_minor_units=cost)
        for sku, quantity in units.items():
            one.lines.add(line=places[sku], sku=sku, quantity=quantity)
    plan.cost_terms.split_minor_units = split * (len(shipments) - 1)
    plan.cost_minor_units = sum(cost for _, cost, _ in shipments) + split * (len(shipments) - 1)
    return plan


class _Nothing:
    """A state that keeps no rates, a decision that names some."""

    documents: dict[tuple[int, str], tuple[bytes, int]] = {}  # noqa: RUF012
    problem = b"HFP2"


def _open_part(plan: messages.FulfillmentPlan, standing: Standing) -> messages.FulfillmentPlan:
    nothing = _Nothing()
    return open_part(cast(State, nothing), cast(Decision, nothing), plan, standing)


def test_shipments_that_have_left_are_no_part_of_what_is_open() -> None:
    told = _plan(("a", 500, {"mug": 1}), ("b", 700, {"rug": 1}), ("c", 900, {"mug": 2}), split=30)
    left = _open_part(told, _standing((1, "rug", {"b": 1}), (2, "mug", {"c": 2})))
    assert [one.node for one in left.shipments] == ["b", "c"]
    assert left.cost_minor_units == 700 + 900 + 30
    assert _open_part(told, _standing((1, "rug", {"b": 1}))).cost_minor_units == 700
    whole = _standing((0, "mug", {"a": 1, "c": 2}), (1, "rug", {"b": 1}))
    assert _open_part(told, whole).cost_minor_units == told.cost_minor_units


def test_a_refusal_names_the_line_what_it_was_given_and_what_is_open() -> None:
    outcome = np.zeros(1, outcomes.OUTCOME)
    outcome["code"], outcome["state"] = outcomes.OPEN_UNITS_DIFFER, outcomes.CONFIRMED
    details = np.zeros(1, outcomes.DETAIL)
    details["kind"], details["code"] = outcomes.LINE_ERROR, outcomes.OPEN_UNITS_DIFFER
    details["line"], details["quantity"], details["available"] = 1, 3, 2
    refused = refusals.of_outcome(
        outcome[0],
        details,
        lines=[refusals.Line(field="lines[0]"), refusals.Line(field="lines[1]", sku="mug")],
        reservation_id="a",
    )
    assert refused.reason_name == "LINE_QUANTITY_EXCEEDED"
    for field, value in (("line", "lines[1]"), ("sku", "mug"), ("given", "3"), ("open", "2")):
        assert refused.metadata[field] == value
    for part in ("'mug'", "given '3'", "open '2'"):
        assert part in refused.status.message


class _Positions:
    """Names of positions: the row is the node's number."""

    @staticmethod
    def position(row: int) -> PositionNames:
        return PositionNames(tables.STOCK, "mug", f"n{row}", "", is_slot=False)


def test_details_of_a_reroute_find_the_lines_of_its_command() -> None:
    """Line 4 of the reservation goes to two nodes; a capacity comes after all lines."""
    rows = [
        line(sku=b"mug", node=node.encode(), quantity=1, number=number)
        for number, node in ((4, "n7"), (4, "n8"), (6, "n8"))
    ]
    asked = [
        reservations.ReservationLineRequest(sku="mug", node=node, quantity=1)
        for node in ("n7", "n8", "n8")
    ]
    takes = Takes(rows, {}, Columns(), asked, [reservations.CapacityTakeRequest()])
    details = np.zeros(5, outcomes.DETAIL)
    details["line"] = [4, 4, 6, 4, limits.lines_per_reservation_max]
    details["position"] = [8, 7, 8, tables.NONE, 3]
    told = takes.renumbered(details, cast(Names, _Positions()))
    assert told["line"].tolist() == [1, 0, 2, 0, 3]
    assert details["line"][0] == 4
