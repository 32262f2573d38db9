"""The Redis store against Redis servers that die, hang, refuse and forget."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from pystorm.errors import ConfigError, InternalError, StateUnavailable
from pystorm.state.chunk import Chunk
from pystorm.state.embedded import EmbeddedRedis
from pystorm.state.redis_client import DEFAULT_TIMEOUT_S, without_password
from pystorm.state.redis_lists import PIPELINE_BYTES
from pystorm.state.redis_read import RedisReads
from pystorm.state.redis_store import RedisStore
from pystorm.values import pack
from tests.state_tools import chunk, committed, content, record

SCOPES = ["0", "1"]


@pytest.fixture
def store(own_redis: EmbeddedRedis) -> Iterator[RedisStore]:
    """A store on a server that the test may kill."""
    store = RedisStore("wordcount", own_redis.config)
    yield store
    store.close()


@pytest.fixture
def admin(own_redis: EmbeddedRedis) -> Iterator[Any]:
    """A client that may do everything."""
    client: Any = redis.Redis(unix_socket_path=own_redis.unix_socket_path)
    yield client
    client.close()
    client.connection_pool.disconnect()


def numbered(epoch: int) -> list[Chunk]:
    """An epoch's chunks: both scopes say which epoch they are of."""
    return [chunk(scope, {f"e{epoch}": epoch, "last": epoch}) for scope in SCOPES]


def checkpoint_until_redis_dies(store: RedisStore, generation: int, done: int) -> int:
    """Commit epoch after epoch; returns the last one whose commit was confirmed."""
    try:
        while True:
            store.prepare(generation, done + 1, "count", numbered(done + 1))
            store.commit(generation, record(generation, done + 1))
            done += 1
            store.move(generation, done, "count", SCOPES)
    except StateUnavailable:
        return done


def test_what_was_committed_survives_kill_9_of_redis_during_writes(own_redis: EmbeddedRedis, store: RedisStore) -> None:
    generation = store.acquire(SCOPES)
    done = 0
    for round_number in range(3):
        assert own_redis.pid
        killer = threading.Timer(0.05 + 0.03 * round_number, os.kill, (own_redis.pid, signal.SIGKILL))
        killer.start()
        done = checkpoint_until_redis_dies(store, generation, done)
        killer.join()
        own_redis.restart()
        last = store.last_commit()
        assert last is not None
        # The kill may fall between the commit's effect and its reply: then one more epoch counts than we know of.
        assert last.epoch in (done, done + 1)
        done = last.epoch
        generation = store.acquire(SCOPES)
        store.settle(generation, {"count": SCOPES})
        for scope in SCOPES:
            assert content(store, scope) == {f"e{epoch}": epoch for epoch in range(1, done + 1)} | {"last": done}
    assert done > 3


def test_scripts_that_redis_forgot_are_loaded_again(store: RedisStore, admin: Any) -> None:
    generation = store.acquire(SCOPES)

    def flushing() -> Iterator[Chunk]:
        for each in numbered(1):
            admin.script_flush()
            yield each

    store.prepare(generation, 1, "count", flushing())
    admin.script_flush()
    store.commit(generation, record(generation, 1))
    admin.script_flush()
    store.move(generation, 1, "count", SCOPES)
    assert content(store, "0") == {"e1": 1, "last": 1}


def test_a_redis_that_hangs_is_unavailable_after_the_timeout_and_then_usable_again(own_redis: EmbeddedRedis) -> None:
    assert own_redis.pid
    store = RedisStore("wordcount", own_redis.config, socket_timeout_s=0.2)
    generation = store.acquire(SCOPES)
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StateUnavailable, match="Timeout"):
            store.prepare(generation, 1, "count", numbered(1))
        with pytest.raises(StateUnavailable):
            store.prepare(generation, 1, "count", numbered(1))
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
    # Redis now has both tries in its sockets besides this one: none of them may add to or take from the list.
    patient = RedisStore("wordcount", own_redis.config)
    patient.prepare(generation, 1, "count", numbered(1))
    patient.commit(generation, record(generation, 1))
    patient.move(generation, 1, "count", SCOPES)
    assert committed(patient, "0") == committed(patient, "1") == {"e1": 1, "last": 1}
    for each in (store, patient):
        each.close()


@pytest.mark.parametrize("already_sent", [0, 1])
def test_calls_of_a_prepare_that_was_begun_anew_change_nothing_when_they_arrive_late(
    own_redis: EmbeddedRedis, store: RedisStore, already_sent: int
) -> None:
    generation = store.acquire(SCOPES)
    other = RedisStore("wordcount", own_redis.config)

    def overtaken() -> Iterator[Chunk]:
        for _ in range(already_sent):
            yield chunk("0", large="x" * PIPELINE_BYTES)
        other.prepare(generation, 1, "count", [chunk("0", whole=1)])
        yield chunk("0", late=1)

    with pytest.raises(InternalError, match="scope 0 is being prepared twice"):
        store.prepare(generation, 1, "count", overtaken())
    store.commit(generation, record(generation, 1))
    assert committed(store, "0") == {"whole": 1}
    other.close()


