"""Places, working days, schedules, lanes, kept decisions: by examples a human can check."""

from __future__ import annotations

import struct
import zlib
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from engine.routing.problem import NO_LANE, Problem
from engine.routing.solver import Solver
from engine.routing.tariff import Tariff
from holdfast.v1 import network_service_pb2 as network
from server.documents import ROUTING_DECISION
from server.routing.calendars import WorkCalendar, road_days
from server.routing.decision_log import DecisionLog, name_of
from server.routing.decisions import (
    Decision,
    Key,
    Names,
    Room,
    digest_of,
    pack_directory,
    pack_problem,
    pack_tariff,
    parts_of,
    rulings_of,
    text_of,
    unpack_problem,
    unpack_stock,
    unpack_tariff,
)
from server.routing.geography import Location, distances_km, locate
from server.routing.kernels.filling import UNLIMITED
from server.routing.lanes import Destination, LaneTables, ServiceLanes
from server.routing.schedule import (
    NEVER,
    Call,
    NodeTimes,
    Schedule,
    ServicePickups,
    slot_name,
)

WEEK = WorkCalendar(frozenset(range(7)), frozenset())
NEW_YORK = ZoneInfo("America/New_York")


# --- Places -----------------------------------------------------------------------------------


def test_a_zip_code_is_found_with_and_without_its_plus_four():
    found = locate("US", "10001")
    assert found is not None
    assert (round(found.latitude, 1), round(found.longitude, 1)) == (40.7, -74.0)
    assert found.time_zone == "America/New_York"
    assert locate("US", "10001-1234") == found
    for country, code in (("US", "00000"), ("US", "1000"), ("DE", "10115"), ("US", "10001-12")):
        assert locate(country, code) is None


def test_distances_are_those_of_the_sphere():
    """A degree of the equator is 111.2 km; to the pole it is a quarter of a great circle."""
    here = Location(0.0, 0.0, "")
    found = distances_km(np.array([0.0, 0.0, 90.0]), np.array([0.0, 1.0, 50.0]), *here[:2])
    assert found.tolist() == [0, 111, 10008]
    assert distances_km(np.array([np.nan]), np.array([np.nan]), *here[:2]).tolist() == [0]


# --- Working days -----------------------------------------------------------------------------


def test_a_calendar_skips_holidays_and_may_never_work():
    """Monday to Saturday by default; 24 December 2026 is a Thursday."""
    calendar = WorkCalendar.of([], ["2026-12-25", "2026-12-26"])
    assert calendar.next_from(date(2026, 12, 25)) == date(2026, 12, 28)
    assert not calendar.works(date(2026, 12, 27))
    first = date(2026, 1, 5)
    mondays = [(first + timedelta(days=7 * week)).isoformat() for week in range(130)]
    never = WorkCalendar.of([1], mondays)
    assert never.next_from(first) is None
    assert road_days(never, first.toordinal()) is None


def test_the_road_steps_over_days_off():
    base = date(2026, 12, 21).toordinal()
    road = road_days(WorkCalendar.of([], ["2026-12-25", "2026-12-26"]), base)
    assert road is not None
    worked = [date.fromordinal(int(day)).day for day in road.working[:6]]
    assert worked == [21, 22, 23, 24, 28, 29]
    assert road.passed[:8].tolist() == [1, 2, 3, 4, 4, 4, 4, 5]


# --- Schedules --------------------------------------------------------------------------------


def at(day: int, hour: int, minute: int = 0) -> int:
    """A moment of December 2026 in New York, in milliseconds."""
    return int(datetime(2026, 12, day, hour, minute, tzinfo=NEW_YORK).timestamp() * 1000)


FIVE = Call(frozenset(), 17 * 60)


def schedule_of(
    *calls: Call, cutoff: int | None = 14 * 60, processing_ms: int = 3_600_000
) -> Schedule:
    """One node, Monday to Friday; a carrier calls at 17:00 unless told otherwise."""
    weekdays = WorkCalendar(frozenset(range(5)), frozenset([date(2026, 12, 25)]))
    times = NodeTimes(NEW_YORK, weekdays, cutoff, processing_ms)
    pickups = ServicePickups(calls or (FIVE,), WEEK)
    return Schedule(["node"], [times], ["ground"], [[pickups]])


def days_of(schedule: Schedule) -> list[int]:
    return [date.fromordinal(int(day)).day for day in schedule.pick_day[:, 0]]


def pickups_of(schedule: Schedule, pick_day: int = 0) -> slice:
    """Those that may take what is picked on a day, one after another."""
    first = int(schedule.first_pickup[pick_day, 0, 0])
    return slice(first, int(schedule.pickups_end[0, 0]))


