"""RoutingService: plans of one order on the state as it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from google.protobuf.message import Message

from engine.routing import limits as solver
from engine.routing.plan import Plan
from engine.routing.prices.decide import Mode
from engine.routing.solver import Strategy
from engine.state import State
from holdfast.v1 import routing_service_pb2 as messages
from server.admission.brownout import Brownout
from server.application.gateway import Phase
from server.logs import get
from server.routing.assembly import Assembly, NothingToShip, assemble
from server.routing.catalog import Catalog
from server.routing.items import Items
from server.routing.metrics import RoutingMetrics
from server.routing.network import Network
from server.routing.orders import Held, Order
from server.routing.planning import Planner, Solved
from server.routing.prices.source import OpportunityPrices
from server.transport import render_plans
from server.transport.calls import Call, Methods, with_messages
from server.transport.codec import routing as codec
from server.transport.express import Express
from server.transport.gathering import Gathered, Gathering
from server.transport.infeasible import no_plan, nothing_to_ship
from server.transport.ledger_view import LedgerView
from server.transport.validation import Checker

_log = get("routing")
# How long a plan waits under load for others, while code and tables are in the caches.
_COMPANY_S = 0.012


class RoutingService:
    """Handlers of the service's methods that hold nothing."""

    def __init__(
        self,
        view: LedgerView,
        catalog: Catalog,
        metrics: RoutingMetrics,
        brownout: Brownout,
        prices: OpportunityPrices,
        busy_share: Callable[[], float],
    ) -> None:
        """`busy_share`: of its time that the event loop was busy lately."""
        self._view = view
        self._busy_share = busy_share
        self._catalog = catalog
        self._metrics = metrics
        self._brownout = brownout
        self.prices = prices
        self._is_told = False
        self.planner = Planner()
        self._express: Express | None = None
        self._told: Network | None = None

    def register(self, methods: Methods) -> None:
        """Offer them."""
        gathering = Gathering(self._plan_together, wait_s=_COMPANY_S, busy_share=self._busy_share)
        plain = with_messages(messages.PlanFulfillmentRequest, self.plan)
        methods.unary_raw("PlanFulfillment", gathering.handler(plain))

    @property
    def items(self) -> Items:
        """What is known of items."""
        return self._catalog.items

    def network(self) -> Network:
        """The network as of now."""
        gateway = self._view.gateway
        network = self._catalog.network(gateway.state, gateway.documents_version)
        if network is not self._told:
            self._told = network
            self._metrics.findings = len(network.findings)
            for finding in network.findings:
                _log.warning("routing can not use all of the network", finding=finding)
        return network

    def express(self) -> Express | None:
        """Where usual orders are planned now; None where none are."""
        network = self.network()
        if self._express is None or self._express.desk.network is not network:
            self._express = Express(network, self._catalog.items, self.planner)
        if not self._express.desk.is_open:
            return None
        if self.prices.mode is not Mode.OFF:
            return None
        return self._express

    async def _plan_together(self, calls: Sequence[Gathered]) -> None:
        """PlanFulfillment of the usual orders among them, without messages; the others are told
        that they are none."""
        express = self.express()
        if express is None:
            for one in calls:
                one.tell(None)
            return
        gateway, desk = self._view.gateway, express.desk
        desk.begin(gateway.state, gateway.now_ms())
        replies: list[tuple[Gathered, bytes]] = []
        for one in calls:
            order = desk.read(one.raw)
            try:
                planned = None if order is None else express.plan(order)
                reply = None if planned is None else express.writer.reply(desk, planned)
            except Exception as fault:  # noqa: BLE001 - its own caller hears of it
                one.tell(fault)
                continue
            if planned is None or reply is None:
                one.tell(None)
                continue
            self._metrics.solved(*express.summary(planned))
            replies.append((one, reply))
        await gateway.durable()
        for one, reply in replies:
            one.tell(reply)

    async def plan(self, request: messages.PlanFulfillmentRequest, call: Call) -> Message:
        """PlanFulfillment of any order."""
        gateway = self._view.gateway
        check = Checker(gateway.now_ms())
        if not request.HasField("order"):
            check.required("order")
        codec.check_order(check, "order.", request.order)
        strategy = self.strategy_now(codec.strategy_of(check, request.strategy))
        budget = codec.work_budget_of(check, request.work_budget)
        check.whole("max_plans", request.max_plans, "plans_max", maximum=solver.plans_max)
        check.refuse()
        network = self.network()
        state = gateway.state
        order = codec.order_of(request.order, network, self._catalog.items, state)
        solved = self.solve(
            network, order, strategy=strategy, plans_max=request.max_plans or 1, budget=budget
        )
        assembly = solved.assembly
        reply = messages.PlanFulfillmentResponse(
            plans=[render_plans.plan_of(assembly, plan) for plan in solved.answer.plans],
            currency_code=network.currency,
            report=render_plans.report_of(solved),
            rule_outcomes=render_plans.outcomes_of(assembly.ruling),
            hold_for_review=assembly.ruling.hold_for_review,
            revision=assembly.revision,
        )
        if request.include_pareto_plans:
            reply.pareto_plans.extend(
                render_plans.plan_of(assembly, plan) for plan in self.planner.pareto(solved)
            )
        await gateway.durable()
        return reply

    def strategy_now(self, wished: Strategy) -> Strategy:
        """How a plan is found: in a brown-out by the best rule of thumb, without the search."""
        if wished is not Strategy.EXACT or not self._brownout.greedy_routing:
            return wished
        self._brownout.degraded_answers += 1
        return Strategy.FEWEST_SPLITS

    def solve(
        self,
        network: Network,
        order: Order,
        *,
        strategy: Strategy = Strategy.EXACT,
        plans_max: int = 1,
        budget: int = solver.work_budget,
        held: Held | None = None,
    ) -> Solved:
        """An order's plans, at least one. Raises Refused where there is none."""
        state = self._view.state
        now_ms = self._view.gateway.now_ms()
        try:
            assembly = assemble(network, state, order, now_ms, held=held)
        except NothingToShip as fault:
            raise nothing_to_ship(str(fault)) from None
        solved = self.planner.solve(
            assembly, strategy=strategy, plans_max=plans_max, work_budget=budget
        )
        has_plan = bool(solved.answer.costs)
        if has_plan and self.prices.mode is not Mode.OFF and strategy is Strategy.EXACT:
            solved = self._priced(solved, state, now_ms, plans_max=plans_max, budget=budget)
        answer = solved.answer
        gap = answer.gap if has_plan else None
        self._metrics.solved(strategy, answer.status, solved.nanoseconds, gap)
        if not has_plan:
            if len(assembly.nodes) < len(network.node_names):
                assembly = assemble(network, state, order, now_ms, held=held, everywhere=True)
                solved = self.planner.solve(assembly, work_budget=budget)
            raise no_plan(solved)
        return solved

    def _priced(
        self, solved: Solved, state: State, now_ms: int, *, plans_max: int, budget: int
    ) -> Solved:
        """With opportunity prices, or without where they fail: no order is lost for them."""
        gateway = self._view.gateway
        follows = gateway.phase is Phase.STANDBY
        try:
            self.prices.refresh(state, gateway.documents_version, now_ms, follows=follows)
            priced = self.planner.priced(
                self.prices, solved, plans_max=plans_max, work_budget=budget
            )
        except Exception as fault:  # noqa: BLE001 - such as a decision another version kept
            self._prices_failed(fault)
            return solved
        if priced.opportunity is not None:
            self._metrics.compared(priced.opportunity)
        return priced

    def _prices_failed(self, fault: Exception) -> None:
        if not self._is_told:
            self._is_told = True
            _log.error("opportunity prices failed, orders go without them", exc_info=fault)

    def took(self, assembly: Assembly, plan: Plan, name: str) -> None:
        """A plan of an order is held, and its decision kept under this name: it moves prices."""
        if self.prices.mode is not Mode.OFF:
            gateway = self._view.gateway
            try:
                self.prices.took(gateway.state, gateway.documents_version, assembly, plan, name)
            except Exception as fault:  # noqa: BLE001 - the ledger has it, whatever prices say
                self._prices_failed(fault)
