"""Bytes of Redis' own file that are not what was written."""

from __future__ import annotations

import pytest

from server.journal.errors import JournalCorrupted
from server.journal.opening import open_journal
from tests.contract.redis.journals import WHO, batches, claimed, entry, payloads
from tests.redis_server import RedisServer


async def filled(server: RedisServer, count: int) -> None:
    journal = await claimed(server.url())
    for number in range(1, count + 1):
        await journal.append(entry(number))
    await journal.close()


async def test_a_torn_tail_drops_only_what_was_never_acknowledged(server: RedisServer) -> None:
    await filled(server, 5)
    server.kill()
    # The write that the power cut tore apart: Redis had not answered it.
    torn = b"*6\r\n$4\r\nXADD\r\n$28\r\nholdfast:{default:0}:journal\r\n$10\r\nNOMKST"
    with server.append_file().open("ab") as file:
        file.write(torn)
    server.start()
    journal = await claimed(server.url())
    assert await payloads(journal) == batches(5)
    await journal.append(entry(6))
    assert await payloads(journal) == batches(6)
    await journal.close()


@pytest.mark.parametrize("within", [b"batch 3", b"HFJ1"], ids=["payload", "header"])
async def test_a_flipped_byte_on_the_disk_is_found_and_its_record_named(
    server: RedisServer, within: bytes
) -> None:
    """Redis reads its file without noticing: it has no checksums there."""
    await filled(server, 5)
    server.kill()
    body = bytearray(server.append_file().read_bytes())
    at = body.index(within, body.index(b"\r\n1-3\r\n"))
    body[at] ^= 0x04
    server.append_file().write_bytes(body)
    server.start()
    journal = await open_journal(server.url(), WHO)
    with pytest.raises(JournalCorrupted, match="journal record 1-3: its checksum does not fit"):
        await payloads(journal)
    await journal.close()


async def test_a_foreign_entry_in_the_stream_is_named(server: RedisServer) -> None:
    await filled(server, 2)
    with server.client() as client:
        (stream,) = client.keys("*journal")
        client.xadd(stream, {"greeting": "hello"}, id="1-3")
    journal = await open_journal(server.url(), WHO)
    with pytest.raises(JournalCorrupted, match="record 1-3: is a stream entry that Holdfast did"):
        await payloads(journal)
    await journal.close()