def moments_of(schedule: Schedule, pick_day: int = 0) -> list[int]:
    found: list[int] = schedule.ready_ms[pickups_of(schedule, pick_day)].tolist()
    return found


def test_before_the_cutoff_it_is_picked_today_and_after_it_tomorrow():
    schedule = schedule_of()
    schedule.at(at(21, 13, 59))
    assert days_of(schedule) == [21, 22, 23]
    assert moments_of(schedule)[0] == at(21, 17)
    schedule.at(at(21, 14))
    assert days_of(schedule) == [22, 23, 24]
    assert moments_of(schedule)[0] == at(22, 17)


def test_a_day_ends_and_weekends_and_holidays_are_skipped():
    """Thursday the 24th after the cutoff: Friday is a holiday, so Monday the 28th."""
    schedule = schedule_of()
    schedule.at(at(24, 15))
    assert days_of(schedule) == [28, 29, 30]
    schedule.at(at(28, 0))
    assert days_of(schedule)[0] == 28


def test_what_is_ready_too_late_waits_for_the_next_call():
    """Without a cutoff: at 16:30 an hour of work is too much for the call at 17:00."""
    schedule = schedule_of(cutoff=None)
    schedule.at(at(21, 15, 59))
    assert moments_of(schedule)[0] == at(21, 17)
    schedule.at(at(21, 16, 30))
    assert days_of(schedule)[0] == 21
    assert moments_of(schedule)[0] == at(22, 17)


def test_a_call_is_followed_by_the_others_of_its_day_and_then_by_those_of_the_next_days():
    """Thursday the 24th, and Monday and Tuesday after the holiday and the weekend."""
    ten, noon = Call(frozenset(), 600, 5), Call(frozenset([0, 3]), 720, 0)
    schedule = schedule_of(FIVE, ten, noon)
    schedule.at(at(24, 8))
    assert days_of(schedule) == [24, 28, 29]
    monday = [at(28, 10), at(28, 12), at(28, 17)]
    tuesday = [at(29, 10), at(29, 17)]
    assert moments_of(schedule) == [at(24, 10), at(24, 12), at(24, 17), *monday, *tuesday]
    assert moments_of(schedule, 1) == [*monday, *tuesday]
    assert moments_of(schedule, 2) == tuesday
    capacities = schedule.slot_default[pickups_of(schedule)].tolist()
    assert capacities == [5, 0, UNLIMITED] * 2 + [5, UNLIMITED]
    # An hour before a call it is missed, and one more of the same day is there.
    schedule.at(at(24, 9, 1))
    assert moments_of(schedule) == [at(24, 12), at(24, 17), *monday, *tuesday]
    assert schedule.slot_default[pickups_of(schedule)].tolist()[:2] == [0, UNLIMITED]


def test_days_that_make_the_same_call_have_it_once():
    """At 17:00 the call of today has passed: today and tomorrow are picked for tomorrow's."""
    schedule = schedule_of(cutoff=None, processing_ms=0)
    schedule.at(at(21, 17, 1))
    assert days_of(schedule) == [21, 22, 23]
    assert moments_of(schedule) == moments_of(schedule, 1) == [at(22, 17), at(23, 17)]


def test_of_calls_at_one_moment_the_last_one_counts():
    """They have one slot."""
    schedule = schedule_of(Call(frozenset(), 600, 5), Call(frozenset([0]), 600, 7))
    schedule.at(at(21, 8))
    assert moments_of(schedule) == [at(21, 10), at(22, 10), at(23, 10)]
    assert schedule.slot_default[pickups_of(schedule)].tolist() == [7, 5, 5]


def test_services_that_call_at_one_moment_have_a_slot_each():
    times = NodeTimes(NEW_YORK, WEEK, None, 0)
    calls = [ServicePickups((Call(frozenset(), 600, units),), WEEK) for units in (5, 7)]
    schedule = Schedule(["node"], [times], ["ground", "air"], [[one] for one in calls])
    schedule.at(at(21, 8))
    first = schedule.first_pickup[0, 0, :2]
    assert schedule.ready_ms[first].tolist() == [at(21, 10)] * 2
    assert schedule.slot_default[first].tolist() == [5, 7]
    assert len(set(schedule.slot_key[first].tolist())) == 2


def test_each_pickup_has_a_slot_of_its_own():
    schedule = schedule_of(Call(frozenset(), 600), FIVE)
    schedule.at(at(21, 8))
    names = [
        slot_name("ground", datetime(2026, 12, day, hour))
        for day in (21, 22, 23)
        for hour in (10, 17)
    ]
    keys = [schedule.key_of_slot(0, name) for name in names]
    assert schedule.slot_key[pickups_of(schedule)].tolist() == keys


