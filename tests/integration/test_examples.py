"""The examples do what README says of them, and what README and the guide let people type works to the letter.

Endless examples run from a copy of their file with shorter pauses, so that nobody has to wait for a tick of 5 seconds.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import ROOT, TEXT, Lab, Run, kill, plain_count, wait_until

EXAMPLES = ROOT / "topologies"
TABLE_ROW = re.compile(r"INFO +(.+?\]) +([\d.,]+) +([\d.,]+) +([\d.,]+) +([\d.,]+)$")


def example(lab: Lab, name: str, **faster: str) -> Path:
    """A copy of an example's file in which `old` values are replaced; keys are option names, values `old -> new`."""
    text = (EXAMPLES / name).read_text(encoding="utf-8").replace("${topology.dir}", str(EXAMPLES))
    for option, change in faster.items():
        old, _, new = change.partition(" -> ")
        assert f"{option.replace('_', '.') if 'topology' in option else option}: {old}" in text, option
        key = option.replace("_", ".") if "topology" in option else option
        text = text.replace(f"{key}: {old}", f"{key}: {new}")
    return lab.write(name, text)


def stop(run: Run) -> dict[str, Any]:
    """Ctrl-C; the summary of a run that ended in good order."""
    kill(run.pid, signal.SIGINT)
    summary = run.wait(0)
    assert summary["outcome"] == "drained"
    return summary


