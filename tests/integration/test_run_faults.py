"""User code that goes wrong, through the command line: what happens, what is said, how the run ends."""

from __future__ import annotations

import pytest

from tests.integration.support import Lab, kill, wait_until

EXACTLY_ONCE = {"topology.guarantee": "exactly-once", "topology.state.checkpoint.interval.ms": 100}


def tallied(lab: Lab, topology: str) -> dict[int, int]:
    """What reached the TallyBolt `tally`."""
    return dict(lab.counts(topology, "tally", "seen"))


# -- exceptions in process ----------------------------------------------------------------------------------------


def test_failed_message_is_sent_again_until_it_passes(lab: Lab) -> None:
    file = lab.topology(
        "once",
        ("numbers", "faults.NumberSpout", {"count": 50}),
        ("raise", "faults.RaiseBolt", {"numbers": [7], "times_file": str(lab.folder / "used")}),
        ("tally", "faults.TallyBolt"),
    )
    run = lab.start(file)
    summary = run.wait()

    assert tallied(lab, "once") == dict.fromkeys(range(50), 1)
    assert summary["components"]["raise"]["failed"] == 1
    assert summary["components"]["numbers"]["failed"] == 1
    assert summary["recoveries"] == 0
    assert "ValueError: no luck with 7" in run.errors


def test_dead_letters_carry_the_error_and_the_values(lab: Lab) -> None:
    file = lab.topology(
        "letters",
        ("numbers", "faults.NumberSpout", {"count": 50}),
        ("raise", "faults.RaiseBolt", {"numbers": [7, 9]}),
        ("tally", "faults.TallyBolt"),
        ("errors", "faults.ErrorTextBolt"),
        config={"topology.bolt.on.error": "dead-letter"},
        streams=[
            ("numbers", "raise", {"type": "SHUFFLE"}),
            ("raise", "tally", {"type": "SHUFFLE"}),
            ("raise", "errors", {"type": "SHUFFLE", "streamId": "dead_letter"}),
        ],
    )
    summary = lab.run(file)

    assert lab.counts("letters", "errors", "errors") == {
        (7,): "ValueError: no luck with 7",
        (9,): "ValueError: no luck with 9",
    }
    assert tallied(lab, "letters") == dict.fromkeys(set(range(50)) - {7, 9}, 1)
    assert summary["components"]["numbers"]["acked"] == 50


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_crash_ends_the_worker_and_the_topology_recovers(lab: Lab, guarantee: str) -> None:
    file = lab.topology(
        "crash",
        ("numbers", "faults.NumberSpout", {"count": 50}),
        ("raise", "faults.RaiseBolt", {"numbers": [7], "times_file": str(lab.folder / "used")}),
        ("tally", "faults.TallyBolt"),
        config={"topology.bolt.on.error": "crash", "topology.guarantee": guarantee},
    )
    run = lab.start(file)
    summary = run.wait()

    assert summary["recoveries"] == 1
    assert tallied(lab, "crash") == dict.fromkeys(range(50), 1)
    assert "no luck with 7" in run.errors


def test_tuple_that_always_raises_in_exactly_once_ends_the_run_with_the_cause(lab: Lab) -> None:
    file = lab.topology(
        "always",
        ("numbers", "faults.NumberSpout", {"count": 50}),
        ("raise", "faults.RaiseBolt", {"numbers": [7]}),
        ("tally", "faults.TallyBolt"),
        config={**EXACTLY_ONCE, "topology.recovery.max.attempts": 3},
    )
    summary = lab.run(file, code=1)

    assert summary["outcome"] == "failed"
    assert summary["recoveries"] == 3
    assert "ValueError: no luck with 7" in summary["cause"]


def test_checkpoints_of_nothing_are_no_progress(lab: Lab) -> None:
    """The first tuple comes only after checkpoints that cover nothing were committed; it raises every time."""
    file = lab.topology(
        "rare",
        ("numbers", "faults.NumberSpout", {"count": 50, "first_after_s": 0.4}),
        ("raise", "faults.RaiseBolt"),
        ("tally", "faults.TallyBolt"),
        config={**EXACTLY_ONCE, "topology.recovery.max.attempts": 3},
    )
    summary = lab.start(file).wait(1, deadline_s=20)

    assert summary["recoveries"] == 3
    assert "no luck with 0" in summary["cause"]


def test_poison_message_in_at_least_once_ends_the_run_naming_the_message(lab: Lab) -> None:
    file = lab.topology(
        "poison",
        ("numbers", "faults.NumberSpout", {"count": 50}),
        ("raise", "faults.RaiseBolt", {"numbers": [7]}),
        ("tally", "faults.TallyBolt"),
        config={"topology.spout.max.fails": 3},
    )
    run = lab.start(file)
    summary = run.wait(1)

    assert "[7]" in summary["cause"]
    assert "failed 4 times" in summary["cause"]
    assert "ValueError: no luck with 7" in summary["cause"]
    assert summary["recoveries"] == 0


def test_traceback_is_shown_once_and_counted(lab: Lab) -> None:
    file = lab.topology(
        "often",
        ("numbers", "faults.NumberSpout", {"count": 50}),
        ("raise", "faults.RaiseBolt", {}, 2),
        ("tally", "faults.TallyBolt"),
        config={"topology.bolt.on.error": "dead-letter"},
    )
    run = lab.start(file)
    summary = run.wait()

    assert run.errors.count("Traceback (most recent call last)") == 1
    assert "/pystorm/worker/" not in run.errors
    (error,) = summary["errors"]
    assert (error["component"], error["type"], error["count"]) == ("raise", "ValueError", 50)


