"""Certificates and authorities replaced while calls flow: no call is lost, none is done twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast import Tls, aio
from holdfast.values.reservations import ReservationState
from tests.wire.certificates import Authority, Pair
from tests.wire.conftest import Wire
from tests.wire.test_tls import shown

pytestmark = pytest.mark.wire

CALLERS = 4
ROUNDS = 8
CALLS_A_ROUND = 6
LINES = [("pear", "berlin", 1)]


class Files:
    """The server's files, and each caller's, in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.authority = Authority("this year's")
        self.trusted = folder / "trusted.pem"
        self.trusted.write_bytes(self.authority.certificate)
        self.server(self.authority.server("server 0"))
        self.caller(self.authority)

    def server(self, pair: Pair) -> tuple[Path, Path]:
        return pair.write(self.folder, "server")

    def caller(self, authority: Authority) -> tuple[Path, Path]:
        return authority.caller("shop", spiffe="spiffe://example.org/shop").write(
            self.folder, "caller"
        )

    def trust(self, *authorities: Authority) -> None:
        fresh = self.trusted.with_suffix(".fresh")
        fresh.write_bytes(b"".join(each.certificate for each in authorities))
        fresh.replace(self.trusted)

    def tls(self) -> Tls:
        """What a caller that begins now shows and trusts."""
        return Tls(
            ca=self.trusted,
            certificate=self.folder / "caller.pem",
            key=self.folder / "caller.key",
        )


async def shop(wire: Wire, files: Files, number: int, *, stays: bool) -> list[str]:
    """Hold and confirm, over one connection or over a new one each round; what was made."""

    def client() -> aio.Client:
        return aio.Client(
            f"127.0.0.1:{wire.server.port}",
            settle_target=f"127.0.0.1:{wire.server.settle_port}",
            tls=files.tls(),
            timeout=20,
        )

    made: list[str] = []
    used = client()
    for _ in range(ROUNDS):
        for _ in range(CALLS_A_ROUND):
            held = await used.reserve(LINES, owner=f"cart-{number}-{len(made)}")
            await used.confirm(held.reservation_id)
            made.append(held.reservation_id)
        if not stays:
            await used.close()
            used = client()
    await used.close()
    return made


async def test_no_call_is_lost_while_everything_is_replaced(tmp_path: Path):
    """Server certificates again and again, and once a whole authority, on both sides."""
    wire = Wire(tmp_path / "data")
    await wire.start()
    await wire.nodes("berlin")
    await wire.items("pear")
    await wire.stock("pear", "berlin", 10_000)
    await wire.stop()
    files = Files(tmp_path / "tls")
    wire.settings = {
        "settle_listen": "127.0.0.1:0",
        "tls_certificate": files.folder / "server.pem",
        "tls_key": files.folder / "server.key",
        "tls_client_ca": files.trusted,
    }
    await wire.start()
    shopping = [
        asyncio.ensure_future(shop(wire, files, number, stays=number == 0))
        for number in range(CALLERS)
    ]
    everybody = asyncio.gather(*shopping)
    authority, turns = files.authority, 0
    while not everybody.done() or turns < 10:
        turns += 1
        if turns == 3:  # both are trusted first, then the new one is used, then the old one goes
            following = Authority("next year's")
            files.trust(authority, following)
            assert await shown(wire.server.port) == "server 2"
        elif turns == 5:
            files.caller(following)
            authority = following
        elif turns == 8:
            files.trust(following)
        files.server(authority.server(f"server {turns}"))
        assert await shown(wire.server.port) == f"server {turns}"
    made = [reservation_id for each in await everybody for reservation_id in each]
    assert len(set(made)) == CALLERS * ROUNDS * CALLS_A_ROUND
    assert wire.server.metrics.certificate_reloads >= turns
    async with aio.Client(f"127.0.0.1:{wire.server.port}", tls=files.tls()) as client:
        there = [each async for each in client.list(state=ReservationState.CONFIRMED)]
        assert {each.reservation_id for each in there} == set(made)
        assert (await client.verify()).sound
    await wire.stop()
