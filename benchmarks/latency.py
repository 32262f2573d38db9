"""Latency at low load: spout -> bolt -> bolt across three processes, with acking.

Two clocks run per tuple, both up to the start of the last bolt's `process`: since the tuple was sent (in the spout,
just before emit), which is the framework's latency, and since it was due by the spout's pace, which also counts what
the spout's own loop was late. The budget is on the first; the second shows that nothing was hidden by sending late
(Tene's "coordinated omission"). The first second is warm-up and left out.

Source: G. Tene, How NOT to Measure Latency, https://github.com/giltene/wrk2#acknowledgements
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.launch import BenchmarkError, PystormRun
from benchmarks.measure import Options, percentile, table

BUDGETS_MS = {"p50": 1.0, "p99": 5.0}
_PERCENTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


def measure(options: Options, directory: Path) -> dict[str, Any]:
    """One run of `options.seconds` after the warm-up."""
    total = options.rate * (options.seconds + 1)
    env = {"PYSTORM_BENCH_RATE": str(options.rate), "PYSTORM_BENCH_TOTAL": str(total)}
    with PystormRun("bench_latency", directory, {}, env) as run:
        summary = run.wait()
        latencies = run.result("latencies")
        processes = run.processes()
    found = {name: summarise(values, options.rate) for name, values in latencies.items()}
    tuples = len(latencies["since_sent_ns"])
    if tuples != total:
        raise BenchmarkError(f"bench-latency: the last bolt saw {tuples} tuples instead of {total}")
    return {
        "rate": options.rate,
        "tuples": total - options.rate,
        "latency_ms": {"since sent": found["since_sent_ns"], "since due": found["since_due_ns"]},
        "budgets_ms": BUDGETS_MS,
        "recoveries": summary["recoveries"],
        "processes": processes,
    }


def summarise(latencies_ns: list[int], warm_up: int) -> dict[str, float]:
    """Percentiles in ms of all but the first `warm_up` latencies."""
    measured = sorted(latencies_ns[warm_up:])
    return {name: round(percentile(measured, percent) / 1e6, 3) for name, percent in _PERCENTS.items()}


def render(result: dict[str, Any]) -> str:
    """The result as text."""
    rows = [[name, *(f"{value:.3f}" for value in row.values())] for name, row in result["latency_ms"].items()]
    rows.append(["budget", *(f"< {BUDGETS_MS[name]:g}" if name in BUDGETS_MS else "" for name in _PERCENTS)])
    title = f"{result['tuples']:,} tuples at {result['rate']:,}/s, spout -> bolt -> bolt, three processes, acked"
    return f"{title}\n{table(['latency, ms', *_PERCENTS], rows)}"
