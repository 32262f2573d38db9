"""What state costs: writing to it, freezing it, saving it, loading it, and how long Redis is blocked meanwhile.

    python benchmarks/state.py [--keys 100000]

Prints one line per figure. Nothing here passes or fails; the limits beside the figures are the design's.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from pystorm.state import KeyValueState
from pystorm.state.current import Current
from pystorm.state.embedded import EmbeddedRedis
from pystorm.state.local import LocalStateManager
from pystorm.state.record import CheckpointRecord
from pystorm.state.redis_store import RedisStore
from pystorm.topology.keygroups import key_group

GROUPS = 128
ROUNDS = 5


class CountBolt:
    """Declares one state, as a user's bolt does."""

    counts: KeyValueState[Any, Any] = KeyValueState()


class Task:
    """One keyed task that owns all groups; a tuple is the list of its key."""

    def __init__(self) -> None:
        self.current = Current()
        self.current.tup = ["key"]
        self.manager = LocalStateManager(
            "count", 0, True, range(GROUPS), self.current, lambda tup: key_group(tup, GROUPS), GROUPS
        )
        self.bolt = CountBolt()
        self.manager.bind(self.bolt)

    def fill(self, keys: list[str], value: Any) -> None:
        for key in keys:
            self.current.tup = [key]
            self.bolt.counts[key] = value


def milliseconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e3


def show(what: str, value: float, unit: str, limit: str = "") -> None:
    print(f"{what:<62}{value:>10.2f} {unit:<3} {limit}")


def write_cost() -> None:
    keys = [f"k{i % 1000}" for i in range(100_000)]
    state = Task().bolt.counts

    def store_into(target: Any) -> Callable[[], None]:
        def run() -> None:
            for key in keys:
                target[key] = 1

        return run

    def count_into(target: Any) -> Callable[[], None]:
        def run() -> None:
            for key in keys:
                target[key] = target.get(key, 0) + 1

        return run

    def best(run: Callable[[], None]) -> float:
        return min(milliseconds(run) for _ in range(9)) * 1e6 / len(keys)

    for name, make in (("d[k] = v", store_into), ("d[k] = d.get(k, 0) + 1", count_into)):
        plain, ours = best(make({})), best(make(state))
        show(f"{name}: plain dict", plain, "ns")
        show(f"{name}: KeyValueState", ours, "ns", f"{ours / plain:.1f} times the dict")


def freeze_cost(keys: list[str]) -> None:
    for name, make in (
        ("numbers", lambda: 1),
        ("small lists", lambda: [1, "a", 2.5]),
        ("1 KB lists", lambda: ["x" * 100] * 10),
    ):
        task = Task()
        freezing, packing = [], []
        for _ in range(ROUNDS):
            task.fill(keys, make())
            frozen: list[Any] = []
            freezing.append(milliseconds(lambda into=frozen, of=task: into.append(of.manager.freeze())))  # type: ignore[misc]
            packing.append(milliseconds(lambda each=frozen[0]: list(each.chunks())))  # type: ignore[misc]
        show(f"freeze of {len(keys)} dirty keys, {name}: worst", max(freezing), "ms", "limit 150 ms")
        show("  chunks (background): median", statistics.median(packing), "ms")


class Stopwatch(threading.Thread):
    """Pings Redis all the time and keeps the longest answer: no call blocks Redis for longer than that."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._client: Any = redis.Redis(unix_socket_path=path)
        self._done = threading.Event()
        self.worst_ms = 0.0

    def run(self) -> None:
        while not self._done.is_set():
            self.worst_ms = max(self.worst_ms, milliseconds(self._client.ping))

    def stop(self) -> None:
        self._done.set()
        self.join()
        self._client.close()


def slowest_call_ms(server: EmbeddedRedis) -> tuple[float, str]:
    """The slowest command since the last call, by Redis's own clock, and its name."""
    client: Any = redis.Redis(unix_socket_path=server.unix_socket_path)
    entries = client.slowlog_get(1000)
    client.slowlog_reset()
    client.config_set("slowlog-log-slower-than", 200)
    client.config_set("slowlog-max-len", 1000)
    client.close()
    if not entries:
        return 0.0, "none above 0.2 ms"
    worst = max(entries, key=lambda entry: entry["duration"])
    return worst["duration"] / 1e3, worst["command"][:40].decode(errors="replace")


