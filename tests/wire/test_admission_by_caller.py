"""Quotas and shares by identity, over mutual TLS: what one caller does is not laid to another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.v1 import reservation_service_pb2 as messages
from holdfast.v1 import reservation_service_pb2_grpc
from server.admission.classes import WorkClass
from tests.wire.certificates import Authority
from tests.wire.conftest import Wire, create, refused
from tests.wire.test_tls import channel

pytestmark = pytest.mark.wire

SHOP, PARTNER = "spiffe://example.org/shop", "spiffe://example.org/partner"
QUOTAS = f'[callers."{PARTNER}"]\nopen_holds_max = 1\n'
Stub = reservation_service_pb2_grpc.ReservationServiceStub


@asynccontextmanager
async def serving(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Wire, Authority]]:
    """Filled over plaintext, then started again with mutual TLS."""
    wire = Wire(tmp_path / "data")
    await wire.start()
    await wire.nodes("berlin")
    await wire.items("pear")
    await wire.stock("pear", "berlin", 100)
    await wire.stop()
    authority = Authority()
    files = tmp_path / "tls"
    files.mkdir()
    certificate, key = authority.server("server").write(files, "server")
    (files / "ca.pem").write_bytes(authority.certificate)
    wire.settings = {
        "tls_certificate": certificate,
        "tls_key": key,
        "tls_client_ca": files / "ca.pem",
        **settings,
    }
    await wire.start()
    try:
        yield wire, authority
    finally:
        await wire.stop()


@asynccontextmanager
async def caller(port: int, authority: Authority, name: str) -> AsyncIterator[Stub]:
    target = channel(port, authority, authority.caller("someone", spiffe=name))
    yield Stub(target)
    await target.close()


async def test_holds_of_before_a_restart_count_for_who_made_them(tmp_path: Path):
    path = tmp_path / "quotas.toml"
    path.write_text(QUOTAS)
    pear = create(("pear", "berlin", 1))
    async with serving(tmp_path, quotas=path) as (wire, authority):
        async with caller(wire.server.port, authority, SHOP) as shop:
            for _ in range(3):
                await shop.CreateReservation(pear)
        async with caller(wire.server.port, authority, PARTNER) as partner:
            held = await partner.CreateReservation(pear)
        await wire.restart()
        async with (
            caller(wire.server.port, authority, SHOP) as shop,
            caller(wire.server.port, authority, PARTNER) as partner,
        ):
            assert (await refused(partner.CreateReservation(pear))).reason == "QUOTA_EXCEEDED"
            await shop.CreateReservation(pear)
            name = held.reservation.reservation_id
            cancel = messages.CancelReservationRequest(reservation_id=name)
            await shop.CancelReservation(cancel)  # by whomever
            await partner.CreateReservation(pear)


async def test_a_quota_is_its_callers_own(tmp_path: Path):
    path = tmp_path / "quotas.toml"
    path.write_text(QUOTAS)
    async with (
        serving(tmp_path, quotas=path) as (wire, authority),
        caller(wire.server.port, authority, SHOP) as shop,
        caller(wire.server.port, authority, PARTNER) as partner,
    ):
        await partner.CreateReservation(create(("pear", "berlin", 1)))
        error = await refused(partner.CreateReservation(create(("pear", "berlin", 1))))
        assert error.reason == "QUOTA_EXCEEDED"
        made = [await shop.CreateReservation(create(("pear", "berlin", 1))) for _ in range(5)]
        # Whoever ends a hold makes room for the one who made it.
        assert len(made) == 5
        held = next(
            row.reservation_id
            for row in (
                await shop.ListReservations(messages.ListReservationsRequest())
            ).reservations
        )
        await shop.CancelReservation(messages.CancelReservationRequest(reservation_id=held))
        await partner.CreateReservation(create(("pear", "berlin", 1)))


async def test_one_caller_can_not_starve_another(tmp_path: Path):
    """The greedy one has more than half of the limit under way; alone it would get more."""
    async with (
        serving(tmp_path, admission_calls_min=100, admission_calls_max=100) as (wire, authority),
        caller(wire.server.port, authority, SHOP) as shop,
        caller(wire.server.port, authority, PARTNER) as partner,
    ):
        limiter = wire.server.admission.limiter
        for _ in range(60):
            assert limiter.enter(WorkClass.RESERVE, SHOP.encode()) is None
        await partner.CreateReservation(create(("pear", "berlin", 1)))
        error = await refused(shop.CreateReservation(create(("pear", "berlin", 1))))
        assert error.reason == "OVERLOADED"
        assert "fair_share" in error.message
        await partner.CreateReservation(create(("pear", "berlin", 1)))
        for _ in range(60):
            limiter.leave(WorkClass.RESERVE, SHOP.encode(), None)
        await shop.CreateReservation(create(("pear", "berlin", 1)))


async def test_the_listener_for_settling_asks_for_a_certificate_too(tmp_path: Path):
    async with (
        serving(tmp_path, settle_listen="127.0.0.1:0") as (wire, authority),
        caller(wire.server.port, authority, SHOP) as shop,
        caller(wire.server.settle_port, authority, SHOP) as settling,
    ):
        held = (await shop.CreateReservation(create(("pear", "berlin", 1)))).reservation
        confirm = messages.ConfirmReservationRequest(reservation_id=held.reservation_id)
        stranger = channel(wire.server.settle_port, authority)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Stub(stranger).ConfirmReservation(confirm)
        await stranger.close()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (await settling.ConfirmReservation(confirm)).reservation.state == 2
