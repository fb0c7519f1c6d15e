"""What a Redis must be like before a journal is kept there; each refusal says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import redis

from server.journal.errors import JournalMismatch, JournalRefused, JournalUnavailable
from server.journal.opening import open_journal
from server.journal.redis_journal import RedisJournal
from server.journal.redis_place import RedisPlace
from tests.contract.redis.journals import WHO, claimed, entry, payloads
from tests.redis_server import PASSWORD, USER, RedisServer, free_port, running

Change = Callable[[redis.Redis], object]


async def refusal(url: str) -> str:
    with pytest.raises(JournalRefused) as caught:
        await open_journal(url, WHO)
    return str(caught.value)


async def opened(url: str) -> RedisJournal:
    journal = await open_journal(url, WHO)
    assert isinstance(journal, RedisJournal)
    return journal


async def test_a_durable_server_is_said_to_be_one(server: RedisServer) -> None:
    journal = await opened(server.url())
    assert journal.durability == (
        "every batch is synced to Redis' disk before it is answered "
        "(appendonly yes, appendfsync always)"
    )
    assert journal.loss_window_ms == 0
    await journal.close()


@pytest.mark.parametrize(
    ("settings", "loss_window_ms", "sentence"),
    [
        (
            {"appendfsync": "everysec"},
            2_000,
            "answered batches of the last 2 s may be lost in a power cut "
            "(appendonly yes, appendfsync everysec)",
        ),
        (
            {"appendfsync": "no"},
            30_000,
            "answered batches of the last 30 s may be lost in a power cut "
            "(appendonly yes, appendfsync no)",
        ),
        (
            {"no-appendfsync-on-rewrite": "yes"},
            30_000,
            "answered batches of the last 30 s may be lost in a power cut "
            "(appendonly yes, appendfsync always, no-appendfsync-on-rewrite yes)",
        ),
        (
            {"appendonly": "no"},
            None,
            "answered batches may be lost in a power cut, without bound "
            "(appendonly no, appendfsync always)",
        ),
    ],
)
async def test_a_weaker_server_is_refused_unless_losses_are_accepted(
    server: RedisServer, settings: dict[str, str], loss_window_ms: int | None, sentence: str
) -> None:
    with server.client() as client:
        client.config_set(*next(iter(settings.items())))
    refused = await refusal(server.url("durability=durable"))
    assert sentence in refused
    assert "set appendonly yes, appendfsync always" in refused
    journal = await opened(server.url("durability=relaxed"))
    assert journal.durability == sentence
    assert journal.loss_window_ms == loss_window_ms
    await journal.close()


async def test_a_server_made_weaker_meanwhile_is_noticed_at_the_next_connecting(
    server: RedisServer,
) -> None:
    journal = await claimed(server.url())
    await journal.append(entry(1))
    with server.client() as client:
        client.config_set("appendfsync", "everysec")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(JournalRefused, match="is not durable"):
        await journal.append(entry(2))
    await journal.close()


async def test_a_server_that_evicts_is_refused(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        # Without a maximum nothing is ever thrown away.
        await (await opened(server.url())).close()
        client.config_set("maxmemory", 100_000_000)
    assert "set maxmemory-policy noeviction" in await refusal(server.url())
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
    await (await opened(server.url())).close()


async def test_a_replica_is_refused(server: RedisServer) -> None:
    with running(f"replicaof 127.0.0.1 {server.port}") as replica:
        refused = await refusal(replica.url())
    assert f"is a read-only replica of 127.0.0.1:{server.port}" in refused
    assert "point the journal setting at the primary" in refused


async def test_a_cluster_is_refused() -> None:
    with running("cluster-enabled yes") as server:
        assert "is part of a Redis Cluster" in await refusal(server.url())


async def test_a_wrong_password_is_refused_and_never_shown(server: RedisServer) -> None:
    refused = await refusal(server.url().replace(PASSWORD, "guessed"))
    assert "refuses this user or password" in refused
    assert "guessed" not in refused
    with server.client() as client:
        client.acl_setuser("default", enabled=False)
    assert "refuses this user or password" in await refusal(f"redis://127.0.0.1:{server.port}/0")


async def test_a_user_who_may_too_little_is_told_what(server: RedisServer) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", USER, "-scan")
        assert "docs/redis.md" in await refusal(server.url())
        client.execute_command("ACL", "SETUSER", USER, "+scan", "-config|get")
    refused = await refusal(server.url())
    assert "permit +config|get, or accept losses with durability=relaxed" in refused
    journal = await opened(server.url("durability=relaxed"))
    assert "may not be read" in journal.durability
    await journal.close()


async def test_a_password_may_come_from_a_file(server: RedisServer) -> None:
    path = server.directory / "password"
    path.write_text(f"{PASSWORD}\n")
    url = f"redis://{USER}@127.0.0.1:{server.port}/0?password_file={path}"
    await (await opened(url)).close()
    assert "password_file" in await refusal(url + ".gone")


async def test_a_database_of_somebody_else_is_refused(server: RedisServer) -> None:
    with server.client() as client:
        client.set("session:42", "theirs")
    refused = await refusal(server.url())
    assert "for example the key 'session:42'" in refused
    assert "give the journal a database of its own" in refused
    with server.client() as client:
        assert client.keys() == [b"session:42"]
    await (await opened(server.url(database=1))).close()


async def test_foreign_data_under_our_own_keys_is_refused(server: RedisServer) -> None:
    with server.client() as client:
        client.rpush("holdfast:{default:0}:genesis", "theirs")
        assert "not Holdfast's" in await refusal(server.url())
        client.delete("holdfast:{default:0}:genesis")
        client.xadd("holdfast:{default:0}:journal", {"a": "b"})
    with pytest.raises(JournalMismatch, match="a stream of records but no genesis record"):
        await open_journal(server.url(), WHO)


async def test_nobody_there_is_said_at_once() -> None:
    with pytest.raises(JournalUnavailable, match="see whether it runs and is the right one"):
        await open_journal(f"redis://127.0.0.1:{free_port()}/0", WHO)


async def test_shards_and_tenants_share_a_database(server: RedisServer) -> None:
    urls = [
        server.url(options) for options in ("", "shard=1", "tenant=acme", "tenant=acme&shard=1")
    ]
    for number, url in enumerate(urls):
        journal = await claimed(url)
        await journal.append(entry(1, b"of journal %d" % number))
        await journal.close()
    for number, url in enumerate(urls):
        journal = await open_journal(url, WHO)
        assert await payloads(journal) == [b"of journal %d" % number]
        await journal.close()


async def test_the_lease_names_its_holder(server: RedisServer) -> None:
    journal = await claimed(server.url(), "shop-1:4711")
    with server.client() as client:
        lease = json.loads(client.get("holdfast:{default:0}:lease"))
        assert lease["holder"] == "shop-1:4711"
        assert 0 < client.pttl("holdfast:{default:0}:lease") <= 10_000
        await journal.close()
        assert not client.exists("holdfast:{default:0}:lease")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://h/zero", "database 'zero' is no number"),
        ("redis://h:99999/0", "the port is no number"),
        ("redis://h/0?shards=1", "option 'shards' is unknown; known: shard, tenant"),
        ("redis://h/0?shard=-1", "shard = '-1' is no number 0 to 1023"),
        ("redis://h/0?durability=maybe", "use durable or relaxed"),
        ("redis://h/0?tenant=a:b", "letters, digits"),
        ("redis://h/0?lease_ms=1", "lease_ms = '1' is no number 500"),
    ],
)
def test_a_url_that_can_not_be_read_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(JournalRefused, match=sentence):
        RedisPlace.parse(url)


def test_a_place_shows_no_credentials() -> None:
    place = RedisPlace.parse("rediss://writer:s3cret@[::1]:7000/2?shard=5&ca=/etc/ca.pem")
    assert str(place) == "rediss://[::1]:7000/2"
    assert "s3cret" not in repr(place)
    assert (place.username, place.password, place.shard) == ("writer", "s3cret", 5)
    assert place.prefix == "holdfast:{default:5}:"
