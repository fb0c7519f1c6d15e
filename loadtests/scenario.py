"""A scenario: which server, which shop, who calls when, what is done to them, which bars hold.

One TOML file each, `scenarios/*.toml`; docs/load.md describes every key. `load` refuses what can
not be meant, naming file, table and key, all problems at once.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from loadtests.measures import INVARIANTS, MEASURES
from loadtests.tables import Reader, ScenarioError, choice, number

FOLDER = Path(__file__).parent / "scenarios"
STEPS = ("browse", "plan", "hold", "promise", "confirm", "cancel", "extend", "track")
# Steps that make a reservation, and steps of routing.
MAKING = ("hold", "promise")
ROUTED = ("plan", "promise")
ROLES = ("", "baseline", "peak", "overload", "recovery")
EVENTS = (*("slow_redis", "restart", "kill", "feed", "reconnect", "expiry", "hostile"),)
HOSTILE = ("rapid_reset", "idle_connections", "ping_flood", "slow_reader", "large_messages")
_THINK = re.compile(r"think:(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Server:
    """What is started."""

    journal: str = choice("sqlite", ("sqlite", "redis"))
    standby: bool = False
    """A second server follows the journal and takes over."""
    flags: tuple[str, ...] = ()
    """Further flags of ``holdfast serve``."""


@dataclass(frozen=True, slots=True)
class Shop:
    """What is for sale: every SKU at every node."""

    skus: int = number(100, 1, 100_000)
    nodes: int = number(4, 1, 1_000)
    units: int = number(1_000_000, 1, 1_000_000_000)
    """Of each SKU at each node."""
    hot_share: float = number(0.0, 0.0, 1.0)
    """The part of holds that want the first SKU at the first node; the others want any."""
    carrier_services: int = number(0, 0, 20)
    """That ship from every node; 0: nothing is routed."""


@dataclass(frozen=True, slots=True)
class Callers:
    """Who calls, and with what."""

    client: str = choice("holdfast", ("holdfast", "foreign"))
    """Our client library, or bare calls: one attempt, no throttle, no budget."""
    transport: str = choice("light", ("light", "grpcio"))
    processes: int = number(2, 1, 64)
    connections: int = number(4, 1, 256)
    """Of each process."""
    timeout_s: float = number(1.0, 0.01, 60)
    throttle_k: float = number(0.0, 0.0, 10)
    """0: no throttle."""
    throttle_window_s: float = number(120.0, 0.1, 600)
    checkout_patience_s: float = number(0.0, 0.0, 600)
    """How long a confirm that was turned away is asked again, under the same request id."""
    witness_rate: float = number(0.0, 0.0, 1_000)
    """Journeys a second of one process more, which the processor serves before the others: what it
    finds is the server's slowness, not that of busy generators. 0: none."""


@dataclass(frozen=True, slots=True)
class Load:
    """How the arrivals are drawn, and what is known of the server before."""

    arrivals: str = choice("poisson", ("poisson", "constant"))
    seed: int = number(1, 0, 2**31)
    saturation_s: float = number(0.0, 0.0, 120)
    """How long the server's capacity is measured first; 0: not at all."""
    in_flight: int = number(128, 1, 10_000)
    """Journeys at once while it is, of all processes."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time with one rate of arrivals, or a steady change from one to another."""

    name: str
    seconds: float = number(MISSING, 0.1, 86_400)
    rate: float | None = number(None, 0, 1e6)
    """Journeys a second that begin."""
    times: float | None = number(None, 0, 1_000)
    """The same in multiples of the measured capacity, in place of `rate`."""
    until: float | None = number(None, 0, 1e6)
    """Rate, or multiple, at its end; by default that of its beginning."""
    role: str = choice("", ROLES)
    journeys: tuple[str, ...] = ()
    """The journeys that begin in it, by their shares among each other; none: all."""