def test_settle_leaves_no_prepared_list_behind(store: RedisStore, admin: Any) -> None:
    generation = store.acquire(SCOPES)
    store.prepare(generation, 1, "count", numbered(1))
    store.commit(generation, record(generation, 1))
    store.move(generation, 1, "count", ["0"])
    store.prepare(generation, 2, "count", [chunk("0", a=2)])
    assert len(list(admin.scan_iter("*:p:count"))) == 2
    store.settle(store.acquire(SCOPES), {})
    assert list(admin.scan_iter("*:p:count")) == []


@pytest.mark.parametrize(
    ("setting", "value", "message"), [("maxmemory", "1", "used memory"), ("min-replicas-to-write", "1", "NOREPLICAS")]
)
def test_a_redis_that_refuses_writes_is_unavailable(
    store: RedisStore, admin: Any, setting: str, value: str, message: str
) -> None:
    generation = store.acquire(SCOPES)
    admin.config_set(setting, value)
    with pytest.raises(StateUnavailable, match=message):
        store.prepare(generation, 1, "count", numbered(1))
    admin.config_set(setting, "0")
    store.prepare(generation, 1, "count", numbered(1))


def test_a_read_only_redis_is_unavailable(store: RedisStore, admin: Any) -> None:
    generation = store.acquire(SCOPES)
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StateUnavailable, match=r"read only replica"):
        store.commit(generation, record(generation, 1))
    admin.execute_command("REPLICAOF", "NO", "ONE")
    store.commit(generation, record(generation, 1))


def test_a_commit_waits_for_replicas_when_asked_to(own_redis: EmbeddedRedis, store: RedisStore) -> None:
    generation = store.acquire(SCOPES)
    careful = RedisStore("wordcount", own_redis.config, wait_replicas=1, socket_timeout_s=0.2)
    with pytest.raises(StateUnavailable, match="only 0 of 1 replicas"):
        careful.commit(generation, record(generation, 1))
    careful.close()


