"""The command `bin/bench`: measures pystorm on this machine and compares with the budgets.

A failed run or a wrong count ends it with code 1 and leaves the run's directory for a look; a missed budget does not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import checkpoint, latency, recovery, startup, wordcount
from benchmarks.launch import PYSTORM, BenchmarkError
from benchmarks.measure import Options, machine_facts
from benchmarks.workload import FULL_SIZE


class Benchmark(NamedTuple):
    """One measurement: how it is made and how it is shown."""

    measure: Callable[[Options, Path], dict[str, Any]]
    render: Callable[[dict[str, Any]], str]


BENCHMARKS = {
    "wordcount": Benchmark(wordcount.measure, wordcount.render),
    "latency": Benchmark(latency.measure, latency.render),
    "recovery": Benchmark(recovery.measure, recovery.render),
    "checkpoint": Benchmark(checkpoint.measure, checkpoint.render),
    "startup": Benchmark(startup.measure, startup.render),
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bin/bench", description="Measures pystorm against its budgets.")
    parser.add_argument("what", nargs="?", choices=[*BENCHMARKS, "all"], default="all")
    parser.add_argument("--runs", type=positive, default=5, metavar="N", help="runs per variant, default 5")
    parser.add_argument("--sentences", type=positive, default=FULL_SIZE, metavar="N", help=f"default {FULL_SIZE:,}")
    parser.add_argument("--kills", type=positive, default=20, metavar="N", help="kills of recovery, default 20")
    parser.add_argument("--rate", type=positive, default=1_000, metavar="N", help="tuples/s of latency, default 1000")
    parser.add_argument(
        "--seconds", type=at_least_3, default=20, metavar="N", help="of latency and of each half of checkpoint"
    )
    parser.add_argument(
        "--emit", choices=["many", "one"], default="many", help="how wordcount's split sends words: emit_many or emit"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def at_least_3(text: str) -> int:
    """A number of seconds: the checkpoint benchmark leaves out the first and the last one."""
    value = int(text)
    if value < 3:
        raise argparse.ArgumentTypeError(f"must be at least 3, got {value}")
    return value


def main() -> int:
    arguments = parse(sys.argv[1:])
    if not PYSTORM.exists():
        print(f"bench: {PYSTORM} is missing: run the benchmarks from a checkout of pystorm", file=sys.stderr)
        return 2
    options = Options(
        runs=arguments.runs,
        sentences=arguments.sentences,
        kills=arguments.kills,
        rate=arguments.rate,
        seconds=arguments.seconds,
        splitter="SplitBolt" if arguments.emit == "many" else "SplitOneByOneBolt",
    )
    names = list(BENCHMARKS) if arguments.what == "all" else [arguments.what]
    directory = Path(tempfile.mkdtemp(prefix="pystorm-bench-"))
    try:
        results = run_all(names, options, directory, quiet=arguments.json)
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    shutil.rmtree(directory)
    if arguments.json:
        print(json.dumps(results))
    return 0


def run_all(names: list[str], options: Options, directory: Path, *, quiet: bool) -> dict[str, Any]:
    """The named benchmarks one after another, each shown as soon as it is there."""
    results: dict[str, Any] = {"machine": machine_facts()}
    if not quiet:
        print(", ".join(f"{key}: {value}" for key, value in results["machine"].items()), flush=True)
    for name in names:
        benchmark = BENCHMARKS[name]
        results[name] = benchmark.measure(options, directory / name)
        if not quiet:
            print(f"\n{benchmark.render(results[name])}", flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