@dataclass(frozen=True, slots=True)
class Journey:
    """What a shopper does, step by step."""

    name: str
    share: float = number(1.0, 0, 1)
    steps: tuple[str, ...] = ("hold",)
    lines: int = number(1, 1, 100)
    ttl_s: float = number(900, 0.001, 86_400)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to the server, its journal or its callers."""

    kind: str = choice(MISSING, EVENTS)
    phase: str = ""
    after_s: float = number(0.0, 0, 86_400)
    """From the beginning of that phase."""
    for_s: float = number(1.0, 0, 3_600)
    latency_ms: float = number(0.0, 0, 60_000)
    jitter_ms: float = number(0.0, 0, 60_000)
    black_hole: bool = False
    rows: int = number(0, 0, 100_000_000)
    """Of a feed."""
    holds: int = number(0, 0, 10_000_000)
    """That expire."""
    attack: str = choice("", ("", *HOSTILE))
    connections: int = number(10, 1, 20_000)
    per_second: float = number(0.0, 0, 1_000_000)
    """Streams or pings of each connection, or connections opened; 0: as many as a core makes."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a measure has to reach."""

    measure: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_invariant(self) -> bool:
        """Whether it holds at any scale, on any machine."""
        return self.measure in INVARIANTS

    def is_reached(self, value: float | None) -> bool:
        """Whether `value` is good enough; what was not measured is not."""
        if value is None:
            return False
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    def wanted(self) -> str:
        """Such as ``>= 0.9``."""
        parts = [("\u2265", self.at_least), ("\u2264", self.at_most)]
        return ", ".join(f"{sign} {value:g}" for sign, value in parts if value is not None)


@dataclass(frozen=True, slots=True)
class Quick:
    """The small scale for tests: the same course, and only bars on invariants are judged."""

    phase_s: float = number(1.0, 0.1, 60)
    """The longest a phase takes."""
    rate: float = number(60, 1, 100_000)
    """The most arrivals a second; multiples count from a quarter of it."""
    units: int = number(0, 0, 1_000_000_000)
    """0: as in the shop."""
    holds: int = number(2_000, 1, 10_000_000)
    rows: int = number(20_000, 1, 100_000_000)
    connections: int = number(20, 1, 20_000)


@dataclass(frozen=True, slots=True)
class Scenario:
    """The whole file."""

    name: str
    title: str
    description: str = ""
    server: Server = field(default_factory=Server)
    shop: Shop = field(default_factory=Shop)
    callers: Callers = field(default_factory=Callers)
    load: Load = field(default_factory=Load)
    phases: tuple[Phase, ...] = ()
    journeys: tuple[Journey, ...] = ()
    events: tuple[Event, ...] = ()
    bars: tuple[Bar, ...] = ()
    quick: Quick = field(default_factory=Quick)

    @property
    def needs_saturation(self) -> bool:
        """Whether rates are multiples of a capacity that has to be measured first."""
        return any(phase.times is not None for phase in self.phases)

    def starts_s(self) -> dict[str, float]:
        """When each phase begins, in seconds from the first one's beginning."""
        starts, at = {}, 0.0
        for phase in self.phases:
            starts[phase.name] = at
            at += phase.seconds
        return starts

    @property
    def seconds(self) -> float:
        """How long all phases take."""
        return sum(phase.seconds for phase in self.phases)

    def event_s(self, event: Event) -> float:
        """When an event begins, in seconds from the first phase's beginning."""
        return self.starts_s().get(event.phase, 0.0) + event.after_s


def mixes(made: Scenario) -> list[tuple[Journey, ...]]:
    """The journeys that begin in each phase."""
    return [
        tuple(each for each in made.journeys if not phase.journeys or each.name in phase.journeys)
        for phase in made.phases
    ]


def think_s(step: str) -> tuple[float, float] | None:
    """The shortest and the longest pause that ``think:1-5`` stands for; None: another step."""
    found = _THINK.fullmatch(step)
    if found is None:
        return None
    least = float(found[1])
    return least, float(found[2] or least)


def names() -> list[str]:
    """The scenarios there are."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name: str) -> Scenario:
    """The scenario of that name, or in the file of that name. Raises ScenarioError."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        close = difflib.get_close_matches(name, names(), 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ScenarioError([f"no scenario {name}{hint} (there are {', '.join(names())})"])
    return load(path)