def test_a_carrier_that_does_not_call_is_never_ready():
    times = NodeTimes(NEW_YORK, WEEK, None, 0)
    schedule = Schedule(["node"], [times], ["ground"], [[None]])
    schedule.at(at(21, 12))
    assert schedule.first_pickup[0, 0, 0] == NEVER
    assert schedule.ready_ms[schedule.first_pickup[0, 0, 1]] == at(21, 12)


def test_slots_are_named_by_service_and_moment_within_their_limit():
    moment = datetime(2026, 12, 21, 17)
    assert slot_name("ground", moment) == "ground@2026-12-21T17:00"
    longest = slot_name("s" * 64, moment)
    assert len(longest) <= 64
    assert longest.endswith("@2026-12-21T17:00")


# --- Lanes ------------------------------------------------------------------------------------

CODES = ("10001", "10463", "07102", "60601", "60640", "94105", "94110", "98101", "30301")


def test_the_first_lane_that_matches_counts():
    """A node in New York and one in California; lanes by prefix, distance, then the rest."""
    lanes = [
        network.Lane(origin_postal_prefix="10", destination_postal_prefix="100", zone="city"),
        network.Lane(destination_postal_prefix="9", zone=""),
        network.Lane(distance_km_max=300, zone="near"),
        network.Lane(zone="far"),
    ]
    zones = {"city": 0, "near": 1, "far": 2}
    places = [locate("US", "10001"), locate("US", "94105")]
    latitude = np.array([place.latitude for place in places if place])
    longitude = np.array([place.longitude for place in places if place])
    service = ServiceLanes(lanes, zones, ["US", "US"], ["10001", "94105"], np.array([True, True]))
    tables = LaneTables([service], latitude, longitude)

    def to(code: str) -> list[int]:
        return tables.to(Destination("US", code, locate("US", code))).zone[:, 0].tolist()

    assert to("10002") == [0, 2]
    assert to("07102") == [1, 2]
    assert to("94110") == [NO_LANE, NO_LANE]  # an empty zone: the service does not go there
    assert to("60601") == [2, 2]
    unserved = ServiceLanes(lanes, zones, ["US", "US"], ["10001", "94105"], np.array([False, True]))
    assert LaneTables([unserved], latitude, longitude).to(
        Destination("US", "60601", locate("US", "60601"))
    ).zone[:, 0].tolist() == [NO_LANE, 2]


@pytest.mark.parametrize("seed", range(20))
def test_zones_by_rings_are_those_of_the_lanes_one_by_one(seed: int):
    """The first question goes through the lanes, later ones by distance; both say the same."""
    random = np.random.default_rng(seed)
    places = [found for code in CODES if (found := locate("US", code))]
    latitude = np.array([place.latitude for place in places])
    longitude = np.array([place.longitude for place in places])
    services = []
    for _ in range(3):
        lanes = [
            network.Lane(
                origin_postal_prefix=str(random.choice(["", "1", "9"])),
                destination_postal_prefix=str(random.choice(["", "1", "60", "941"])),
                distance_km_max=int(random.choice([0, 5, 500, 2000, 4000])),
                zone=f"z{random.integers(3)}",
            )
            for _ in range(random.integers(1, 6))
        ]
        served = random.random(len(places)) < 0.8
        zones = {"z0": 0, "z1": 1}
        services.append(ServiceLanes(lanes, zones, ["US"] * len(places), list(CODES), served))
    there = [
        Destination("US", near or code, locate("US", code) if code != "98101" else None)
        for code in CODES
        for near in ("", code[:3] + "01")
    ]
    kept, learned = [LaneTables(services, latitude, longitude) for _ in range(2)]
    learned.learn(there)
    for to in there * 2:
        fresh = LaneTables(services, latitude, longitude).to(to)
        for tables in (kept, learned):
            assert np.array_equal(tables.to(to).zone, fresh.zone)
            assert np.array_equal(tables.to(to).distance_km, fresh.distance_km)


# --- Decisions --------------------------------------------------------------------------------


def problem() -> Problem:
    tariff = Tariff.of(step_g=[1000, 2000], rate=[[[500, 700]]], transit_days=[[1]])
    return Problem.of(
        tariff,
        quantity=[1, 1],
        unit_weight_g=[600, 600],
        stock=[[1, 0], [0, 1], [1, 1]],
        zone=[[0], [0], [0]],
        shipment_cost=[10, 20, 600],
    )