def redis_cost(server: EmbeddedRedis, keys: list[str]) -> None:
    store = RedisStore("bench", server.config)
    scopes = [str(group) for group in range(GROUPS)]
    steps: dict[str, list[float]] = {name: [] for name in ("prepare", "commit", "move", "load")}
    show("acquire of 128 scopes", milliseconds(lambda: store.acquire(scopes)), "ms")
    generation = 1
    task = Task()
    slowest_call_ms(server)
    for epoch in range(1, ROUNDS + 1):
        task.fill(keys, epoch)
        frozen = task.manager.freeze()
        steps["prepare"].append(
            milliseconds(lambda e=epoch, f=frozen: store.prepare(generation, e, "count", f.chunks()))  # type: ignore[misc]
        )
        record = CheckpointRecord(epoch=epoch, generation=generation, wall_time=0, duration_ms=0, keys=0, bytes=0)
        steps["commit"].append(milliseconds(lambda r=record: store.commit(generation, r)))  # type: ignore[misc]
        steps["move"].append(milliseconds(lambda e=epoch: store.move(generation, e, "count", scopes)))  # type: ignore[misc]
        heir = Task()
        steps["load"].append(
            milliseconds(lambda h=heir: h.manager.restore(store.load("count", ["counts"], scopes)))  # type: ignore[misc]
        )
        assert heir.bolt.counts == task.bolt.counts
    for name, times in steps.items():
        show(f"{name} of {len(keys)} keys: median", statistics.median(times), "ms")
    generation = store.acquire(scopes)
    show("settle with nothing to do", milliseconds(lambda: store.settle(generation, {"count": scopes})), "ms")
    worst, command = slowest_call_ms(server)
    show("slowest single call, by Redis's clock", worst, "ms", f"limit 50 ms ({command})")


def blocked_time(server: EmbeddedRedis, keys: list[str]) -> None:
    """The same entries in one scope: the longest hash and list that there can be."""
    store = RedisStore("bench-one", server.config)
    current = Current()
    manager = LocalStateManager("count", 0, False, range(GROUPS), current, len, GROUPS)
    bolt = CountBolt()
    manager.bind(bolt)
    generation = store.acquire(["t0"])
    slowest_call_ms(server)
    watch = Stopwatch(server.unix_socket_path)
    watch.start()
    for epoch in range(1, 4):
        bolt.counts.update(dict.fromkeys(keys, epoch))
        store.prepare(generation, epoch, "count", manager.freeze().chunks())
        store.commit(
            generation,
            CheckpointRecord(epoch=epoch, generation=generation, wall_time=0, duration_ms=0, keys=0, bytes=0),
        )
        store.move(generation, epoch, "count", ["t0"])
        assert len(list(store.load("count", ["counts"], ["t0"]))) == len(keys)
    store.forget()
    watch.stop()
    worst, command = slowest_call_ms(server)
    show("one scope: slowest single call, by Redis's clock", worst, "ms", f"limit 50 ms ({command})")
    show("one scope: slowest PING of another client meanwhile", watch.worst_ms, "ms", "(GIL and fsync included)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=100_000)
    count = parser.parse_args().keys
    keys = [f"word{i}" for i in range(count)]
    write_cost()
    freeze_cost(keys)
    folder = Path(tempfile.mkdtemp(prefix="ps-"))
    server = EmbeddedRedis(folder, folder)
    show("embedded Redis: start to PING", milliseconds(server.start), "ms", "limit 100 ms")
    try:
        redis_cost(server, keys)
        blocked_time(server, keys)
        show("embedded Redis: restart with this data", milliseconds(server.restart), "ms")
    finally:
        server.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