def load(path: Path) -> Scenario:
    """Read and check a file. Raises ScenarioError."""
    try:
        given = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError([f"{path.name}: not TOML: {error}"]) from None
    return parse(path.stem, given, file=path.name)


_TABLES: dict[str, type[Any]] = {
    "server": Server,
    "shop": Shop,
    "callers": Callers,
    "load": Load,
    "quick": Quick,
}
_ARRAYS: dict[str, tuple[str, type[Any]]] = {
    "phase": ("phases", Phase),
    "journey": ("journeys", Journey),
    "event": ("events", Event),
    "bar": ("bars", Bar),
}


def parse(name: str, given: dict[str, Any], *, file: str) -> Scenario:
    """The scenario that a parsed file describes. Raises ScenarioError."""
    reader = Reader(file)
    reader.unknown("", given, ["title", "description", *_TABLES, *_ARRAYS])
    parts: dict[str, Any] = {}
    for key in ("title", "description"):
        value = given.get(key, "")
        if not isinstance(value, str) or (key == "title" and not value):
            reader.complain("", key, f"must be text, not {value!r}")
        parts[key] = value
    for key, kind in _TABLES.items():
        if key in given and (read := reader.read(key, kind, given[key])) is not None:
            parts[key] = read
    for key, (into, kind) in _ARRAYS.items():
        parts[into] = reader.read_all(key, kind, given.get(key, []))
    if not reader.problems:
        made = Scenario(name=name, **parts)
        _check(made, reader)
        if not reader.problems:
            return made
    raise ScenarioError(reader.problems)


def _check(made: Scenario, reader: Reader) -> None:
    """What no single key shows."""
    if not made.phases:
        reader.complain("", "phase", "there must be at least one [[phase]]")
    if not made.journeys:
        reader.complain("", "journey", "there must be at least one [[journey]]")
    seen = [phase.name for phase in made.phases]
    for at, phase in enumerate(made.phases, 1):
        table = f"phase {at}"
        if seen.count(phase.name) > 1:
            reader.complain(table, "name", f"{phase.name!r} is given twice")
        there = [journey.name for journey in made.journeys if journey.share]
        for name in phase.journeys:
            if name not in there:
                reader.complain(
                    table, "journeys", f"no journey {name!r}; there are {', '.join(there)}"
                )
        if (phase.rate is None) == (phase.times is None):
            reader.complain(table, "rate", "give either rate or times")
    if made.needs_saturation and not made.load.saturation_s:
        reader.complain(
            "load", "saturation_s", "must be above 0: phases are given in multiples of capacity"
        )
    for at, journey in enumerate(made.journeys, 1):
        _check_steps(journey, f"journey {at}", reader)
        if not made.shop.carrier_services and set(ROUTED) & set(journey.steps):
            reader.complain(
                f"journey {at}", "steps", "plan and promise need carrier_services in [shop]"
            )
    total = sum(journey.share for journey in made.journeys)
    if made.journeys and abs(total - 1) > 1e-6:
        reader.complain("journey 1", "share", f"the shares must add up to 1, not {total:g}")
    for at, event in enumerate(made.events, 1):
        _check_event(made, event, f"event {at}", reader)
    for at, bar in enumerate(made.bars, 1):
        table = f"bar {at}"
        if bar.measure not in MEASURES:
            close = difflib.get_close_matches(bar.measure, list(MEASURES), 1)
            hint = f"; did you mean {close[0]}?" if close else f": {', '.join(MEASURES)}"
            reader.complain(table, "measure", f"no measure {bar.measure!r}{hint}")
        if bar.at_least is None and bar.at_most is None:
            reader.complain(table, "at_least", "give at_least, at_most or both")


def _check_steps(journey: Journey, table: str, reader: Reader) -> None:
    has_hold = False
    for step in journey.steps:
        if step not in STEPS and think_s(step) is None:
            reader.complain(
                table, "steps", f"no step {step!r}; there are {', '.join(STEPS)}, think:SECONDS"
            )
        if step in ("confirm", "cancel", "extend", "track") and not has_hold:
            reader.complain(table, "steps", f"{step!r} needs a hold or promise before it")
        has_hold = has_hold or step in MAKING