def test_a_kept_problem_solves_to_the_same_plan():
    asked = problem()
    packed = pack_tariff(asked.tariff)
    directory = pack_directory(["a", "x", "b", "c"], ["ground"])
    names = Names(["a", "b", "c"], ["ground"], {1: "no b"}, {})
    kept = pack_problem(
        asked.view,
        np.array([0, 2, 3]),
        Room(),
        shape=(3, 2, 1),
        text=text_of(digest_of(packed), digest_of(directory), rulings_of(names)),
    )
    assert parts_of(kept) == (digest_of(packed), digest_of(directory))
    again, told = unpack_problem(kept, unpack_tariff(packed), directory)
    assert told == names
    first, second = Solver().solve(asked), Solver().solve(again)
    assert first.costs == second.costs == (1030,)
    assert first.plans == second.plans
    for one, other in zip(asked.arrays, again.arrays, strict=True):
        assert np.array_equal(one, other)
    nodes, stock = unpack_stock(kept, directory)
    assert (nodes, stock.tolist()) == (["a", "b", "c"], [[1, 0], [0, 1], [1, 1]])
    with pytest.raises(ValueError, match="announces"):
        unpack_problem(kept + b"x", unpack_tariff(packed), directory)


def test_a_problem_of_the_version_before_is_read():
    """Its arrays whole, its names beside them, compressed."""
    asked = problem()
    a = asked.arrays
    fields = (
        *("quantity", "unit_weight_g", "unit_volume_cm3", "carried_by", "group"),
        *("node_open", "pick_capacity", "shipment_cost", "unit_cost", "distance", "priority"),
        *("stock", "opportunity_cost"),
        *("zone", "service_open", "service_cost", "slots", "ready_day", "terms"),
    )
    text = b"digest\na\tb\tc\nground\nn1\tno b"
    shape = struct.pack("<IIIIII", 3, 2, 1, len(text), 0, 0)
    whole = b"".join((shape, text, *(getattr(a, field).tobytes() for field in fields)))
    kept = zlib.compress(whole, 1)
    assert parts_of(kept) == ("digest", "")
    again, told = unpack_problem(kept, asked.tariff, b"")
    assert told == Names(["a", "b", "c"], ["ground"], {1: "no b"}, {})
    for one, other in zip(asked.arrays, again.arrays, strict=True):
        assert np.array_equal(one, other)
    nodes, stock = unpack_stock(kept, b"")
    assert (nodes, stock.tolist()) == (["a", "b", "c"], [[1, 0], [0, 1], [1, 1]])


def decision(number: int, *, reply: bytes = b"reply") -> Decision:
    return Decision(
        key=Key((number, 1), (2, 3)),
        time_ms=number,
        attempt=0,
        revision=7,
        strategy=0,
        work_budget=40_000,
        order=b"order",
        reply=reply,
        refusal=b"",
        command=b"command",
        problem=b"problem",
    )


def test_a_decision_goes_there_and_back():
    made = decision(5)
    assert Decision.from_bytes(made.to_bytes()) == made
    with pytest.raises(ValueError, match="this version reads"):
        Decision.from_bytes(b"XXXX" + made.to_bytes()[4:])
    with pytest.raises(ValueError, match="announces"):
        Decision.from_bytes(made.to_bytes() + b"more")


class _State:
    """What the log reads of a state."""

    def __init__(self, decisions: dict[str, Decision]) -> None:
        self.documents = {
            (ROUTING_DECISION, name): (one.to_bytes(), 1) for name, one in decisions.items()
        }


def test_the_log_finds_by_request_and_reservation_and_lets_the_oldest_go():
    names = [name_of("a", 0), name_of("a", 1), name_of("b", 0)]
    kept = {names[0]: decision(1), names[1]: decision(2, reply=b""), names[2]: decision(3)}
    state = _State(kept)
    log = DecisionLog(most=3)
    log.refresh(state, 0)  # type: ignore[arg-type]
    found = log.by_request(state, (3, 1))  # type: ignore[arg-type]
    assert found == (names[2], kept[names[2]])
    # The second decision about a has no plan, so the first is its newest one.
    assert log.latest(state, "a") == (names[0], kept[names[0]])  # type: ignore[arg-type]
    assert log.next_name("a") == name_of("a", 2)
    assert log.beyond(1) == [names[0]]
    log.removed(names[0])
    assert log.latest(state, "a") is None  # type: ignore[arg-type]
    assert log.by_request(state, (1, 1)) is None  # type: ignore[arg-type]
    assert log.beyond(1) == []
