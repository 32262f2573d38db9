"""A run on a terminal: a table that is drawn again twice a second, events above it, a summary at the end.

There is no refreshing thread: the controller calls often enough, and it forks.

Source: rich's Live display.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console as RichConsole
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pystorm.controller.status import RunResult, RunStatus
from pystorm.ui import format, summary
from pystorm.ui.lines import checkpoint_text, clock_time, event_lines
from pystorm.ui.rates import Rates
from pystorm.ui.stream import PatientStream

_EVENT_STYLES = {"DEBUG": "dim", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_OUTCOME_STYLES = {"finished": "bold green", "drained": "bold green", "failed": "bold red", "aborted": "bold yellow"}
_COLUMNS = ("component", "tasks", "emitted/s", "processed/s", "emitted", "processed", "acked", "failed", "pending")


class LiveConsole:
    """The live display; see `pystorm.ui.console.Console`."""

    def __init__(self, stream: PatientStream) -> None:
        self._stream = stream
        # rich knows only streams that are typing.IO
        self._console = RichConsole(file=stream, highlight=False)  # type: ignore[arg-type]
        self._live: Live | None = None
        self._rates = Rates()

    def __enter__(self) -> LiveConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def event(self, level: str, text: str) -> None:
        """Something worth a line happened; it stays above the table."""
        first, *rest = event_lines(level, text, clock_time())
        self._console.print(Text(first, style=_EVENT_STYLES.get(level, "")), soft_wrap=True)
        if rest:
            self._console.print(Text("\n".join(rest)), soft_wrap=True)

    def progress(self, status: RunStatus) -> None:
        """Called about twice a second."""
        self._rates.add(status)
        table = _status_table(status, self._rates)
        if self._live is None:
            self._live = Live(table, console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
            self._live.start(refresh=True)
        else:
            self._live.update(table, refresh=True)

    def summary(self, result: RunResult, logs: Path) -> None:
        """How the run ended, and where its logs are; the table of progress goes away."""
        self._stop()
        self._stream.wait_for_reader()
        self._console.print(_result_table(result, logs))

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _status_table(status: RunStatus, rates: Rates) -> Group:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for at, name in enumerate(_COLUMNS):
        table.add_column(name, justify="right" if at else "left", no_wrap=True)
    for c in status.components:
        emitted, processed = rates.of(c.id)
        shown = [format.count(n) for n in (c.emitted, c.processed, c.acked, c.failed, c.pending)]
        per_s = [format.rate(emitted), "" if c.kind == "spout" else format.rate(processed)]
        table.add_row(Text(c.id), format.count(c.tasks), *per_s, *shown)
    head = Text.assemble(
        (status.topology, "bold"), f"  {status.phase}  {format.duration(status.elapsed_s)}  ", checkpoint_text(status)
    )
    if status.recoveries:
        head.append(f"  {format.counted(status.recoveries, 'recovery', 'recoveries')}", "yellow")
    return Group(head, table)


def _result_table(result: RunResult, logs: Path) -> Group:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for at, name in enumerate(summary.HEADER):
        table.add_column(name, justify="right" if at in summary.NUMBERS else "left", no_wrap=True)
    for row in summary.rows(result):
        table.add_row(*map(Text, row))
    head = Text(summary.headline(result), style=_OUTCOME_STYLES.get(result.outcome, ""))
    return Group(head, table, Text("\n".join(summary.facts(result, logs))))
