"""What the measurements stand on: figures of processes, followed files, launched runs, the arithmetic of the tables."""

import contextlib
import inspect
import os
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import checkpoint, latency, launch, measure, processes, recovery, wordcount
from benchmarks.__main__ import BENCHMARKS, parse
from benchmarks.records import Records

TOPOLOGIES = sorted(launch.TOPOLOGIES.glob("*.yaml"))


# --- processes

SLEEPER = "import subprocess, sys; subprocess.run(['sleep', '60'])"


@contextlib.contextmanager
def parent_and_child():
    parent = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    try:
        launch.wait_until(lambda: len(processes.descendants(parent.pid)) == 2, "the child")
        yield parent.pid
    finally:
        os.killpg(parent.pid, 9)
        parent.wait()


def test_a_process_and_what_it_started_are_found():
    with parent_and_child() as pid:
        child = processes.descendants(pid)[1]
        launch.wait_until(lambda: processes.short_name(child) == "sleep", "exec")
        assert processes.figures(child).peak_rss_mb > 0
    launch.wait_until(lambda: processes.figures(child) is None, "the child's end")


def test_the_sampler_remembers_processes_that_ended():
    with parent_and_child() as pid:
        sampler = processes.Sampler(pid, interval_s=0.01)
        sampler.start()
        launch.wait_until(lambda: "sleep" in map(sampler.name, sampler.figures()), "the sampler")
    launch.wait_until(lambda: not processes.descendants(pid)[1:], "the end")
    sampler.stop()
    assert len(sampler.figures()) == 2


def test_the_unix_sockets_of_a_process_are_found(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        assert path in processes.unix_sockets(os.getpid())
    assert path not in processes.unix_sockets(os.getpid())


# --- records


def test_records_are_read_as_they_come_and_whole(tmp_path):
    records = Records(tmp_path / "file")
    assert records.poll() == []
    first, second = struct.pack("<qq", 1, 2), struct.pack("<qq", 3, -1)
    (tmp_path / "file").write_bytes(first + second[:5])
    assert records.poll() == [(1, 2)]
    (tmp_path / "file").write_bytes(first + second)
    assert records.poll() == [(3, -1)]
    assert records.poll() == []


# --- the outage seen in the last bolt's record

MS = 1_000_000


def test_tuples_on_their_way_are_not_taken_for_the_recovery():
    outage = recovery.Outage(100 * MS)
    assert outage.feed([(99 * MS, 7), (101 * MS, 8)]) is None
    assert outage.next_ms == 1.0
    assert outage.feed([(300 * MS, recovery.BEGIN), (350 * MS, 5), (351 * MS, 6)]) is outage
    assert (outage.next_ms, outage.recovered_ms) == (1.0, 250.0)


def test_what_was_noted_before_the_kill_does_not_count():
    outage = recovery.Outage(100 * MS)
    assert outage.feed([(98 * MS, recovery.BEGIN), (99 * MS, 1)]) is None
    assert outage.next_ms is None


def test_the_recovery_is_the_next_tuple_when_nothing_was_on_its_way():
    outage = recovery.Outage(0)
    outage.feed([(2 * MS, recovery.BEGIN), (3 * MS, 4)])
    assert outage.next_ms == outage.recovered_ms == 3.0


@pytest.mark.parametrize(
    "numbers", [[-1, 0, 1, 2], [-1, 0, 1, 2, 3, -1, 1, 2, 3, 4], [-1, 0, 1, -1, 2], [-1, 0, -1, -1, 0]]
)
def test_a_record_that_goes_back_only_with_a_new_generation_has_no_hole(numbers):
    assert recovery.hole_in((0, number) for number in numbers) == ""


@pytest.mark.parametrize("numbers", [[-1, 1], [-1, 0, 2], [-1, 0, 1, -1, 3], [-1, 0, 1, 1], [-1, 0, -1, 0, 2], [-1]])
def test_a_lost_or_repeated_number_is_a_hole(numbers):
    assert recovery.hole_in((0, number) for number in numbers) != ""


# --- arithmetic


@pytest.mark.parametrize(("percent", "wanted"), [(50, 50), (99, 99), (99.9, 100), (100, 100), (0, 1)])
def test_percentiles_are_values_that_occurred(percent, wanted):
    assert measure.percentile(range(1, 101), percent) == wanted


def test_latency_leaves_out_the_warm_up():
    found = latency.summarise([9_000_000_000] * 10 + [1_000_000] * 99 + [4_000_000], 10)
    assert found == {"p50": 1.0, "p90": 1.0, "p99": 1.0, "p99.9": 4.0, "max": 4.0}


def test_the_longest_gap_leaves_out_the_first_and_the_last_second():
    assert checkpoint.longest_gap_ms({"0": 900.0, "1": 3.0, "2": 7.5, "3": 800.0}) == 7.5


def test_a_spread_tells_median_and_extremes():
    assert measure.spread([3.0, 1.0, 2.0]).text(1) == "2.0 (1.0..3.0)"


def test_the_table_tells_which_budget_was_missed():
    variant = {
        "seconds": {"median": 5.0},
        "wall_s": {"median": 6.0},
        "words_per_s": {"median": 2e6, "low": 1e6, "high": 3e6},
        "ratio": {"median": 0.55, "low": 0.5, "high": 0.6},
        "ratio_untracked": {"median": 0.3},
        "processes": {"controller": {"peak_rss_mb": 30.0, "cpu_s": 1.0}},
    }
    result = {
        "sentences": 10,
        "runs": 5,
        "splitter": "SplitBolt",
        "variants": {name: variant | {"budget": budget} for name, budget in wordcount.BUDGETS.items()},
    }
    rows = [line for line in wordcount.render(result).splitlines() if ">=" in line]
    assert [row.split()[-1] for row in rows] == ["MISSED", "MISSED", "met"]


def test_a_nonsensical_number_of_runs_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["wordcount", "--runs", "0"])
    assert "must be at least 1, got 0" in capsys.readouterr().err


