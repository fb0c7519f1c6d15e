"""What is told of a SKU that is sold out: byte for byte what the table of errors would write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import outcomes
from holdfast.v1 import errors_pb2
from holdfast.v1 import reservation_service_pb2 as messages
from server.transport import sold_out
from server.transport.errors import Case, Refusal, refusal
from server.transport.sold_out import Told, _read, _Template

revisions = st.integers(min_value=0, max_value=(1 << 63) - 1)
names = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=30)


def short(revision: int, sku: str, node: str, units: int) -> Refusal:
    return refusal(
        outcomes.INSUFFICIENT_STOCK,
        Case(
            subject=f"{sku}@{node}",
            message=f"not enough stock: {units} of {sku!r}",
            metadata={"revision": str(revision), "line": "lines[0]", "sku": sku, "node": node},
            shortages=[errors_pb2.Shortage(sku=sku, node=node, requested_quantity=units)],
        ),
    )


@given(revisions, revisions, names, names, st.integers(1, 1 << 40))
def test_only_the_revision_is_another(
    first: int, second: int, sku: str, node: str, units: int
) -> None:
    told = Told(_Template(short(first, sku, node, units)), second)
    wanted = short(second, sku, node, units)
    assert told.trailing_metadata == wanted.trailing_metadata
    assert told.metadata == wanted.metadata
    assert told.revision == second
    assert (told.code, told.reason, told.reason_name) == (
        wanted.code,
        wanted.reason,
        wanted.reason_name,
    )


@given(st.text("revision0123456789", min_size=1, max_size=30), revisions, revisions)
def test_a_name_that_looks_like_a_revision_is_left_alone(sku: str, first: int, second: int) -> None:
    told = Told(_Template(short(first, sku, sku, 1)), second)
    assert told.trailing_metadata == short(second, sku, sku, 1).trailing_metadata


def test_a_refusal_without_a_revision_is_no_template() -> None:
    with pytest.raises(ValueError, match="revision"):
        _Template(refusal(outcomes.INSUFFICIENT_STOCK, Case(metadata={"sku": "pear"})))


@given(st.binary(max_size=60))
def test_any_bytes_can_be_looked_at(raw: bytes) -> None:
    """Nothing is left out: the parts are all there is."""
    found = _read(raw)
    if found is not None:
        assert len(found.body) + len(found.request_id) + len(found.owner) <= len(raw)


@given(names, names, names, st.integers(1, 1 << 40), st.integers(0, 1 << 40))
def test_who_asks_is_told_from_what_is_asked_for(
    request_id: str, owner: str, sku: str, units: int, ttl_ms: int
) -> None:
    def asked(request_id: str, owner: str) -> bytes:
        request = messages.CreateReservationRequest(request_id=request_id, owner=owner)
        request.lines.add(sku=sku, node="berlin", quantity=units)
        request.ttl.FromMilliseconds(ttl_ms)
        return request.SerializeToString()

    found, other = _read(asked(request_id, owner)), _read(asked("other", ""))
    assert found is not None
    assert other is not None
    assert found.request_id.decode() == request_id
    assert found.owner.decode() == owner
    assert found.body == other.body == asked("", "")


@pytest.mark.parametrize(
    ("fields", "alone"),
    [
        ({}, True),
        ({"channel": "web"}, False),
        ({"replace_owner_holds": True}, False),
        ({"fill_policy": 1}, True),
        ({"fill_policy": 3}, False),
    ],
)
def test_what_one_position_decides(fields: dict[str, object], alone: bool) -> None:
    request = messages.CreateReservationRequest(**fields)  # type: ignore[arg-type]
    request.lines.add(sku="pear", node="berlin", quantity=1)
    assert sold_out._depends_on_stock_alone(request) is alone
    request.lines.add(sku="pear", node="lyon", quantity=1)
    assert not sold_out._depends_on_stock_alone(request)


@pytest.mark.parametrize(
    ("line", "alone"),
    [
        ({"node": "berlin"}, True),
        ({"node_group": "all"}, False),
        ({"node": "berlin", "supply_policy": 1}, True),
        ({"node": "berlin", "supply_policy": 2}, False),
        ({"node": "berlin", "supply_policy": 3}, False),
    ],
)
def test_what_one_positions_stock_decides(line: dict[str, object], alone: bool) -> None:
    request = messages.CreateReservationRequest()
    request.lines.add(sku="pear", quantity=1, **line)  # type: ignore[arg-type]
    assert sold_out._depends_on_stock_alone(request) is alone
