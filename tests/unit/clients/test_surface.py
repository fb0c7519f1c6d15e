"""What the package offers: no more than it means to, and the same twice."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import holdfast
from holdfast import aio

METHODS = sorted(
    name for name, _ in inspect.getmembers(holdfast.Client) if not name.startswith("_")
)

EXPECTED_METHODS = """
adjust availability batch_reserve bulk_reserve cancel cancel_supply capacities channel_fences close
confirm count create_snapshot drain exchange explain_plan extend freeze_node fulfill get health
ingest join_queue leave_queue list movements place places plan_fulfillment plan_orders position
positions promise_order reassign receive_supply replan_order reserve retries return_ revise
set_backorder_limit set_capacity set_channel_fence set_purchase_limit status supplies target
transfer unfreeze_node upsert_supply verify wait_for_turn wait_until_serving watch withhold
"""

EXPECTED_NAMES = """
Adjustment AdjustmentReason Availability AvailabilityEvent CapacityExhausted CapacityRequest
CarrierSlot ChunkResult Client Count DeadlineExceeded EtagMismatch Explanation FeedChunk FillPolicy
FulfillmentPlan FulfillmentType Health Hold HoldfastError InsufficientStock InvalidRequest
InventoryPosition Item Line LineQuantity Node NodeCapacity NodeGroup NodeType NotFound Place Plans
PositionAvailability Promise PurchaseLimitReached QueuePlace Reassignment Reservation
ReservationExpired ReservationLine ReservationState RetryPolicy ReturnDisposition RoutingLine
RoutingOrder RoutingStrategy ShortLine ShortfallPolicy SupplyPolicy SupplyType Take Throttle Tls
TransferLine Unavailable WaveOrderResult WavePlans WaveProgress WithheldBucket Withholding aio
errors values
"""


def test_the_package_exports_these_names():
    assert sorted(holdfast.__all__) == sorted(EXPECTED_NAMES.split())
    for name in holdfast.__all__:
        assert hasattr(holdfast, name)


def test_the_client_has_these_methods():
    assert sorted(EXPECTED_METHODS.split()) == METHODS


def test_both_clients_have_the_same_methods_with_the_same_parameters():
    others = sorted(name for name, _ in inspect.getmembers(aio.Client) if not name.startswith("_"))
    assert others == METHODS
    for name in METHODS:
        if name in ("target", "retries"):
            continue
        mine = inspect.signature(getattr(holdfast.Client, name))
        theirs = inspect.signature(getattr(aio.Client, name))
        assert list(mine.parameters.values()) == list(theirs.parameters.values()), name


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_documented(name: str):
    assert inspect.getdoc(getattr(holdfast.Client, name))
    assert inspect.getdoc(getattr(aio.Client, name))


def test_resources_are_the_same_in_both_clients():
    with holdfast.Client("127.0.0.1:1") as client:
        kinds = {name for name in vars(client) if not name.startswith("_")}
    assert kinds == {
        "nodes",
        "node_groups",
        "items",
        "carriers",
        "carrier_services",
        "channels",
        "routing_rules",
    }
    assert kinds == {name for name in vars(aio.Client("127.0.0.1:1")) if not name.startswith("_")}


def test_the_sdk_imports_without_server_engine_and_command_line():
    program = (
        "import sys; import holdfast; "
        "heavy = {'server', 'engine', 'numba', 'numpy', 'typer', 'rich', 'pyarrow', 'duckdb'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_bad_settings_are_refused_by_name():
    for options, named in [
        ({"timeout": 0}, "timeout"),
        ({"slow_timeout": -1}, "slow_timeout"),
        ({"timeout": float("nan")}, "finite"),
        ({"channels": 0}, "channels"),
    ]:
        with pytest.raises(ValueError, match=named):
            holdfast.Client("127.0.0.1:1", **options)
    with pytest.raises(ValueError, match="attempts_max"):
        holdfast.RetryPolicy(attempts_max=0)
    with pytest.raises(ValueError, match="together"):
        holdfast.Tls(certificate=None, key=holdfast.__path__[0])  # type: ignore[arg-type]


def test_the_target_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_TARGET", "stock.example:7420")
    assert aio.Client().target == "stock.example:7420"
    assert aio.Client("127.0.0.1:9").target == "127.0.0.1:9"
    monkeypatch.delenv("HOLDFAST_TARGET")
    assert aio.Client().target == "127.0.0.1:7420"