# --- launching


@pytest.fixture
def pystorm(tmp_path, monkeypatch):
    """Puts a shell script in the place of bin/pystorm."""

    def install(script):
        path = tmp_path / "pystorm"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(launch, "PYSTORM", path)
        return launch.PystormRun("bench_latency", tmp_path / "run", {"a.b": "1"}, {"GIVEN": "there"})

    return install


def test_a_run_gets_its_settings_and_gives_its_summary_and_results(pystorm):
    script = (
        'echo "{\\"got\\": \\"$GIVEN\\"}" > "$PYSTORM_BENCH_RESULTS/seen.json"; '
        'echo noise; echo "{\\"args\\": \\"$*\\"}"'
    )
    with pystorm(script) as run:
        summary = run.wait()
        assert run.result("seen") == {"got": "there"}
    assert summary["args"].endswith(f"bench_latency.yaml --data-dir {run.data_dir} --json --set a.b=1")
    assert summary["wall_s"] > 0


def test_a_failed_run_is_told_with_the_end_of_its_output(pystorm):
    with (
        pystorm("echo the cause >&2; exit 1") as run,
        pytest.raises(launch.BenchmarkError, match=r"code 1(.|\n)*the cause"),
    ):
        run.wait()


def test_waiting_ends_when_the_run_does(pystorm):
    with pystorm("exit 0") as run, pytest.raises(launch.BenchmarkError, match="while waiting for a wonder"):
        run.await_running(lambda: None, "a wonder")


def test_a_run_that_hangs_is_ended_with_all_that_it_started(pystorm):
    with pystorm("sleep 60 & wait") as run:
        launch.wait_until(lambda: len(processes.descendants(run._process.pid)) == 2, "the child")
        child = processes.descendants(run._process.pid)[1]
        with pytest.raises(launch.BenchmarkError, match=r"did not end within 0\.1 s"):
            run.wait(0.1)
    launch.wait_until(lambda: processes.figures(child) is None, "the child's end")


def test_an_interrupt_reaches_the_run(pystorm):
    with pystorm('trap "echo {}; exit 0" INT; touch "$PYSTORM_BENCH_RESULTS/up"; while :; do sleep 0.01; done') as run:
        run.await_running((run.results / "up").exists, "the trap")
        run.interrupt()
        assert run.wait(10)["wall_s"] > 0


def test_processes_are_named_by_what_they_run(pystorm):
    script = (
        'd=$(dirname "$PYSTORM_BENCH_RESULTS")/data/bench-latency; mkdir -p "$d"; sleep 60 & '
        'echo "{\\"generation\\": 1, \\"controller\\": $$, \\"workers\\":'
        ' [{\\"index\\": 0, \\"pid\\": $!, \\"tasks\\": [\\"relay-0\\", \\"sink-0\\"]}]}" > "$d/tmp"; '
        'mv "$d/tmp" "$d/workers.json"; while [ ! -e "$d/go" ]; do sleep 0.01; done; kill $!; echo {}'
    )
    with pystorm(script) as run:
        run.await_running(run.workers, "workers.json")
        run.await_running(lambda: len(run.sampler.figures()) > 1, "the sampler")
        (run.data_dir / run.name / "go").touch()
        run.wait(10)
        found = run.processes()
    assert {"controller", "relay-0 sink-0"} <= set(found)


# --- the topologies

ENV = {"PYSTORM_BENCH_SPLITTER": "SplitBolt"}


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_every_class_of_a_topology_exists_and_takes_its_arguments(path, monkeypatch):
    monkeypatch.syspath_prepend(str(launch.TOPOLOGIES))
    declared = yaml.safe_load(path.read_text())
    assert declared["name"] == path.stem.replace("_", "-")
    ids = set()
    for component in declared["spouts"] + declared["bolts"]:
        ids.add(component["id"])
        name = component["className"].replace("${ENV-PYSTORM_BENCH_SPLITTER}", ENV["PYSTORM_BENCH_SPLITTER"])
        module, _, kind = name.partition(".")
        found = getattr(__import__(module), kind)
        inspect.signature(found).bind(**component.get("constructorArgs", {}))
    assert {end for stream in declared["streams"] for end in (stream["from"], stream["to"])} == ids


def test_there_is_a_topology_for_every_benchmark_that_runs_pystorm():
    assert [path.stem for path in TOPOLOGIES] == [
        "bench_checkpoint",
        "bench_latency",
        "bench_recovery",
        "bench_wordcount",
    ]


def test_the_docs_name_every_benchmark():
    text = Path(launch.ROOT, "docs", "benchmarks.md").read_text()
    assert [name for name in BENCHMARKS if f"`{name}`" not in text] == []
