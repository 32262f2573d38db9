"""Large values, partitions, prints and logs, through the command line."""

from __future__ import annotations

from tests.integration.support import Lab, UserRedis


def test_value_of_50_megabytes_passes_between_workers(lab: Lab) -> None:
    sizes = [1, 50_000_000, 0]
    file = lab.topology(
        "weights",
        ("weights", "faults.WeightSpout", {"sizes": sizes}),
        ("pass", "faults.PassBolt"),
        ("sizes", "faults.SizeBolt"),
        config={"topology.guarantee": "exactly-once"},
    )
    lab.run(file)

    assert lab.counts("weights", "sizes", "sizes") == {size: size for size in sizes}


def test_partitions_are_spread_over_the_tasks_of_a_spout(lab: Lab) -> None:
    names = ["a", "b", "c", "d", "e"]
    file = lab.topology(
        "partitions",
        ("source", "faults.PartitionSpout", {"names": names, "count": 100}, 2),
        ("tally", "faults.TallyBolt"),
        config={"topology.guarantee": "exactly-once"},
    )
    lab.run(file)
    seen = lab.counts("partitions", "tally", "seen")

    assert set(seen.values()) == {1}
    assert {(name, number) for name, number, _ in seen} == {(name, number) for name in names for number in range(100)}
    owners = {name: {task for other, _, task in seen if other == name} for name in names}
    assert all(len(tasks) == 1 for tasks in owners.values())
    assert len(set.union(*owners.values())) == 2
    assert lab.run(file)["components"]["source"]["emitted"] == 0


def test_partitions_keep_their_positions_when_the_number_of_tasks_changes(lab: Lab) -> None:
    names = ["a", "b", "c"]
    for count, tasks in ((50, 2), (100, 3)):
        file = lab.topology(
            "spread",
            ("source", "faults.PartitionSpout", {"names": names, "count": count}, tasks),
            ("tally", "faults.TallyBolt"),
            config={"topology.guarantee": "exactly-once"},
        )
        lab.run(file)

    seen = lab.counts("spread", "tally", "seen")
    assert sorted((name, number) for name, number, _ in seen) == [(name, n) for name in names for n in range(100)]


def test_prints_go_to_the_components_own_log(lab: Lab) -> None:
    file = lab.topology("prints", ("numbers", "faults.NumberSpout", {"count": 3}), ("say", "faults.PrintBolt"))
    run = lab.start(file)
    run.wait()

    log = run.log("say-0")
    for number in range(3):
        assert f"printed {number}" in log
        assert f"logged {number}" in log
    assert "printed" not in run.errors


def test_logs_are_rotated(lab: Lab) -> None:
    file = lab.topology(
        "chatty",
        ("numbers", "faults.NumberSpout", {"count": 500}),
        ("say", "faults.PrintBolt"),
        config={"pystorm.log.max_bytes": 4096, "pystorm.log.backup_count": 2},
    )
    run = lab.start(file)
    run.wait()

    logs = sorted((run.folder / "logs").glob("say-0.log*"))
    assert [log.name for log in logs] == ["say-0.log", "say-0.log.1", "say-0.log.2"]
    assert all(log.stat().st_size <= 4096 for log in logs)
    assert "printed 499" in logs[0].read_text()


def test_state_lives_in_the_users_redis_if_there_is_a_url(lab: Lab, user_redis: UserRedis) -> None:
    file = lab.topology(
        "mine",
        ("numbers", "faults.NumberSpout", {"count": 100}),
        ("tally", "faults.TallyBolt"),
        config={"topology.state.provider.config": {"url": user_redis.url}},
    )
    run = lab.start(file)
    run.wait()

    assert user_redis.counts("mine", "tally", "seen") == dict.fromkeys(range(100), 1)
    assert not (run.folder / "redis").exists()


def test_two_topologies_on_one_redis_never_meet(lab: Lab, user_redis: UserRedis) -> None:
    runs = [
        lab.start(
            lab.topology(
                name,
                ("numbers", "faults.NumberSpout", {"count": count}),
                ("tally", "faults.TallyBolt"),
                config={"topology.state.provider.config": {"url": user_redis.url}},
            )
        )
        for name, count in (("one", 100), ("two", 200))
    ]
    for run in runs:
        run.wait()

    assert user_redis.counts("one", "tally", "seen") == dict.fromkeys(range(100), 1)
    assert user_redis.counts("two", "tally", "seen") == dict.fromkeys(range(200), 1)


def test_redis_that_cannot_be_reached_at_the_start_is_named(lab: Lab) -> None:
    file = lab.topology(
        "nowhere",
        ("numbers", "faults.NumberSpout", {"count": 100}),
        ("tally", "faults.TallyBolt"),
        config={"topology.state.provider.config": {"url": f"unix://{lab.folder}/no.sock"}},
    )
    run = lab.start(file)
    run.wait(None, deadline_s=20)

    assert run.process.returncode in (1, 2)
    assert "no.sock" in run.errors
    assert "Traceback" not in run.errors