def pystorm(lab: Lab, command: str) -> str:
    """Standard output of a command line as it stands in a page, in the folder of the test."""
    words = shlex.split(command)
    assert words[0] == "bin/pystorm"
    done = subprocess.run(
        [sys.executable, "-m", "pystorm.cli.main", *words[1:]],
        cwd=lab.folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def blocks(page: str, heading: str) -> dict[str, list[str]]:
    """The blocks of code of a page's section, by language; those without one are under ''."""
    section = (ROOT / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found: dict[str, list[str]] = {}
    for language, code in re.findall(r"^```(\w*)\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE):
        found.setdefault(language, []).append(code)
    return found


# -- what pages let people type ----------------------------------------------------------------------------------------


def test_the_two_commands_of_the_readme_count_the_words_of_the_book(lab: Lab) -> None:
    (lab.folder / "topologies").symlink_to(EXAMPLES)
    run, dump = blocks("README.md", "Two commands")["sh"][0].splitlines()
    pystorm(lab, run)
    lines = pystorm(lab, dump).splitlines()
    entries = [re.fullmatch(r'\{.*"key": "(.+)", "value": (\d+)\}', line) for line in lines]
    assert {e[1]: int(e[2]) for e in entries if e} == plain_count(TEXT.read_text(encoding="utf-8"))


def test_the_lines_of_the_readme_greet_everybody_as_often_as_they_came(lab: Lab) -> None:
    typed = blocks("README.md", "A few lines of your own")
    (lab.folder / "greet").mkdir()
    (lab.folder / "greet" / "greet.py").write_text(typed["python"][0])
    (lab.folder / "greet" / "greet.yaml").write_text(typed["yaml"][0])
    run, dump = typed["sh"][0].splitlines()
    pystorm(lab, run)
    assert sorted(pystorm(lab, dump).splitlines()) == [
        "greet\tseen\tAda\t3",
        "greet\tseen\tAlan\t1",
        "greet\tseen\tGrace\t1",
    ]


def test_the_topology_of_the_guide_prints_what_the_guide_shows(lab: Lab) -> None:
    typed = blocks("docs/guide/getting-started.md", "Write one")
    folder = lab.folder / "temperatures"
    folder.mkdir()
    for name, code in (("py", typed["python"]), ("yaml", typed["yaml"]), ("csv", typed[""])):
        (folder / f"temperatures.{name}").write_text(code[0])
    for command in typed["sh"][0].splitlines():
        shown = pystorm(lab, command)
    assert sorted(shown.splitlines()) == typed["json"][0].splitlines()


# -- tail --------------------------------------------------------------------------------------------------------------


def requests(minute: int, count: int) -> str:
    return f'192.0.2.1 - - [10/Oct/2024:13:{minute:02d}:36 +0000] "GET / HTTP/1.0" 200 2326\n' * count


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def wait_until_read(run: Run, log: Path) -> None:
    """Until a committed checkpoint covers all of the log."""

    def is_read() -> bool:
        run.check_running()
        record = run.last_commit()
        stat = log.stat()
        return record is not None and record.positions["log"][""] == [stat.st_ino, stat.st_size]

    wait_until("the log is read to its end", is_read)


def test_tail_counts_every_line_once_over_rotation_kill_and_restart(lab: Lab) -> None:
    log = lab.folder / "access.log"
    file = example(lab, "tail.yaml", topology_state_checkpoint_interval_ms="1000 -> 100")
    settings = {"access.log": str(log)}
    append(log, requests(1, 100))
    run = lab.start(file, settings=settings)
    wait_until_read(run, log)

    append(log, requests(2, 50))
    log.rename(log.with_name("access.log.1"))
    append(log, requests(3, 30))
    wait_until_read(run, log)
    append(log, requests(4, 20))
    kill(run.worker_of("count-0"))
    kill(run.worker_of("log-0"))
    append(log, requests(5, 40))
    wait_until_read(run, log)
    assert stop(run)["recoveries"] >= 1

    append(log, requests(6, 25) + "no request\n")
    again = lab.start(file, settings=settings)
    wait_until_read(again, log)
    stop(again)

    expected = {1: 100, 2: 50, 3: 30, 4: 20, 5: 40, 6: 25}
    assert lab.counts("tail", "count", "requests") == {f"2024-10-10T13:{m:02d}Z 2xx": n for m, n in expected.items()}
    assert lab.counts("tail", "rejects", "rejected") == {"lines": 1}
    assert "not a line of an access log: 'no request'" in again.log("rejects-0")


# -- topwords ----------------------------------------------------------------------------------------------------------


def test_topwords_ranks_the_words_that_it_has_counted(lab: Lab) -> None:
    file = example(
        lab,
        "topwords.yaml",
        lines_per_second="500 -> 2000",
        every_seconds="2 -> 0.2",
        topology_tick_tuple_freq_secs="5 -> 0.2",
    )
    run = lab.start(file)
    wait_until("a ranking is printed", lambda: re.search(r"INFO +the \d+  of \d+", run.log("top-0")))
    stop(run)
    # What was counted is per task; a word is counted by one of them.
    counts = lab.counts("topwords")
    read = _text_before(lab, "topwords")
    assert counts == plain_count(read)
    last = re.findall(r"(\S+) (\d+)", run.log("top-0").splitlines()[-1].partition("INFO")[2])
    assert len(last) == 10
    assert all(0 < int(count) <= counts[word] for word, count in last)


def _text_before(lab: Lab, topology: str) -> str:
    """What of the book the last checkpoint covers; it was not read twice."""
    found = re.search(r'"positions": \{"lines": \{"": (\d+)\}', pystorm_checkpoints(lab, topology))
    assert found
    return TEXT.read_bytes()[: int(found[1])].decode()


def pystorm_checkpoints(lab: Lab, topology: str) -> str:
    return pystorm(lab, f"bin/pystorm checkpoints {topology} --limit 1 --json --data-dir {lab.data_dir}")


# -- machine -----------------------------------------------------------------------------------------------------------


def table(run: Run) -> dict[str, tuple[float, ...]]:
    """The last values that were printed: now, min, mean and max by metric."""
    rows = [TABLE_ROW.search(line) for line in run.log("summary-0").splitlines()]
    return {row[1]: tuple(float(value.replace(",", "")) for value in row.groups()[1:]) for row in rows if row}


def seen(lab: Lab) -> Counter[str]:
    """How many values of each metric were summed up."""
    return Counter({metric: row["count"] for metric, row in lab.counts("machine", "summary", "seen").items()})


def test_machine_prints_a_table_and_goes_on_with_what_it_knew(lab: Lab) -> None:
    file = example(lab, "machine.yaml", every_seconds="1 -> 0.05", topology_tick_tuple_freq_secs="5 -> 0.2")
    metrics = {"processor busy [cores]", "context switches [/s]", "memory used [MB]", "lo sent [kB/s]"}

    run = lab.start(file)
    wait_until("a table is printed", lambda: metrics <= table(run).keys())
    stop(run)
    for metric, (now, least, mean, most) in table(run).items():
        assert 0 <= least <= now <= most, metric
        assert least - 0.01 <= mean <= most + 0.01, metric
    first = seen(lab)
    assert metrics <= first.keys()
    # Of a counter the first reading gives no rate; of a level it counts.
    assert first["memory used [MB]"] == first["context switches [/s]"] + 1

    again = lab.start(file)
    wait_until("a checkpoint is committed", lambda: (r := again.last_commit()) and r.generation > 1)
    stop(again)
    then = seen(lab)
    assert all(then[metric] > first[metric] for metric in metrics)
    # The reading before the stop was kept, so the first one after it gave a rate.
    assert then["memory used [MB]"] == then["context switches [/s]"] + 1


def test_machine_says_what_is_missing_on_a_system_without_these_files(lab: Lab) -> None:
    file = example(lab, "machine.yaml", every_seconds="1 -> 1, proc: /nowhere")
    summary = lab.run(file, settings={"topology.recovery.max.attempts": 0}, code=1)
    assert "there is no /nowhere/stat: machine.yaml needs the /proc files of Linux" in summary["cause"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_is_valid_and_named_in_the_readme(path: Path, lab: Lab) -> None:
    assert pystorm(lab, f"bin/pystorm validate {path}").startswith(f"ok: {path.stem}: ")
    assert f"`topologies/{path.name}`" in (ROOT / "README.md").read_text(encoding="utf-8")
