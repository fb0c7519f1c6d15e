"""Creates as callers send them: usual ones, unusual ones, and ones that are wrong."""

from __future__ import annotations

from hypothesis import strategies as st

from holdfast.v1 import reservation_service_pb2 as messages

PLAIN = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
SKUS = st.sampled_from(["pear", "plum", "fig", "SKU-000123"]) | PLAIN
NODES = st.sampled_from(["berlin", "lyon", "n"]) | PLAIN
ANY_TEXT = st.text(max_size=70)
NOW_MS = 1_700_000_000_000


@st.composite
def usual_lines(draw: st.DrawFn) -> messages.ReservationLineRequest:
    line = messages.ReservationLineRequest(
        sku=draw(SKUS), quantity=draw(st.integers(1, 1_000_000_000))
    )
    if draw(st.booleans()):
        line.node = draw(NODES)
    else:
        line.node_group = draw(NODES)
    line.supply_policy = draw(st.integers(0, 3))
    if draw(st.booleans()):
        line.need_by_time.FromMilliseconds(NOW_MS + draw(st.integers(0, 10**12)))
    return line


@st.composite
def usual_creates(draw: st.DrawFn) -> messages.CreateReservationRequest:
    """What the compiled decoder reads by itself."""
    request = messages.CreateReservationRequest(
        request_id=draw(st.just("") | PLAIN),
        reservation_id=draw(st.just("") | PLAIN),
        owner=draw(st.just("") | PLAIN),
        channel=draw(st.just("") | PLAIN),
        fill_policy=draw(st.integers(0, 3)),
        durability=draw(st.integers(0, 2)),
        lines=draw(st.lists(usual_lines(), min_size=1, max_size=6)),
    )
    if request.owner:
        request.replace_owner_holds = draw(st.booleans())
    if draw(st.booleans()):
        request.ttl.FromNanoseconds(draw(st.integers(1, 10**15)))
    return request


@st.composite
def any_creates(draw: st.DrawFn) -> messages.CreateReservationRequest:
    """Anything that protobuf can say."""
    request = messages.CreateReservationRequest(
        request_id=draw(ANY_TEXT),
        reservation_id=draw(ANY_TEXT),
        owner=draw(ANY_TEXT),
        channel=draw(ANY_TEXT),
        fill_policy=draw(st.integers(-1, 5)),
        replace_owner_holds=draw(st.booleans()),
        durability=draw(st.integers(0, 4)),
    )
    for _ in range(draw(st.integers(0, 4))):
        line = request.lines.add(
            sku=draw(SKUS | ANY_TEXT),
            quantity=draw(st.integers(-5, 2_000_000_000)),
            supply_policy=draw(st.integers(0, 4)),
        )
        source = draw(st.integers(0, 2))
        if source == 0:
            line.node = draw(NODES | ANY_TEXT)
        elif source == 1:
            line.node_group = draw(NODES | ANY_TEXT)
        if draw(st.booleans()):
            line.need_by_time.seconds = draw(st.integers(-10, 253_402_300_799))
            line.need_by_time.nanos = draw(st.integers(-5, 999_999_999))
    if draw(st.booleans()):
        request.ttl.seconds = draw(st.integers(-5, 10**9))
        request.ttl.nanos = draw(st.integers(-5, 1_000_000_000))
    if draw(st.booleans()):
        taken = request.capacity_takes.add(quantity=draw(st.integers(0, 5)))
        taken.node_capacity.node = draw(NODES)
        taken.node_capacity.date = draw(st.sampled_from(["2026-03-02", "tomorrow", ""]))
    return request
