"""A run in words: rates, lines and the summary."""

from __future__ import annotations

from pathlib import Path

from pystorm.controller.status import ComponentStatus, RunResult, RunStatus
from pystorm.ui import format
from pystorm.ui.lines import event_lines, progress_line
from pystorm.ui.rates import Rates
from pystorm.ui.summary import plain


def status(elapsed_s: float, emitted: int, processed: int, **more: float) -> RunStatus:
    components = [
        ComponentStatus("lines", "spout", 1, emitted=emitted, pending=7),
        ComponentStatus("count", "bolt", 2, processed=processed, pending=9),
    ]
    return RunStatus("words", "running", elapsed_s, 1, components, **more)  # type: ignore[arg-type]


def test_rates_are_of_the_last_seconds_only() -> None:
    rates = Rates(window_s=3)
    assert rates.of("lines") == (0, 0)
    for second in range(10):
        rates.add(status(second, emitted=1000 * min(second, 5), processed=0))
    assert rates.of("lines") == (0, 0)  # nothing came in the last three seconds
    rates.add(status(10, emitted=5300, processed=600))
    assert rates.of("lines") == (100, 0)
    assert rates.of("count") == (0, 200)


def test_rates_are_never_negative_after_a_worker_died_with_its_counts() -> None:
    rates = Rates()
    rates.add(status(1, emitted=500, processed=500))
    rates.add(status(2, emitted=400, processed=600))
    assert rates.of("lines") == (0, 0)


def test_a_line_of_progress_has_the_rates_that_matter_and_pending_trees() -> None:
    rates = Rates()
    rates.add(status(60, 0, 0))
    now = status(61, 1234, 5, last_epoch=1, last_checkpoint_ms=35, last_checkpoint_age_s=4, recoveries=1)
    rates.add(now)
    assert progress_line(now, rates) == (
        "running 1 min 01 s | lines 1,234/s | count 5.0/s | pending 7 | checkpoint 1 4.0 s ago, took 35 ms | 1 recovery"
    )


def test_what_an_event_says_cannot_steer_the_terminal() -> None:
    lines = event_lines("WARNING", "a\x1b[2Jb\r\n  c\x07\n\n", "12:00:00")
    assert lines == ["12:00:00 WARNING  a\\x1b[2Jb\\r", "      c\\x07"]


def test_the_summary_names_outcome_counts_errors_cause_and_logs() -> None:
    result = RunResult(
        topology="words",
        outcome="failed",
        seconds=2.0,
        components=[
            ComponentStatus("lines", "spout", 1, emitted=1000, acked=990, failed=10),
            ComponentStatus("count", "bolt", 2, acked=5000, processed=5000),
        ],
        checkpoints=1,
        recoveries=2,
        cause="count-0 died\nof a broken heart",
        errors=[("count", "ValueError", "words.py:3", 120), ("lines", "KeyError", "words.py:9", 7)],
    )
    assert plain(result, Path("data/words/logs")) == [
        "words failed after 2.0 s: see the cause below; what was committed is kept",
        "  component  tasks  emitted  processed  acked  failed  avg/s",
        "  lines          1    1,000          0    990      10    500",
        "  count          2        0      5,000  5,000       0  2,500",
        "1 checkpoint committed, 2 recoveries",
        "errors in user code:",
        "  120 x count: ValueError at words.py:3",
        "    7 x lines: KeyError at words.py:9",
        "cause: count-0 died",
        "    of a broken heart",
        "logs: data/words/logs",
    ]


def test_times_and_sizes_do_not_jump_where_the_unit_changes() -> None:
    assert [format.duration(s) for s in (0.9994, 0.9996, 59.94, 59.96, 3599.4, 3599.6)] == [
        "999 ms",
        "1.0 s",
        "59.9 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 00 min",
    ]
    assert [format.size(n) for n in (999, 1000, 999_949, 999_950)] == ["999 B", "1.0 kB", "999.9 kB", "1.0 MB"]


def test_no_rows_make_no_lines() -> None:
    assert format.aligned([]) == []