# -- what ends a process ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("class_name", "cause"),
    [("faults.ExitBolt", "sys.exit('enough')"), ("faults.ExitWithoutWordBolt", "exited with code 7")],
)
def test_user_code_that_ends_the_process_is_the_cause(lab: Lab, class_name: str, cause: str) -> None:
    file = lab.topology(
        "exits",
        ("numbers", "faults.NumberSpout", {"count": 50}),
        ("exit", class_name),
        config={"topology.recovery.max.attempts": 2},
    )
    summary = lab.run(file, code=1)

    assert cause in summary["cause"]
    assert "exit-0" in summary["cause"]
    assert summary["recoveries"] == 2


@pytest.mark.parametrize("class_name", ["faults.BadConstructorBolt", "faults.BadInitializeBolt"])
def test_bolt_that_cannot_start_is_the_cause(lab: Lab, class_name: str) -> None:
    file = lab.topology(
        "unborn",
        ("numbers", "faults.NumberSpout", {"count": 50}),
        ("bad", class_name),
        config={"topology.recovery.max.attempts": 2},
    )
    run = lab.start(file)
    summary = run.wait(1)

    assert "RuntimeError: no such device" in summary["cause"]
    assert "bad-0" in summary["cause"]
    assert run.errors.count("Traceback (most recent call last)") == 1


def test_module_that_breaks_while_the_topology_runs_ends_it_with_the_cause(lab: Lab) -> None:
    module = "from faults import TallyBolt\n\n\nclass DeployedBolt(TallyBolt):\n    pass\n"
    lab.write("deployed.py", module)
    file = lab.topology(
        "deploy",
        ("numbers", "faults.NumberSpout", {"per_s": 100}),
        ("tally", "deployed.DeployedBolt"),
        config={**EXACTLY_ONCE, "topology.recovery.max.attempts": 3},
    )
    run = lab.start(file)
    run.wait_for_commit(position=5)

    lab.write("deployed.py", "import a_module_that_nobody_installed\n")
    kill(run.worker_of("tally-0"))
    summary = run.wait(1)

    assert "a_module_that_nobody_installed" in summary["cause"]
    assert summary["recoveries"] == 3
    lab.write("deployed.py", module)
    lab.run(file, "--duration=1")
    seen = tallied(lab, "deploy")
    assert seen == dict.fromkeys(range(len(seen)), 1)


# -- values that cannot travel ------------------------------------------------------------------------------------


def test_value_that_cannot_travel_names_component_and_field(lab: Lab) -> None:
    file = lab.topology(
        "lambda",
        ("numbers", "faults.NumberSpout", {"count": 10}),
        ("bad", "faults.UnpackableBolt"),
        ("tally", "faults.TallyBolt"),
        config={"topology.spout.max.fails": 1},
    )
    summary = lab.run(file, code=1)

    assert "'payload'" in summary["cause"]
    assert "'bad'" in summary["cause"]
    assert "function" in summary["cause"]


def test_spout_value_that_cannot_travel_ends_the_run(lab: Lab) -> None:
    file = lab.topology("object", ("numbers", "faults.UnpackableSpout"), ("tally", "faults.TallyBolt"))

    summary = lab.run(file, code=1)

    assert "'number'" in summary["cause"]
    assert "'numbers'" in summary["cause"]


# -- reasons reach the spout --------------------------------------------------------------------------------------


def test_exception_text_reaches_spout_fail(lab: Lab) -> None:
    book = lab.folder / "book"
    file = lab.topology(
        "reasons",
        ("numbers", "faults.ReasonSpout", {"count": 3, "path": str(book)}),
        ("raise", "faults.RaiseBolt", {"numbers": [1]}),
        ("tally", "faults.ErrorTextBolt"),
        streams=[
            ("numbers", "raise", {"type": "SHUFFLE"}),
            ("raise", "tally", {"type": "SHUFFLE", "streamId": "dead_letter"}),
        ],
    )
    summary = lab.run(file)

    assert summary["components"]["numbers"]["failed"] == 1
    lines = sorted(book.read_text().splitlines())
    assert lines[:2] == ["ack 0", "ack 2"]
    assert lines[2].startswith("fail 1: component 'raise': ValueError: no luck with 1")


def test_timeout_reaches_spout_fail_with_where_the_tuple_was_last_seen(lab: Lab) -> None:
    book = lab.folder / "book"
    file = lab.topology(
        "timeouts",
        ("numbers", "faults.ReasonSpout", {"count": 2, "path": str(book)}),
        ("pass", "faults.SlowBolt", {"rest_s": 0.0}),
        ("hold", "faults.HoldBolt"),
        config={"topology.message.timeout.secs": 0.5},
    )
    lab.run(file)

    lines = book.read_text().splitlines()
    assert len(lines) == 2
    assert all("timed out after 0.5 s, last seen at component 'pass'" in line for line in lines)


def test_death_of_a_worker_reaches_spout_fail_at_once(lab: Lab) -> None:
    book = lab.folder / "book"
    file = lab.topology(
        "deaths",
        ("numbers", "faults.ReasonSpout", {"count": 2, "path": str(book)}),
        ("hold", "faults.HoldBolt"),
    )
    run = lab.start(file)
    pid = run.worker_of("hold-0")
    wait_until("the bolt has a tuple", lambda: "has" in run.log("hold-0"))

    kill(pid)
    wait_until("the messages fail", lambda: book.exists() and len(book.read_text().splitlines()) == 2, 10)
    run.wait()

    assert all(f"pid {pid}) was killed by SIGKILL" in line for line in book.read_text().splitlines())
