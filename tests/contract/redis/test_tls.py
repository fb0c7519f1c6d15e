"""``rediss://``: the certificate is checked, and so is the name in it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from server.journal.errors import JournalUnavailable
from server.journal.opening import open_journal
from tests.contract.redis.journals import WHO, batches, claimed, entry, payloads
from tests.redis_server import PASSWORD, USER, RedisServer


def certificate(directory: Path, *, address: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=2120))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@contextlib.asynccontextmanager
async def tls_before(server: RedisServer, directory: Path, address: str) -> AsyncIterator[str]:
    """TLS in front of `server`, whose own build may know none; the journal's URL."""
    certificate_path, key_path = certificate(directory, address=address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path, key_path)
    copying: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection("127.0.0.1", server.port)
        for ends in ((reader, inner[1]), (inner[0], writer)):
            copying.add(asyncio.ensure_future(copy(*ends)))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield f"rediss://{USER}:{PASSWORD}@127.0.0.1:{port}/0?timeout_ms=60000&ca={certificate_path}"
    finally:
        listener.close()
        if copying:
            await asyncio.wait(copying)


async def test_a_journal_is_kept_over_tls(server: RedisServer, tmp_path: Path) -> None:
    async with tls_before(server, tmp_path, "127.0.0.1") as url:
        journal = await claimed(url)
        await asyncio.gather(*(journal.append(entry(number)) for number in range(1, 21)))
        assert await payloads(journal) == batches(20)
        await journal.close()


async def test_a_certificate_of_an_unknown_authority_is_refused(
    server: RedisServer, tmp_path: Path
) -> None:
    async with tls_before(server, tmp_path, "127.0.0.1") as url:
        with pytest.raises(JournalUnavailable, match=r"(?i)certificate"):
            await open_journal(url.partition("&ca=")[0], WHO)


async def test_a_certificate_of_another_address_is_refused(
    server: RedisServer, tmp_path: Path
) -> None:
    async with tls_before(server, tmp_path, "127.0.0.2") as url:
        with pytest.raises(JournalUnavailable, match=r"(?i)certificate"):
            await open_journal(url, WHO)