def test_nobody_listening_is_unavailable(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for config in ({"url": f"redis://:secret@127.0.0.1:{port}/0"}, {"unix_socket_path": str(tmp_path / "none.sock")}):
        with pytest.raises(StateUnavailable) as caught:
            RedisStore("t", config).last_commit()
        assert "secret" not in str(caught.value)


def test_a_wrong_login_says_how_to_give_the_right_one(own_redis: EmbeddedRedis, admin: Any) -> None:
    path = own_redis.unix_socket_path
    admin.execute_command("ACL", "SETUSER", "default", ">right", "resetpass", ">right")
    for url in (f"unix://{path}", f"unix://:wrong@{path}", f"unix://nobody:wrong@{path}"):
        with pytest.raises(ConfigError, match=r"refuses the login.*put the right user and password") as caught:
            RedisStore("t", {"url": url}).ping()
        assert "wrong@" not in str(caught.value)
    RedisStore("t", {"url": f"unix://:right@{path}"}).ping()


def test_a_user_who_may_not_write_is_told_which_rights_are_needed(own_redis: EmbeddedRedis, admin: Any) -> None:
    admin.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+@connection")
    store = RedisStore("t", {"url": f"unix://reader:pw@{own_redis.unix_socket_path}"})
    with pytest.raises(ConfigError, match=r"forbids what checkpoints need.*ACL SETUSER"):
        store.acquire(SCOPES)


def test_the_rights_that_the_message_names_are_enough(own_redis: EmbeddedRedis, admin: Any) -> None:
    admin.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~pystorm:*", "+@all", "-@admin", "-@dangerous")
    store = RedisStore("t", {"url": f"unix://app:pw@{own_redis.unix_socket_path}"})
    generation = store.acquire(SCOPES)
    store.prepare(generation, 1, "count", numbered(1))
    store.commit(generation, record(generation, 1))
    store.move(generation, 1, "count", SCOPES)
    assert committed(store, "0") == {"e1": 1, "last": 1}
    assert store.check_persistence() is None
    store.forget()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "needs url or unix_socket_path, got none"),
        ({"url": "http://x"}, "bad url 'http://x'.*say redis://"),
        ({"url": "redis://host:port"}, "bad url"),
        ({"url": 6379}, "url must be text, got 6379"),
        ({"ulr": "redis://x"}, "unknown key 'ulr'; did you mean 'url'"),
        ({"url": "redis://x", "unix_socket_path": "/y"}, "needs url or unix_socket_path"),
    ],
)
def test_a_wrong_configuration_is_said_at_once(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RedisStore("t", config)


def test_a_missing_database_number_is_a_mistake_in_the_configuration(own_redis: EmbeddedRedis) -> None:
    with pytest.raises(ConfigError, match="DB index is out of range"):
        RedisStore("t", {"url": f"unix://{own_redis.unix_socket_path}?db=99"}).ping()


def test_options_in_the_url_do_not_change_what_replies_look_like(own_redis: EmbeddedRedis) -> None:
    store = RedisStore("t", {"url": f"unix://{own_redis.unix_socket_path}?decode_responses=true&protocol=3"})
    generation = store.acquire(SCOPES)
    store.prepare(generation, 1, "count", [chunk("0", a=b"\xff")])
    store.commit(generation, record(generation, 1))
    assert committed(store, "0") == {"a": b"\xff"}


def test_passwords_are_not_shown() -> None:
    assert without_password("redis://me:sec:r@t@host:1/0") == "redis://me:***@host:1/0"
    assert without_password("redis://host/0") == "redis://host/0"
    assert DEFAULT_TIMEOUT_S < 10


def test_missing_persistence_is_warned_of(own_redis: EmbeddedRedis, store: RedisStore, admin: Any) -> None:
    assert store.check_persistence() is None
    admin.config_set("appendonly", "no")
    assert "neither AOF nor RDB" in (store.check_persistence() or "")
    admin.config_set("save", "60 1")
    assert store.check_persistence() is None


def test_large_hashes_and_large_values_load_complete(store: RedisStore) -> None:
    generation = store.acquire(SCOPES)
    many = {f"k{i}": i for i in range(12_000)}
    items = list(many.items())
    parts = [chunk("0", dict(items[at : at + 1000])) for at in range(0, len(items), 1000)]
    large = [Chunk("1", "count", [("counts", [pack(i), pack("x" * (1 << 20))], [])]) for i in range(20)]
    store.prepare(generation, 1, "count", [*parts, *large])
    store.commit(generation, record(generation, 1))
    assert committed(store, "0") == many
    store.move(generation, 1, "count", SCOPES)
    assert content(store, "0") == committed(store, "0") == many
    assert content(store, "1") == dict.fromkeys(range(20), "x" * (1 << 20))


@pytest.mark.parametrize("lands", ["a move", "a commit and a move"])
def test_a_scope_is_read_again_when_a_commit_or_a_move_lands_while_it_is_read(
    own_redis: EmbeddedRedis, store: RedisStore, lands: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = store.acquire(SCOPES)
    store.prepare(generation, 1, "count", [chunk("0", a=1, b=1)])
    store.commit(generation, record(generation, 1))
    store.move(generation, 1, "count", SCOPES)
    writer = RedisStore("wordcount", own_redis.config)
    writer.prepare(generation, 2, "count", [chunk("0", a=2, b=2), chunk("0", deletes=["b"], c=2)])
    if lands == "a move":
        writer.commit(generation, record(generation, 2))
    look_at_list = RedisReads._list_state
    looks = 0

    def look_and_then_it_lands(*args: Any) -> tuple[str, int]:
        nonlocal looks
        looks += 1
        found = look_at_list(*args)
        if looks == 1:
            if lands != "a move":
                writer.commit(generation, record(generation, 2))
            writer.move(generation, 2, "count", SCOPES)
            writer.prepare(generation, 3, "count", [chunk("0", a=3), chunk("0", b=3), chunk("0", c=3)])
        return found

    monkeypatch.setattr(RedisReads, "_list_state", look_and_then_it_lands)
    assert committed(store, "0") == {"a": 2, "c": 2}
    assert looks == 4  # before and after the first read, before and after the second
    writer.close()


def test_a_reader_never_sees_half_a_checkpoint_of_a_scope(own_redis: EmbeddedRedis, store: RedisStore) -> None:
    generation = store.acquire(SCOPES)
    stop = threading.Event()
    writer_store = RedisStore("wordcount", own_redis.config)
    keys = [f"k{i}" for i in range(3000)]

    def write() -> None:
        epoch = 0
        while not stop.is_set():
            epoch += 1
            chunks = [chunk("0", dict.fromkeys(keys[at : at + 1000], epoch)) for at in range(0, len(keys), 1000)]
            writer_store.prepare(generation, epoch, "count", chunks)
            writer_store.commit(generation, record(generation, epoch))
            writer_store.move(generation, epoch, "count", SCOPES)
            stop.wait(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [committed(store, "0") for _ in range(30)]
    finally:
        stop.set()
        writer.join()
    for each in seen:
        assert len(set(each.values())) <= 1
        assert len(each) in (0, len(keys))
    assert len({next(iter(each.values()), 0) for each in seen}) > 1
    writer_store.close()