def _check_event(made: Scenario, event: Event, table: str, reader: Reader) -> None:
    starts = made.starts_s()
    if event.phase not in starts:
        reader.complain(table, "phase", f"no phase {event.phase!r}; there are {', '.join(starts)}")
    wants_redis = event.kind == "slow_redis"
    if wants_redis and made.server.journal != "redis":
        reader.complain(table, "kind", f'{event.kind} needs journal = "redis" in [server]')
    if event.kind == "hostile" and not event.attack:
        reader.complain(table, "attack", f"must be one of {', '.join(HOSTILE)}")
    for kind, key in (("feed", "rows"), ("expiry", "holds")):
        if event.kind == kind and not getattr(event, key):
            reader.complain(table, key, f"must be above 0 for {kind}")


def with_callers(
    made: Scenario, *, client: str | None = None, transport: str | None = None
) -> Scenario:
    """The same scenario with other callers; None: as it is."""
    callers = made.callers
    return replace(
        made,
        callers=replace(
            callers, client=client or callers.client, transport=transport or callers.transport
        ),
    )


def quick(made: Scenario) -> Scenario:
    """The same scenario at the small scale."""
    small = made.quick

    def phase(one: Phase) -> Phase:
        if one.times is not None:
            # Nothing is measured first: a fixed rate stands for the capacity.
            unit = small.rate / 4
            rate = min(one.times * unit, small.rate)
            until = None if one.until is None else min(one.until * unit, small.rate)
        else:
            rate = min(one.rate or 0.0, small.rate)
            until = None if one.until is None else min(one.until, small.rate)
        return replace(
            one, seconds=min(one.seconds, small.phase_s), rate=rate, times=None, until=until
        )

    def journey(one: Journey) -> Journey:
        def step(text: str) -> str:
            pause = think_s(text)
            return text if pause is None else f"think:{min(pause[0], 0.1)}-{min(pause[1], 0.2)}"

        ttl_s = one.ttl_s if one.ttl_s >= 60 else min(one.ttl_s, 0.5)
        return replace(one, steps=tuple(step(text) for text in one.steps), ttl_s=ttl_s)

    def event(one: Event) -> Event:
        return replace(
            one,
            after_s=min(one.after_s, small.phase_s / 2),
            for_s=min(one.for_s, small.phase_s / 2),
            rows=min(one.rows, small.rows),
            holds=min(one.holds, small.holds),
            connections=min(one.connections, small.connections),
        )

    return replace(
        made,
        shop=replace(made.shop, units=small.units or made.shop.units, skus=min(made.shop.skus, 50)),
        callers=replace(
            made.callers,
            processes=min(made.callers.processes, 2),
            witness_rate=min(made.callers.witness_rate, small.rate / 4),
        ),
        load=replace(made.load, saturation_s=0.0),
        phases=tuple(phase(one) for one in made.phases),
        journeys=tuple(journey(one) for one in made.journeys),
        events=tuple(event(one) for one in made.events),
        bars=tuple(bar for bar in made.bars if bar.is_invariant),
    )


def keys() -> dict[str, list[str]]:
    """Every table and its keys, for the page that documents them."""
    kinds = {**_TABLES, **{table: kind for table, (_, kind) in _ARRAYS.items()}}
    return {table: [item.name for item in fields(kind)] for table, kind in kinds.items()}


def to_parts(made: Scenario) -> dict[str, Any]:
    """What a generator process needs to know of a scenario, for JSON."""
    return asdict(made)


def parse_parts(given: dict[str, Any]) -> Scenario:
    """What `to_parts` wrote."""
    parts: dict[str, Any] = {key: given[key] for key in ("name", "title", "description")}
    for key, kind in _TABLES.items():
        parts[key] = kind(**{name: _tupled(value) for name, value in given[key].items()})
    for into, kind in _ARRAYS.values():
        parts[into] = tuple(
            kind(**{name: _tupled(value) for name, value in each.items()}) for each in given[into]
        )
    return Scenario(**parts)


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
