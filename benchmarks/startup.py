"""Start-up: from the start of the `bin/pystorm run` process to the first tuple in the first bolt, warm.

Warm means that a run before it has filled the caches of disk and bytecode; that run is not counted. Each run has a data
directory of its own, so the embedded Redis starts empty: the first start that a user meets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.launch import PystormRun
from benchmarks.measure import Options, spread
from benchmarks.records import Records

BUDGET_S = 1.0


def measure(options: Options, directory: Path) -> dict[str, Any]:
    """One warming run, then `options.runs` measured ones."""
    runs = [_run(directory / str(number)) for number in range(options.runs + 1)][1:]
    return {
        "first_tuple_s": spread([run["first_tuple_s"] for run in runs]).as_dict(),
        "whole_run_s": spread([run["wall_s"] for run in runs]).as_dict(),
        "budget_s": BUDGET_S,
    }


def _run(directory: Path) -> dict[str, float]:
    env = {"PYSTORM_BENCH_RATE": "1000", "PYSTORM_BENCH_TOTAL": "10"}
    with PystormRun("bench_latency", directory, {}, env) as run:
        summary = run.wait()
        first = Records(run.results / "first").poll()
        if not first:
            raise run.fail("no tuple came to the first bolt")
        return {"first_tuple_s": (first[0][0] - run.started_ns) / 1e9, "wall_s": summary["wall_s"]}


def render(result: dict[str, Any]) -> str:
    """The result as text."""
    first, whole = result["first_tuple_s"], result["whole_run_s"]
    return (
        f"start-up to the first tuple: {first['median']:.2f} s ({first['low']:.2f}..{first['high']:.2f}), "
        f"budget < {BUDGET_S:g} s; a run of 10 tuples from start to exit: {whole['median']:.2f} s"
    )
