"""``holdfast route``: plan an order or a wave of them, promise it, or see why it is as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.calls.waves import BUDGET_S_DEFAULT
from holdfast.cli.connecting import Session, connected
from holdfast.cli.money import money, share
from holdfast.cli.wave_command import WaveWish, is_file_of_orders, route_wave
from holdfast.values.network import Place
from holdfast.values.routing import (
    Explanation,
    FulfillmentPlan,
    FulfillmentType,
    NodeExplanation,
    OpportunityMode,
    Plans,
    RoutingLine,
    RoutingOrder,
    RoutingStrategy,
    RuleOutcome,
    SolverReport,
)

_WAVE = "Waves"


@connected
def route(
    session: Session,
    lines: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SKU[=QUANTITY]... | FILE",
            help="What to ship, one unit by default; or a file of orders (CSV or Parquet), which "
            "are planned together: a wave.",
        ),
    ] = None,
    to: Annotated[
        str, typer.Option(metavar="POSTAL_CODE", help="Where it goes; US:10001 names a country.")
    ] = "",
    at: Annotated[
        str, typer.Option(metavar="LATITUDE,LONGITUDE", help="The same in degrees.")
    ] = "",
    pickup: Annotated[
        str, typer.Option(metavar="NODE|any", help="The customer collects it there.")
    ] = "",
    channel: Annotated[str, typer.Option(help="The sales channel.")] = "",
    attribute: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="For routing rules. Repeatable."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="NODE", help="Not from there. Repeatable.")
    ] = None,
    complete: Annotated[bool, typer.Option(help="Everything from one node.")] = False,
    strategy: Annotated[
        RoutingStrategy, typer.Option(case_sensitive=False, help="How the plan is found.")
    ] = RoutingStrategy.EXACT,
    plans: Annotated[int, typer.Option(min=1, help="Plans at most, ranked by cost.")] = 1,
    pareto: Annotated[
        bool, typer.Option(help="Also plans that are faster, greener or surer.")
    ] = False,
    explain: Annotated[bool, typer.Option(help="Say why not from elsewhere.")] = False,
    reservation: Annotated[
        str, typer.Option(metavar="ID", help="Explain this promise instead of an order.")
    ] = "",
    hold: Annotated[
        bool, typer.Option("--promise", "--hold", help="Hold what is planned.")
    ] = False,
    owner: Annotated[str, typer.Option(help="Whom a promise is for.")] = "",
    ttl: Annotated[float | None, typer.Option(metavar="SECONDS", help="How long to hold.")] = None,
    reservation_id: Annotated[str, typer.Option("--id", help="Its name; default: made.")] = "",
    request_id: Annotated[
        str | None, typer.Option(help="Makes a promise repeatable: same id, same one effect.")
    ] = None,
    budget: Annotated[
        float,
        typer.Option(
            min=0.001, metavar="SECONDS", help="Time for planning.", rich_help_panel=_WAVE
        ),
    ] = BUDGET_S_DEFAULT,
    work: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="SECONDS",
            help="Counted work instead: with the same seed the same answer on every machine.",
            rich_help_panel=_WAVE,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the search.", rich_help_panel=_WAVE)] = 0,
    gap: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=100.0,
            metavar="PERCENT",
            help="Be content with an answer so near the cheapest.",
            rich_help_panel=_WAVE,
        ),
    ] = 0.0,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Draw a map of nodes and orders, and where the cost comes from.",
            rich_help_panel=_WAVE,
        ),
    ] = None,
    delimiter: Annotated[
        str, typer.Option(help="What separates the columns of CSV.", rich_help_panel=_WAVE)
    ] = ",",
    replan_node: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE",
            help="Move all promised orders from there; a proposal without --hold. Repeatable.",
            rich_help_panel=_WAVE,
        ),
    ] = None,
    replan_service: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVICE",
            help="Move all promised orders from this carrier service. Repeatable.",
            rich_help_panel=_WAVE,
        ),
    ] = None,
    reevaluate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="Plan these promised orders anew, together, where that saves something. "
            "Repeatable.",
            rich_help_panel=_WAVE,
        ),
    ] = None,
    saving_min: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="MINOR_UNITS",
            help="What a re-evaluated order must save to move.",
            rich_help_panel=_WAVE,
        ),
    ] = 0,
) -> None:
    """Find the cheapest way to ship an order, or the orders of a file together; --explain says why,
    --promise (or --hold) holds it.

    A file has a row for each line of an order: order, sku, quantity, postal_code, ...
    """
    is_file = is_file_of_orders(lines or ())
    if is_file or replan_node or replan_service or reevaluate:
        if lines and not is_file:
            raise ValueError("promised orders are planned anew without SKUs, or with a file")
        wish = WaveWish(
            hold=hold,
            ttl=ttl,
            budget=budget,
            work=work,
            seed=seed,
            gap=gap,
            delimiter=delimiter,
            request_id=request_id,
            replan_nodes=tuple(replan_node or ()),
            replan_services=tuple(replan_service or ()),
            reevaluate=tuple(reevaluate or ()),
            saving_min=saving_min,
            plot=plot,
        )
        route_wave(session, lines[0] if lines else "", wish)
        return
    if plot is not None:
        raise ValueError("--plot draws a wave: give a file of orders")
    if reservation:
        if lines:
            raise ValueError("--reservation explains a promise: it takes no lines")
        _show_explanation(session, session.client.explain_plan(reservation))
        return
    order = RoutingOrder(
        lines=tuple(_line_of(text) for text in lines or ()),
        destination=_place_of(to, at),
        reservation_id=reservation_id,
        owner=owner,
        channel=channel,
        fulfillment_type=(FulfillmentType.PICKUP if pickup else FulfillmentType.DELIVERY),
        pickup_node="" if pickup == "any" else pickup,
        ship_complete=complete,
        attributes=dict(_pair_of(text) for text in attribute or ()),
        excluded_nodes=tuple(exclude or ()),
    )
    if explain:
        _show_explanation(session, session.client.explain_plan(order=order))
    elif hold:
        made = session.client.promise_order(
            order, ttl=ttl, strategy=strategy, request_id=request_id
        )
        if session.printer.as_json:
            session.printer.json(made)
            return
        _show_plan(session, made.plan, made.currency_code, "The plan that is held")
        _show_rules(session, made.rule_outcomes)
        session.printer.line(
            f"held as {made.reservation.reservation_id} until {made.reservation.expire_time}"
        )
    else:
        found = session.client.plan_fulfillment(
            order, max_plans=plans, strategy=strategy, include_pareto_plans=pareto
        )
        _show_plans(session, found)


def _line_of(text: str) -> RoutingLine:
    sku, equals, quantity = text.rpartition("=")
    if not equals:
        return RoutingLine(text, 1)
    if not quantity.isdecimal():
        raise ValueError(f"{text!r}: the quantity after = must be a whole number")
    return RoutingLine(sku, int(quantity))


def _pair_of(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--attribute {text!r}: write NAME=VALUE")
    return name, value


def _place_of(to: str, at: str) -> Place | None:
    country, colon, postal_code = to.rpartition(":")
    latitude = longitude = None
    if at:
        try:
            latitude, longitude = (float(part) for part in at.split(","))
        except ValueError:
            raise ValueError(f"--at {at!r}: write LATITUDE,LONGITUDE in degrees") from None
    if not to and not at:
        return None
    return Place(
        country_code=country if colon else "US",
        postal_code=postal_code,
        latitude=latitude,
        longitude=longitude,
    )


def _show_plans(session: Session, found: Plans) -> None:
    if session.printer.as_json:
        session.printer.json(found)
        return
    for rank, plan in enumerate(found.plans, 1):
        title = "The plan" if len(found.plans) == 1 else f"Plan {rank}"
        _show_plan(session, plan, found.currency_code, title)
    if found.pareto_plans:
        session.printer.table(
            ("cost", "arrives by", "shipments", "CO2e g", "in time", "from"),
            [
                (
                    money(plan.cost_minor_units, found.currency_code),
                    plan.delivery_window.end_time,
                    len(plan.shipments),
                    plan.co2e_grams,
                    share(plan.delivery_window.probability_ppm),
                    " + ".join(
                        f"{one.node} {one.carrier_service}".strip() for one in plan.shipments
                    ),
                )
                for plan in found.pareto_plans
            ],
            title="None is worse than another in everything",
        )
    _show_rules(session, found.rule_outcomes)
    _show_report(session, found.report)


def _show_plan(session: Session, plan: FulfillmentPlan, currency: str, title: str) -> None:
    session.printer.table(
        ("node", "how", "service", "zone", "km", "what", "parcels", "picked", "arrives by", "cost"),
        [
            (
                one.node,
                one.fulfillment_type.value.lower().replace("_", " "),
                one.carrier_service,
                one.zone,
                one.distance_km,
                ", ".join(f"{line.quantity} x {line.sku}" for line in one.lines),
                len(one.parcels),
                one.pick_date,
                one.delivery_window.end_time,
                money(one.cost_minor_units, currency),
            )
            for one in plan.shipments
        ],
        title=f"{title}: {money(plan.cost_minor_units, currency)}, {plan.co2e_grams} g CO2e, "
        f"in time with {share(plan.delivery_window.probability_ppm)}",
    )
    terms = plan.cost_terms
    parts = {
        "parcels": terms.parcels_minor_units,
        "CO2e": terms.co2e_minor_units,
        "handling": terms.handling_minor_units,
        "opportunity": terms.opportunity_minor_units,
        "service": terms.service_minor_units,
        "lateness": terms.lateness_minor_units,
        "split": terms.split_minor_units,
    }
    told = [f"{name} {money(units, currency)}" for name, units in parts.items() if units]
    if told:
        session.printer.line("  " + " + ".join(told))


def _show_rules(session: Session, outcomes: tuple[RuleOutcome, ...]) -> None:
    for one in outcomes:
        why = f": {one.reason}" if one.reason else ""
        session.printer.line(f"rule {one.rule} ({one.action}){why}")


def _show_report(session: Session, report: SolverReport) -> None:
    if report.proven_optimal:
        proof = "proven: no plan is cheaper"
    elif report.bound_minor_units:
        proof = f"at most {share(report.gap_ppm)} above the cheapest"
    else:
        proof = "found by a rule of thumb"
    session.printer.line(
        f"{proof}; {report.solve_nanoseconds / 1000:,.0f} us in solver {report.solver_version}, "
        f"network of revision {report.network_version}"
    )
    prices = report.opportunity
    if prices is not None and prices.changes_plan:
        others = " and ".join(prices.other_nodes)
        without = "without opportunity prices it would ship"
        if prices.mode is OpportunityMode.SHADOW:
            without = "with opportunity prices it would ship"
        session.printer.line(
            f"{without} from {others} ({prices.dearer_minor_units} dearer with them)"
        )


def _show_explanation(session: Session, found: Explanation) -> None:
    if session.printer.as_json:
        session.printer.json(found)
        return
    _show_plan(session, found.plan, found.currency_code, "The plan")
    _show_rules(session, found.rule_outcomes)
    session.printer.table(
        ("node", "km", "why not", "rule", "cost if forced", "dearer by", "its services"),
        [_node_row(node, found) for node in found.nodes],
        title="Every node",
    )
    again = "the same plan again" if found.replayed else "ANOTHER plan than was promised"
    session.printer.line(f"solved anew: {again}; planned on revision {found.planned_revision}")
    _show_report(session, found.report)


def _node_row(node: NodeExplanation, found: Explanation) -> tuple[object, ...]:
    cost = node.forced_cost_minor_units
    dearer = None if cost is None else cost - found.plan.cost_minor_units
    services = ", ".join(
        f"{one.carrier_service} {money(one.forced_cost_minor_units, '').strip()}"
        if one.forced_cost_minor_units is not None
        else f"{one.carrier_service} {one.reason.value}"
        for one in node.services
    )
    return (
        node.node,
        node.distance_km,
        "chosen" if node.chosen else node.reason.value,
        node.rule,
        money(cost, found.currency_code),
        "" if not dearer else money(dearer, found.currency_code),
        services,
    )
