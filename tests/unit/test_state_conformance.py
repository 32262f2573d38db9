"""What every checkpoint store must do: one suite, run over the store in memory and the one in a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pystorm.errors import ConfigError, InternalError, StaleGeneration
from pystorm.state.chunk import Chunk
from pystorm.state.memory_store import MemoryBackend, MemoryStore
from pystorm.state.reader import CommittedState
from pystorm.state.redis_store import RedisStore
from pystorm.state.store import CheckpointStore
from pystorm.values import pack
from tests.state_tools import NewStore, chunk, committed, content, record

SCOPES = ["0", "1", "t0"]


@pytest.fixture(params=["memory", "redis"])
def new_store(request: pytest.FixtureRequest, topology_name: str) -> Iterator[NewStore]:
    """Makes stores on one backend; of this test's topology, or of another one named."""
    backend = MemoryBackend()
    opened: list[CheckpointStore] = []

    def make(topology: str = topology_name) -> CheckpointStore:
        store: CheckpointStore
        if request.param == "memory":
            store = MemoryStore(topology, backend)
        else:
            store = RedisStore(topology, request.getfixturevalue("redis_config"))
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(new_store: NewStore) -> CheckpointStore:
    return new_store()


def commit_all(store: CheckpointStore, generation: int, epoch: int, *chunks: Chunk) -> None:
    store.prepare(generation, epoch, "count", chunks)
    store.commit(generation, record(generation, epoch))
    store.move(generation, epoch, "count", SCOPES)


def test_generations_rise_by_one(new_store: NewStore) -> None:
    assert [new_store().acquire(SCOPES) for _ in range(3)] == [1, 2, 3]


