"""TLS and mutual TLS: who is let in, and certificates that change while the server runs."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import admin_service_pb2_grpc, reservation_service_pb2_grpc
from server.config import Config
from server.lifecycle import CannotStart, Server
from server.transport.tls import CertificateRefused, Certificates
from tests.wire.certificates import Authority, Pair, common_name
from tests.wire.conftest import ROOM, Wire, create

pytestmark = pytest.mark.wire


def channel(port: int, authority: Authority, caller: Pair | None = None) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(
        authority.certificate,
        caller.key if caller is not None else None,
        caller.certificate if caller is not None else None,
    )
    return grpc.aio.secure_channel(
        f"127.0.0.1:{port}", credentials, options=[("grpc.use_local_subchannel_pool", 1)]
    )


async def status(target: grpc.aio.Channel) -> grpc.StatusCode:
    """How a simple call ends."""
    stub = admin_service_pb2_grpc.AdminServiceStub(target)
    try:
        await stub.GetStatus(admin.GetStatusRequest(), timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code()
    finally:
        await target.close()
    return grpc.StatusCode.OK


async def shown(port: int) -> str:
    """Whom the certificate names that the server shows now."""

    def ask() -> str:
        return ssl.get_server_certificate(("127.0.0.1", port))

    return common_name((await asyncio.to_thread(ask)).encode())


@pytest.fixture
def authority() -> Authority:
    return Authority()


async def start(
    tmp_path: Path, authority: Authority, *, mutual: bool, **settings: Any
) -> tuple[Server, Path]:
    files = tmp_path / "tls"
    files.mkdir()
    certificate, key = authority.server("first").write(files, "server")
    client_ca = files / "ca.pem"
    client_ca.write_bytes(authority.certificate)
    server = Server(
        Config(
            listen="127.0.0.1:0",
            metrics_listen="",
            data=tmp_path / "data",
            tls_certificate=certificate,
            tls_key=key,
            tls_client_ca=client_ca if mutual else None,
            **ROOM,
            **settings,
        )
    )
    await server.start()
    return server, files


async def test_only_who_trusts_the_authority_gets_through(tmp_path: Path, authority: Authority):
    server, _ = await start(tmp_path, authority, mutual=False)
    assert await status(channel(server.port, authority)) is grpc.StatusCode.OK
    stranger = await status(channel(server.port, Authority("another")))
    assert stranger is grpc.StatusCode.UNAVAILABLE
    plain = await status(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))
    assert plain is grpc.StatusCode.UNAVAILABLE
    await server.stop()


async def test_mutual_tls_asks_callers_for_a_certificate(tmp_path: Path, authority: Authority):
    server, _ = await start(tmp_path, authority, mutual=True)
    assert await status(channel(server.port, authority)) is grpc.StatusCode.UNAVAILABLE
    forged = Authority("another").caller("shop")
    assert await status(channel(server.port, authority, forged)) is grpc.StatusCode.UNAVAILABLE
    known = authority.caller("shop")
    assert await status(channel(server.port, authority, known)) is grpc.StatusCode.OK
    await server.stop()


async def test_callers_do_not_meet_in_their_request_ids(tmp_path: Path, authority: Authority):
    server, _ = await start(tmp_path, authority, mutual=True)
    callers = [
        authority.caller("shop", spiffe="spiffe://example.org/shop"),
        authority.caller("shop", spiffe="spiffe://example.org/other"),
        authority.caller("shop"),
    ]
    reasons = []
    for caller in callers:
        target = channel(server.port, authority, caller)
        stub = reservation_service_pb2_grpc.ReservationServiceStub(target)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.CreateReservation(create(("pear", f"n{len(reasons)}", 1), request_id="1"))
        reasons.append(caught.value.code())
        await target.close()
    # Another body under the same id would be ALREADY_EXISTS if they met.
    assert reasons == [grpc.StatusCode.NOT_FOUND] * 3
    await server.stop()


async def test_a_changed_certificate_is_shown_without_a_restart(
    tmp_path: Path, authority: Authority
):
    server, files = await start(tmp_path, authority, mutual=False)
    standing = channel(server.port, authority)
    await standing.channel_ready()
    assert await shown(server.port) == "first"
    authority.server("second").write(files, "server")
    assert await shown(server.port) == "second"
    assert server.metrics.certificate_reloads == 1
    # Who was connected stays so; who comes anew trusts the authority as before.
    assert await status(standing) is grpc.StatusCode.OK
    assert await status(channel(server.port, authority)) is grpc.StatusCode.OK
    await server.stop()


async def test_a_rotation_that_goes_wrong_leaves_the_old_certificate_in_use(
    tmp_path: Path, authority: Authority
):
    server, files = await start(tmp_path, authority, mutual=False)
    (files / "server.pem").write_bytes(authority.server("stray").certificate)
    assert await shown(server.port) == "first"
    assert await shown(server.port) == "first"
    assert server.metrics.certificate_reload_failures == 1
    (files / "server.key").unlink()
    assert await shown(server.port) == "first"
    authority.server("third").write(files, "server")
    assert await shown(server.port) == "third"
    await server.stop()


async def test_a_new_client_authority_is_taken_over(tmp_path: Path, authority: Authority):
    server, files = await start(tmp_path, authority, mutual=True)
    other = Authority("next year's")
    caller = other.caller("shop")
    assert await status(channel(server.port, authority, caller)) is grpc.StatusCode.UNAVAILABLE
    (files / "ca.pem").write_bytes(authority.certificate + other.certificate)
    assert await status(channel(server.port, authority, caller)) is grpc.StatusCode.OK
    assert await status(channel(server.port, authority, authority.caller("x"))) is (
        grpc.StatusCode.OK
    )
    await server.stop()


@pytest.mark.parametrize("wrong", ["key", "certificate", "empty"])
async def test_files_that_do_not_fit_are_refused_at_the_start(
    tmp_path: Path, authority: Authority, wrong: str
):
    certificate, key = authority.server().write(tmp_path, "server")
    if wrong == "key":
        key.write_bytes(authority.server().key)
    else:
        certificate.write_bytes(b"" if wrong == "empty" else b"-----BEGIN nonsense")
    with pytest.raises(CertificateRefused, match=r"server\.pem"):
        Certificates(certificate, key, None)
    server = Server(
        Config(
            listen="127.0.0.1:0",
            metrics_listen="",
            data=tmp_path / "data",
            tls_certificate=certificate,
            tls_key=key,
            **ROOM,
        )
    )
    with pytest.raises(CannotStart, match=r"server\.pem"):
        await server.start()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EMFILE])
def test_files_that_could_not_be_read_for_a_while_are_taken_in_later(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, code: int
):
    """Their rights were mended, or there were too many open files: their times stay the same."""
    certificate, key = authority.server().write(tmp_path, "server")
    heard: list[bool] = []
    certificates = Certificates(certificate, key, None, on_reload=heard.append)
    authority.server().write(tmp_path, "server")

    def unread(context: ssl.SSLContext, *files: Any, **options: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched, structlog.testing.capture_logs() as logs:
        patched.setattr(ssl.SSLContext, "load_cert_chain", unread)
        for _ in range(3):
            assert certificates.changed() is None
    assert heard == [False]
    assert len(logs) == 1
    assert certificates.changed() is not None
    assert heard == [False, True]
    assert certificates.changed() is None


async def test_a_port_that_is_taken_is_said(tmp_path: Path, wire: Wire):
    for field, port in (
        ("listen", wire.server.port),
        ("metrics_listen", wire.server.metrics_port),
    ):
        addresses = {"listen": "127.0.0.1:0", "metrics_listen": "", field: f"127.0.0.1:{port}"}
        server = Server(Config(data=tmp_path / field, **addresses, **ROOM))
        with pytest.raises(CannotStart, match=field):
            await server.start()
