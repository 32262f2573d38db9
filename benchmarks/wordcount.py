"""Word count: floor and pystorm in turns, pystorm with each guarantee; speeds as ratios to the floor.

Runs alternate (floor, each guarantee, floor, ...) because a shared machine's speed drifts; a ratio is taken within one
round, so that both of its sides saw about the same machine. Every run's counts are compared with a plain-Python count;
where checkpoints were on, the committed counts too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.floor import run_floor
from benchmarks.launch import BenchmarkError, PystormRun
from benchmarks.measure import Options, spread, table
from benchmarks.workload import difference, reference_counts, sentence_file

#: pystorm's speed as a share of the floor's (which acks), at least
BUDGETS = {"at-most-once": 0.8, "at-least-once": 0.6, "exactly-once": 0.5}
FLOOR, FLOOR_UNTRACKED = "floor", "floor, no acks"


def measure(options: Options, directory: Path) -> dict[str, Any]:
    """All rounds, and their medians."""
    rounds = [_round(options, directory / str(number)) for number in range(options.runs)]
    variants: dict[str, Any] = {}
    for name in rounds[0]:
        runs = [one[name] for one in rounds]
        variants[name] = {
            "seconds": spread([run["seconds"] for run in runs]).as_dict(),
            "wall_s": spread([run["wall_s"] for run in runs]).as_dict() if "wall_s" in runs[0] else None,
            "words_per_s": spread([run["words_per_s"] for run in runs]).as_dict(0),
            "ratio": spread([one[FLOOR]["seconds"] / one[name]["seconds"] for one in rounds]).as_dict(),
            "ratio_untracked": spread(
                [one[FLOOR_UNTRACKED]["seconds"] / one[name]["seconds"] for one in rounds]
            ).as_dict(),
            "budget": BUDGETS.get(name),
            "processes": _largest([run["processes"] for run in runs]),
        }
    return {"sentences": options.sentences, "runs": options.runs, "splitter": options.splitter, "variants": variants}


def _round(options: Options, directory: Path) -> dict[str, dict[str, Any]]:
    """One run of every variant."""
    found = {
        FLOOR: run_floor(options.sentences, tracked=True),
        FLOOR_UNTRACKED: run_floor(options.sentences, tracked=False),
    }
    for guarantee in BUDGETS:
        found[guarantee] = run_pystorm(options, guarantee, directory / guarantee)
    return found


def run_pystorm(options: Options, guarantee: str, directory: Path) -> dict[str, Any]:
    """One run of the topology, its counts checked.

    Raises:
        BenchmarkError: it failed, or a count is wrong.
    """
    path = sentence_file(options.sentences)
    reference = reference_counts(path)
    env = {"PYSTORM_BENCH_INPUT": str(path), "PYSTORM_BENCH_SPLITTER": options.splitter}
    with PystormRun("bench_wordcount", directory, {"topology.guarantee": guarantee}, env) as run:
        summary = run.wait()
        clock, counts = run.result("clock"), run.result("counts")
        _check(guarantee, "counted", counts, reference)
        if guarantee != "at-most-once":
            _check(guarantee, "committed", run.dump_state("count", "counts"), reference)
        processes = run.processes()
    seconds = (clock["ended_ns"] - clock["first_ns"]) / 1e9
    words = sum(reference.values())
    return {
        "seconds": seconds,
        "wall_s": summary["wall_s"],
        "words_per_s": words / seconds,
        "checkpoints": summary["checkpoints"]["committed"],
        "processes": processes,
    }


def _check(guarantee: str, what: str, counts: dict[str, int], reference: dict[str, int]) -> None:
    wrong = difference(counts, reference)
    if wrong:
        raise BenchmarkError(f"bench-wordcount with {guarantee}: what was {what} is wrong: {wrong}")


def _largest(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Each process's largest figures over the runs."""
    found: dict[str, dict[str, float]] = {}
    for run in runs:
        for label, figures in run.items():
            entry = found.setdefault(label, {})
            for key, value in figures.items():
                entry[key] = max(entry.get(key, 0.0), value)
    return found


def render(result: dict[str, Any]) -> str:
    """The result as text."""
    header = ["word count", "words/s", "(min..max)", "seconds", "with start", "of floor", "(min..max)", "budget", ""]
    rows = [_row(name, variant) for name, variant in result["variants"].items()]
    title = f"{result['sentences']:,} sentences, median of {result['runs']} rounds, {result['splitter']}"
    memory = [
        [name, label, f"{figures['peak_rss_mb']:.1f}", f"{figures['cpu_s']:.2f}"]
        for name, variant in result["variants"].items()
        for label, figures in variant["processes"].items()
    ]
    untracked = result["variants"]["at-most-once"]["ratio_untracked"]["median"]
    return "\n\n".join(
        [
            f"{title}\n{table(header, rows)}",
            f"at-most-once against the floor without acks: {untracked:.2f}",
            table(["largest of all runs", "process", "peak MB", "CPU s"], memory),
        ]
    )


def _row(name: str, variant: dict[str, Any]) -> list[str]:
    words, ratio, budget = variant["words_per_s"], variant["ratio"], variant["budget"]
    met = "" if budget is None else "met" if ratio["median"] >= budget else "MISSED"
    return [
        name,
        f"{words['median']:,.0f}",
        f"({words['low']:,.0f}..{words['high']:,.0f})",
        f"{variant['seconds']['median']:.2f}",
        f"{variant['wall_s']['median']:.2f}" if variant["wall_s"] else "",
        f"{ratio['median']:.2f}",
        f"({ratio['low']:.2f}..{ratio['high']:.2f})",
        "" if budget is None else f">= {budget}",
        met,
    ]