def test_a_checkpoint_is_seen_after_prepare_commit_and_move(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    result = store.prepare(generation, 1, "count", [chunk("0", a=1), chunk("1", b=2), chunk("0", c=3)])
    assert result.keys == 3
    assert result.bytes > 0
    assert content(store, *SCOPES) == {}
    store.commit(generation, record(generation, 1))
    assert content(store, *SCOPES) == {}
    store.move(generation, 1, "count", SCOPES)
    assert content(store, "0") == {"a": 1, "c": 3}
    assert content(store, "1") == {"b": 2}


def test_load_says_which_state_and_scope_an_entry_is_from(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    commit_all(store, generation, 1, chunk("0", a=1), chunk("t0", state="seen", a=2))
    assert sorted(store.load("count", ["counts", "seen"], SCOPES)) == [
        ("counts", "0", pack("a"), pack(1)),
        ("seen", "t0", pack("a"), pack(2)),
    ]
    assert list(store.load("other", ["counts"], SCOPES)) == []


def test_deletes_remove_entries_and_a_deleted_key_may_return(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    commit_all(store, generation, 1, chunk("0", a=1, b=2))
    commit_all(store, generation, 2, chunk("0", deletes=["a", "never there"]))
    assert content(store, "0") == {"b": 2}
    commit_all(store, generation, 3, chunk("0", a=3))
    assert content(store, "0") == {"a": 3, "b": 2}


def test_thousands_of_entries_in_many_chunks_arrive_complete(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    expected = {f"k{i}": i for i in range(7000)}
    items = list(expected.items())
    chunks = [chunk("0", dict(items[at : at + 1000])) for at in range(0, len(items), 1000)]
    commit_all(store, generation, 1, *chunks)
    assert content(store, "0") == expected
    commit_all(store, generation, 2, chunk("0", deletes=list(expected)[:6500]))
    assert content(store, "0") == dict(items[6500:])


def test_every_step_may_be_repeated(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    for _ in range(2):
        store.settle(generation, {"count": SCOPES})
    for _ in range(2):
        store.prepare(generation, 1, "count", [chunk("0", a=1), chunk("0", b=2), chunk("1", deletes=["x"])])
    for _ in range(2):
        store.commit(generation, record(generation, 1))
    assert len(store.history()) == 1
    for _ in range(2):
        store.move(generation, 1, "count", SCOPES)
        assert content(store, *SCOPES) == {"a": 1, "b": 2}


def test_a_prepare_begun_anew_replaces_what_the_first_try_wrote(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)

    def breaks_off() -> Iterator[Chunk]:
        yield chunk("0", half=1)
        raise OSError("the disk fell out")

    with pytest.raises(OSError, match="fell out"):
        store.prepare(generation, 1, "count", breaks_off())
    commit_all(store, generation, 1, chunk("0", whole=1))
    assert content(store, "0") == {"whole": 1}


def test_a_late_move_of_an_older_epoch_leaves_the_newer_list_alone(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    commit_all(store, generation, 1, chunk("0", a=1))
    store.prepare(generation, 2, "count", [chunk("0", a=2)])
    store.move(generation, 1, "count", SCOPES)
    assert content(store, "0") == {"a": 1}
    store.commit(generation, record(generation, 2))
    store.move(generation, 2, "count", SCOPES)
    assert content(store, "0") == {"a": 2}


def test_preparing_the_next_epoch_first_moves_a_committed_list_that_nobody_moved(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    store.prepare(generation, 1, "count", [chunk("0", a=1), chunk("0", b=1)])
    store.commit(generation, record(generation, 1))
    store.prepare(generation, 2, "count", [chunk("0", a=2), chunk("0", c=2)])
    assert content(store, "0") == {"a": 1, "b": 1}
    store.commit(generation, record(generation, 2))
    store.move(generation, 2, "count", SCOPES)
    assert content(store, "0") == {"a": 2, "b": 1, "c": 2}


def test_an_abandoned_epoch_is_replaced_by_the_next_one(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    store.prepare(generation, 1, "count", [chunk("0", a=1)])
    commit_all(store, generation, 2, chunk("0", b=2))
    assert content(store, "0") == {"b": 2}


# Crash points: what a new generation finds


def test_prepared_but_not_committed_is_discarded(new_store: NewStore) -> None:
    store = new_store()
    generation = store.acquire(SCOPES)
    commit_all(store, generation, 1, chunk("0", a=1))
    store.prepare(generation, 2, "count", [chunk("0", a=2), chunk("1", b=2)])
    heir = new_store()
    generation = heir.acquire(SCOPES)
    heir.settle(generation, {"count": SCOPES})
    assert content(heir, *SCOPES) == {"a": 1}
    heir.commit(generation, record(generation, 2))
    heir.move(generation, 2, "count", SCOPES)
    assert content(heir, *SCOPES) == {"a": 1}


def test_nothing_of_a_first_checkpoint_that_was_never_committed_stays(new_store: NewStore) -> None:
    store = new_store()
    store.prepare(store.acquire(SCOPES), 1, "count", [chunk("0", a=1)])
    heir = new_store()
    heir.settle(heir.acquire(SCOPES), {"count": SCOPES})
    assert content(heir, *SCOPES) == committed(heir, "0") == {}


def test_committed_but_not_moved_is_moved_even_where_the_heir_does_not_know_the_component(new_store: NewStore) -> None:
    store = new_store()
    generation = store.acquire(SCOPES)
    store.prepare(generation, 1, "count", [chunk("0", a=1), chunk("t0", b=1)])
    store.commit(generation, record(generation, 1))
    heir = new_store()
    generation = heir.acquire([])
    heir.settle(generation, {})
    assert content(heir, *SCOPES) == {"a": 1, "b": 1}


def test_half_moved_is_moved_to_the_end(new_store: NewStore) -> None:
    store = new_store()
    generation = store.acquire(SCOPES)
    store.prepare(generation, 1, "count", [chunk("0", a=1), chunk("1", b=1)])
    store.commit(generation, record(generation, 1))
    store.move(generation, 1, "count", ["0"])
    heir = new_store()
    generation = heir.acquire(SCOPES)
    heir.settle(generation, {"count": SCOPES})
    assert content(heir, *SCOPES) == {"a": 1, "b": 1}


def test_settle_keeps_only_the_snapshots_of_the_committed_epoch(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    for epoch in (1, 2, 3):
        store.write_snapshot(generation, epoch, 0, b"%d" % epoch)
    store.commit(generation, record(generation, 2))
    generation = store.acquire(SCOPES)
    store.settle(generation, {"count": SCOPES})
    assert [store.read_snapshot(epoch, 0) for epoch in (1, 2, 3)] == [None, b"2", None]


# Fencing: the generation before can write nothing


STALE_WRITES: dict[str, Callable[[CheckpointStore, int], object]] = {
    "prepare": lambda store, g: store.prepare(g, 2, "count", [chunk("0", stale=1)]),
    "move": lambda store, g: store.move(g, 1, "count", ["0"]),
    "commit": lambda store, g: store.commit(g, record(g, 2)),
    "commit of the same epoch": lambda store, g: store.commit(g, record(g, 1)),
    "snapshot": lambda store, g: store.write_snapshot(g, 1, 0, b"stale"),
    "drop of snapshots": lambda store, g: store.drop_snapshots(g, 100),
    "settle": lambda store, g: store.settle(g, {"count": SCOPES}),
}


@pytest.mark.parametrize("name", STALE_WRITES)
def test_a_stale_generation_can_write_nothing(new_store: NewStore, name: str) -> None:
    zombie, heir = new_store(), new_store()
    old = zombie.acquire(SCOPES)
    zombie.prepare(old, 1, "count", [chunk("0", a=1)])
    zombie.commit(old, record(old, 1))
    zombie.write_snapshot(old, 1, 0, b"held")
    heir.acquire(["1"])  # the heir has fewer scopes: the others are fenced all the same
    with pytest.raises(StaleGeneration, match=r"generation 1 must not write to .*generation 2 owns it"):
        STALE_WRITES[name](zombie, old)
    assert committed(heir, "0") == {"a": 1}
    assert content(heir, *SCOPES) == {}
    assert heir.read_snapshot(1, 0) == b"held"
    assert [each.generation for each in heir.history()] == [1]


def test_a_scope_that_was_not_acquired_cannot_be_written(store: CheckpointStore) -> None:
    generation = store.acquire(["0"])
    with pytest.raises(StaleGeneration, match="scope 77: no generation has acquired it"):
        store.prepare(generation, 1, "count", [chunk("77", a=1)])


def test_a_process_from_before_forget_can_write_nothing(new_store: NewStore) -> None:
    zombie, heir = new_store(), new_store()
    old = zombie.acquire(SCOPES)
    heir.forget()
    assert heir.acquire(SCOPES) > old
    with pytest.raises(StaleGeneration):
        zombie.prepare(old, 1, "count", [chunk("0", a=1)])


# Commit records and snapshots


def test_an_epoch_is_committed_once_and_only_forwards(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    assert store.last_commit() is None
    store.commit(generation, record(generation, 5))
    with pytest.raises(InternalError, match=r"epoch 4 .*epoch 5 of generation 1 is committed"):
        store.commit(generation, record(generation, 4))
    heir = store.acquire(SCOPES)
    with pytest.raises(InternalError, match="cannot be committed"):
        store.commit(heir, record(heir, 5))
    with pytest.raises(InternalError, match="cannot commit a record of"):
        store.commit(heir, record(generation, 6))
    assert store.last_commit() == record(generation, 5)


def test_history_is_newest_first_and_bounded(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    for epoch in range(1, 106):
        store.commit(generation, record(generation, epoch, positions={"lines": {"": epoch}}))
    assert [each.epoch for each in store.history(3)] == [105, 104, 103]
    assert len(store.history(1000)) == 100
    assert store.history(0) == []
    assert store.last_commit() == store.history(1)[0]


def test_snapshots_of_any_size_come_back_and_old_ones_are_dropped(store: CheckpointStore) -> None:
    generation = store.acquire(SCOPES)
    big = bytes(range(256)) * 10_000
    for task, data in enumerate((b"", b"x", big)):
        store.write_snapshot(generation, 4, task, data)
        assert store.read_snapshot(4, task) == data
    store.write_snapshot(generation, 4, 2, b"smaller now")
    assert store.read_snapshot(4, 2) == b"smaller now"
    assert store.read_snapshot(4, 3) is None
    store.write_snapshot(generation, 5, 0, b"new")
    store.drop_snapshots(generation, 5)
    assert (store.read_snapshot(4, 0), store.read_snapshot(5, 0)) == (None, b"new")


def test_forget_leaves_nothing_and_other_topologies_alone(new_store: NewStore, topology_name: str) -> None:
    names = [topology_name, topology_name + "2", topology_name + "/0", f"{topology_name}:x{{y}}*"]
    stores = [new_store(name) for name in names]
    for each in stores:
        generation = each.acquire(SCOPES)
        commit_all(each, generation, 1, chunk("0", a=1))
        each.write_snapshot(generation, 1, 0, b"x")
    assert set(names) <= set(stores[0].topologies())
    stores[0].forget()
    assert (stores[0].last_commit(), stores[0].history(), content(stores[0], *SCOPES)) == (None, [], {})
    assert stores[0].read_snapshot(1, 0) is None
    assert set(names) & set(stores[0].topologies()) == set(names[1:])
    for each in stores[1:]:
        assert content(each, "0") == {"a": 1}
        assert each.read_snapshot(1, 0) == b"x"


# Reading for people


@pytest.fixture
def filled(new_store: NewStore) -> CheckpointStore:
    """Two checkpoints; the second is committed and moved in scope 0 only; a third is prepared."""
    store = new_store()
    generation = store.acquire(SCOPES)
    commit_all(store, generation, 1, chunk("0", a=1, b=1), chunk("1", c=1, d=1))
    more = [chunk("0", a=2), chunk("1", c=2, deletes=["d"]), chunk("t0", state="seen", e=2)]
    store.prepare(generation, 2, "count", more)
    store.commit(generation, record(generation, 2))
    store.move(generation, 2, "count", ["0"])
    store.prepare(generation, 3, "count", [chunk("0", a=3, z=3)])
    return store


def test_readers_see_what_is_committed_whether_moved_or_not(filled: CheckpointStore) -> None:
    state = CommittedState(filled)
    assert state.list() == [("count", "counts", 3), ("count", "seen", 1)]
    assert {each.key: each.value for each in state.dump("count", "counts")} == {"a": 2, "b": 1, "c": 2}
    assert [(each.state, each.key, each.task) for each in state.dump("count") if each.task is not None] == [
        ("seen", "e", 0)
    ]
    assert [state.get("count", "counts", key) for key in "abc"] == [2, 1, 2]
    assert state.get("count", "seen", "e", task=0) == 2
    assert len(list(state.dump())) == 4


@pytest.mark.parametrize(
    ("component", "state", "message"),
    [
        ("cuont", "counts", "no component 'cuont' with state; did you mean 'count'"),
        ("count", "conts", "no state 'conts' in component 'count'; did you mean 'counts'"),
        ("count", "xyz", "there are: counts, seen"),
    ],
)
def test_readers_name_the_nearest_when_a_name_is_wrong(
    filled: CheckpointStore, component: str, state: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        CommittedState(filled).dump(component, state)


def test_readers_say_that_a_key_or_a_topology_is_missing(
    filled: CheckpointStore, new_store: NewStore, topology_name: str
) -> None:
    with pytest.raises(ConfigError, match=r"count\.counts has no committed entry for key 'd'"):
        CommittedState(filled).get("count", "counts", "d")
    wrong = topology_name.replace("topology", "topolgy")
    with pytest.raises(ConfigError, match=f"no topology '{wrong}' in this store; did you mean 'topology"):
        CommittedState(new_store(wrong), wrong).list()


def test_a_key_that_several_tasks_hold_is_asked_for_by_task(store: CheckpointStore) -> None:
    generation = store.acquire(["t0", "t1"])
    store.prepare(generation, 1, "count", [chunk("t0", a=1), chunk("t1", a=2)])
    store.commit(generation, record(generation, 1))
    state = CommittedState(store)
    with pytest.raises(ConfigError, match="held more than once: by task 0, task 1"):
        state.get("count", "counts", "a")
    assert state.get("count", "counts", "a", task=1) == 2
