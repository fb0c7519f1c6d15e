"""NetworkService and AdminService on the wire; health, reflection and metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import network_service_pb2 as messages
from holdfast.v1 import types_pb2
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire


async def test_nodes_are_kept_listed_and_deleted(empty: Wire):
    node = messages.Node(
        node="berlin",
        display_name="Berlin",
        type=messages.NODE_TYPE_STORE,
        place=types_pb2.Place(country_code="DE", postal_code="10115", time_zone="Europe/Berlin"),
    )
    request = messages.UpsertNodeRequest(request_id="n1", node=node)
    made = await empty.network.UpsertNode(request)
    assert made.node.status == messages.NODE_STATUS_ACTIVE
    assert made.node.etag == made.revision
    again = await empty.network.UpsertNode(request)
    assert again == made
    await empty.restart()
    kept = await empty.network.GetNode(messages.GetNodeRequest(node="berlin"))
    assert kept.node == made.node

    node.display_name = "Berlin Mitte"
    node.etag = made.node.etag
    changed = await empty.network.UpsertNode(messages.UpsertNodeRequest(node=node))
    stale = await refused(empty.network.UpsertNode(messages.UpsertNodeRequest(node=node)))
    assert (stale.reason, stale.metadata["etag"]) == ("ETAG_MISMATCH", str(changed.node.etag))

    await empty.nodes("lyon", "paris")
    request_list = messages.ListNodesRequest(page_size=2)
    page = await empty.network.ListNodes(request_list)
    assert [n.node for n in page.nodes] == ["berlin", "lyon"]
    request_list.page_token = page.next_page_token
    rest = await empty.network.ListNodes(request_list)
    assert [n.node for n in rest.nodes] == ["paris"]

    await empty.network.DeleteNode(messages.DeleteNodeRequest(node="paris"))
    gone = await refused(empty.network.GetNode(messages.GetNodeRequest(node="paris")))
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "NODE_NOT_FOUND")
    missing = await refused(empty.network.DeleteNode(messages.DeleteNodeRequest(node="oslo")))
    assert missing.reason == "NODE_NOT_FOUND"


async def test_what_is_in_use_is_not_deleted(wire: Wire):
    await wire.network.UpsertNodeGroup(
        messages.UpsertNodeGroupRequest(
            node_group=messages.NodeGroup(node_group="all", nodes=["berlin", "lyon"])
        )
    )
    await wire.network.UpsertChannel(
        messages.UpsertChannelRequest(channel=messages.Channel(channel="web", node_groups=["all"]))
    )
    await wire.network.UpsertCarrier(
        messages.UpsertCarrierRequest(carrier=messages.Carrier(carrier="post"))
    )
    await wire.network.UpsertCarrierService(
        messages.UpsertCarrierServiceRequest(
            carrier_service=messages.CarrierService(
                carrier_service="parcel", carrier="post", currency_code="EUR"
            )
        )
    )
    await wire.hold(("pear", "berlin", 1), channel="web")
    for call, why in (
        (wire.network.DeleteNode(messages.DeleteNodeRequest(node="berlin")), "stock"),
        (wire.network.DeleteItem(messages.DeleteItemRequest(sku="pear")), "stock"),
        (
            wire.network.DeleteNodeGroup(messages.DeleteNodeGroupRequest(node_group="all")),
            "channel 'web' names it",
        ),
        (
            wire.network.DeleteChannel(messages.DeleteChannelRequest(channel="web")),
            "open reservations",
        ),
        (wire.network.DeleteCarrier(messages.DeleteCarrierRequest(carrier="post")), "parcel"),
    ):
        error = await refused(call)
        assert (error.code, error.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "RESOURCE_IN_USE",
        )
        assert why in error.message


async def test_references_must_be_known(wire: Wire):
    group = messages.NodeGroup(node_group="g", nodes=["berlin", "paris"])
    channel = messages.Channel(channel="c", node_groups=["nope"])
    service = messages.CarrierService(carrier_service="s", carrier="x", currency_code="EUR")
    for call, reason in (
        (
            wire.network.UpsertNodeGroup(messages.UpsertNodeGroupRequest(node_group=group)),
            "NODE_NOT_FOUND",
        ),
        (
            wire.network.UpsertChannel(messages.UpsertChannelRequest(channel=channel)),
            "NODE_GROUP_NOT_FOUND",
        ),
        (
            wire.network.UpsertCarrierService(
                messages.UpsertCarrierServiceRequest(carrier_service=service)
            ),
            "CARRIER_NOT_FOUND",
        ),
    ):
        assert (await refused(call)).reason == reason


async def test_a_batch_applies_good_rows_and_reports_the_others(empty: Wire):
    items = [
        messages.Item(sku="pear", weight_grams=100),
        messages.Item(sku="plum", weight_grams=-1),
        messages.Item(sku="fig", value=types_pb2.Money(minor_units=5, currency_code="eur")),
        messages.Item(sku="kiwi", weight_grams=1),
        messages.Item(sku="kiwi", weight_grams=2),
        messages.Item(),
    ]
    request = messages.BatchUpsertItemsRequest(request_id="b1", items=items)
    reply = await empty.network.BatchUpsertItems(request)
    assert reply.applied_rows == 2
    assert [(error.row, error.field) for error in reply.errors] == [
        (1, "weight_grams"),
        (2, "value.currency_code"),
        (3, "sku"),
        (5, "sku"),
    ]
    await empty.restart()
    again = await empty.network.BatchUpsertItems(request)
    assert again == reply
    kiwi = await empty.network.GetItem(messages.GetItemRequest(sku="kiwi"))
    assert kiwi.item.weight_grams == 2
    listed = await empty.network.ListItems(messages.ListItemsRequest())
    assert [item.sku for item in listed.items] == ["pear", "kiwi"]


async def test_an_items_purchase_limit_is_the_ledgers(wire: Wire):
    await wire.items("pear", purchase_limit=0)
    error = await refused(
        wire.reservations.CreateReservation(create(("pear", "berlin", 1), owner="ann"))
    )
    assert error.reason == "PURCHASE_LIMIT_REACHED"
    await wire.items("pear")
    await wire.hold(("pear", "berlin", 1), owner="ann")


async def test_rules_have_versions(empty: Wire):
    revisions = []
    for text in ("objective: {split_cost: 1}", "objective: {split_cost: 2}"):
        reply = await empty.network.UpsertRoutingRules(
            messages.UpsertRoutingRulesRequest(
                request_id=text,
                routing_rules=messages.RoutingRules(routing_rules="main", yaml=text),
            )
        )
        revisions.append(reply.routing_rules.version)
    assert revisions == [1, 2]
    again = await empty.network.UpsertRoutingRules(
        messages.UpsertRoutingRulesRequest(
            request_id="objective: {split_cost: 1}",
            routing_rules=messages.RoutingRules(
                routing_rules="main", yaml="objective: {split_cost: 1}"
            ),
        )
    )
    assert again.routing_rules.version == 1
    newest = await empty.network.GetRoutingRules(
        messages.GetRoutingRulesRequest(routing_rules="main")
    )
    assert (newest.routing_rules.version, newest.routing_rules.yaml) == (
        2,
        "objective: {split_cost: 2}",
    )
    older = await empty.network.GetRoutingRules(
        messages.GetRoutingRulesRequest(routing_rules="main", version=1)
    )
    assert older.routing_rules.yaml == "objective: {split_cost: 1}"
    error = await refused(
        empty.network.GetRoutingRules(
            messages.GetRoutingRulesRequest(routing_rules="main", version=3)
        )
    )
    assert error.reason == "ROUTING_RULES_NOT_FOUND"


@pytest.mark.parametrize(
    ("node", "field"),
    [
        (messages.Node(), "node.node"),
        (messages.Node(node="n" * 65), "node.node"),
        (messages.Node(node="n", type=9), "node.type"),
        (messages.Node(node="n", priority=2_000_000), "node.priority"),
        (messages.Node(node="n", cutoff_minute=1440), "node.cutoff_minute"),
        (messages.Node(node="n", flags=["Hazmat"]), "node.flags[0]"),
        (messages.Node(node="n", flags=["a"] * 33), "node.flags"),
        (
            messages.Node(node="n", place=types_pb2.Place(latitude=float("nan"), longitude=0)),
            "node.place.latitude",
        ),
        (
            messages.Node(node="n", place=types_pb2.Place(time_zone="Mars/Base")),
            "node.place.time_zone",
        ),
        (
            messages.Node(node="n", place=types_pb2.Place(country_code="Germany")),
            "node.place.country_code",
        ),
        (
            messages.Node(node="n", calendar=messages.Calendar(holidays=["2026-02-30"])),
            "node.calendar.holidays[0]",
        ),
        (messages.Node(node="n", display_name="x" * 257), "node.display_name"),
    ],
)
async def test_fields_of_a_node(empty: Wire, node: messages.Node, field: str):
    error = await refused(empty.network.UpsertNode(messages.UpsertNodeRequest(node=node)))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in error.fields


# --- Admin -------------------------------------------------------------------------------------


async def test_the_log_says_who_froze_a_node_and_why(
    wire: Wire, capsys: pytest.CaptureFixture[str]
):
    await wire.admin.FreezeNode(admin.FreezeNodeRequest(node="berlin", reason="flood\r\nno"))
    await wire.admin.UnfreezeNode(admin.UnfreezeNodeRequest(node="berlin"))
    await refused(wire.admin.FreezeNode(admin.FreezeNodeRequest(node="paris", reason="storm")))
    lines = [line for line in capsys.readouterr().out.splitlines() if "frozen" in line]
    assert len(lines) == 2
    assert "node frozen" in lines[0]
    assert "node=berlin" in lines[0]
    assert "reason='flood no'" in lines[0]
    assert "node unfrozen" in lines[1]


async def test_a_frozen_node_takes_nothing_new_and_still_ships(wire: Wire):
    held = await wire.hold(("pear", "berlin", 2))
    frozen = await wire.admin.FreezeNode(admin.FreezeNodeRequest(node="berlin", reason="flood"))
    assert frozen.open_reservations == 1
    assert frozen.node.status == messages.NODE_STATUS_FROZEN
    error = await refused(wire.reservations.CreateReservation(create(("pear", "berlin", 1))))
    assert (error.reason, error.metadata["node"]) == ("NODE_FROZEN", "berlin")
    kept = await wire.network.GetNode(messages.GetNodeRequest(node="berlin"))
    assert kept.node.status == messages.NODE_STATUS_FROZEN
    seen = await wire.inventory.GetInventoryPosition(_position("pear", "berlin"))
    assert seen.position.held == held.lines[0].quantity
    await wire.admin.UnfreezeNode(admin.UnfreezeNodeRequest(node="berlin"))
    await wire.hold(("pear", "berlin", 1))
    error = await refused(wire.admin.FreezeNode(admin.FreezeNodeRequest(node="paris")))
    assert error.reason == "NODE_NOT_FOUND"


def _position(sku: str, node: str) -> Any:
    from holdfast.v1 import inventory_service_pb2

    return inventory_service_pb2.GetInventoryPositionRequest(sku=sku, node=node)


async def test_status_tells_shard_journal_and_limits(wire: Wire):
    reply = await wire.admin.GetStatus(admin.GetStatusRequest(include_state_hash=True))
    (shard,) = reply.shards
    assert shard.state == admin.SHARD_STATE_SERVING
    assert shard.journal.kind == admin.JOURNAL_KIND_SQLITE
    assert shard.positions == 3
    assert len(shard.state_hash) == 64
    assert (shard.epoch, shard.message) == (1, "")
    assert shard.journal.size_bytes >= (wire.data / "journal.sqlite3").stat().st_size > 0
    limits = {use.limit: (use.used, use.maximum) for use in reply.limits}
    assert limits["positions_max"] == (3, 1 << 14)
    assert reply.ledger_time.ToMilliseconds() == wire.clock.now_ms()


async def test_every_start_is_an_epoch(wire: Wire):
    await wire.restart()
    assert (await wire.admin.GetStatus(admin.GetStatusRequest())).shards[0].epoch == 2


async def test_status_tells_why_a_shard_has_stopped(wire: Wire):
    assert wire.server._gateway.sequencer is not None
    wire.server._gateway.sequencer.violate("position 3 does not balance")
    (shard,) = (await wire.admin.GetStatus(admin.GetStatusRequest())).shards
    assert shard.state == admin.SHARD_STATE_STOPPED
    assert (shard.epoch, shard.message) == (1, "position 3 does not balance")


async def test_a_snapshot_can_be_asked_for(wire: Wire):
    reply = await wire.admin.CreateSnapshot(admin.CreateSnapshotRequest())
    assert reply.snapshots[0].revision == reply.revision
    error = await refused(wire.admin.CreateSnapshot(admin.CreateSnapshotRequest(shard=4)))
    assert list(error.fields) == ["shard"]


async def test_drain_ends_the_server_as_a_signal_does(wire: Wire):
    health = health_pb2_grpc.HealthStub(wire.channel)
    statuses = health.Watch(health_pb2.HealthCheckRequest())
    assert (await statuses.read()).status == health_pb2.HealthCheckResponse.SERVING
    await wire.admin.Drain(admin.DrainRequest())
    await wire.server.until_stop_asked()
    stopping = asyncio.create_task(wire.server.stop())
    assert (await statuses.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await statuses.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await stopping
    assert wire.server.failure == ""


# --- Health, reflection, metrics ---------------------------------------------------------------


async def test_health_names_every_service(wire: Wire):
    health = health_pb2_grpc.HealthStub(wire.channel)
    for name in ("", "holdfast.v1.ReservationService", "holdfast.v1.AdminService"):
        reply = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(health_pb2.HealthCheckRequest(service="else"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    unknown = health.Watch(health_pb2.HealthCheckRequest(service="else"))
    assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    unknown.cancel()


async def test_reflection_and_channelz_are_there_when_switched_on(tmp_path: Any, wire: Wire):
    async def services(running: Wire) -> set[str]:
        stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
        stream = stub.ServerReflectionInfo()
        await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        await stream.done_writing()
        reply = await stream.read()
        return {service.name for service in reply.list_services_response.service}

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await services(wire)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    open_one = Wire(tmp_path / "other", reflection=True, channelz=True)
    await open_one.start()
    assert "holdfast.v1.InventoryService" in await services(open_one)
    await open_one.stop()


async def _http(port: int, path: str) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return head.splitlines()[0], body


async def test_metrics_tell_rate_errors_and_the_ledger(wire: Wire):
    await wire.hold(("pear", "berlin", 1))
    await refused(wire.reservations.CreateReservation(create(("pear", "berlin", 100))))
    status, text = await _http(wire.server.metrics_port, "/metrics")
    assert status == "HTTP/1.1 200 OK"
    lines = set(text.splitlines())
    method = 'method="holdfast.v1.ReservationService/CreateReservation"'
    for line in (
        f'holdfast_calls_total{{code="OK",{method}}} 1.0',
        f'holdfast_calls_total{{code="FAILED_PRECONDITION",{method}}} 1.0',
        f"holdfast_call_seconds_count{{{method}}} 2.0",
        'holdfast_refusals_total{reason="INSUFFICIENT_STOCK"} 1.0',
        'holdfast_reservations{state="held"} 1.0',
        "holdfast_positions 3.0",
        "holdfast_oversold_positions 0.0",
        "holdfast_serving 1.0",
        'holdfast_limit_maximum{limit="positions_max"} 16384.0',
    ):
        assert line in lines
    for name in (
        "holdfast_journal_seconds_count",
        "holdfast_batch_commands_sum",
        "holdfast_queue_age_seconds",
        "holdfast_expiry_lag_seconds_count",
        "holdfast_build_info",
        "process_resident_memory_bytes",
    ):
        assert name in text
    assert (await _http(wire.server.metrics_port, "/livez"))[1] == "alive\n"
    assert (await _http(wire.server.metrics_port, "/else"))[0].startswith("HTTP/1.1 404")


async def test_the_rolling_check_reports_an_oversold_position(wire: Wire):
    wire.state.positions["committed"][0] = 11
    _, text = await _http(wire.server.metrics_port, "/metrics")
    assert "holdfast_oversold_positions 1.0" in text
    wire.state.positions["committed"][0] = 0
