"""A run that is shown while it goes on, and what its caller must not miss at its end."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from batten.display.choosing import choose_display, is_notebook, is_shown_by_itself
from batten.display.metrics.telemetry import find_telemetry
from batten.display.report_text import list_lines
from batten.drive.run import run_pipeline
from batten.errors import QuarantinedError, QuarantinedWarning, usage_error
from batten.executors.printing.output import output_may_be_lost
from batten.listening import complain
from batten.model.disk.runs.job_calls import BATTEN
from batten.model.telling.commands import command, in_cell
from batten.model.telling.counts import count_of
from batten.model.words import RunStatus
from batten.printable import tell, warn
from batten.run.progress import Silent

if TYPE_CHECKING:
    from batten.display.choosing import WantedProgress
    from batten.jobs.definition import Definition
    from batten.run.progress import Progress
    from batten.run.report import Report
    from batten.run.run_options import RunOptions
    from batten.run.telling.watching import RunWatcher


def refuse_other_system() -> None:
    """Raises `UsageError` where there is no Linux. What others would need: docs/versions.md."""
    if sys.platform != "linux":
        raise usage_error(
            f"batten runs jobs on Linux, and this is {sys.platform}.",
            "Run it on Linux; datasets can be looked at from here.",
        )


def run_shown(
    pipeline: Definition,
    options: RunOptions,
    progress: WantedProgress,
    *,
    has_workers_said: bool,
    metrics: str | None,
) -> Report:
    """The run, shown as it is wanted; where batten chose how, its end is told, too."""
    if options.call.kind != BATTEN:
        from batten.display.script_end import show_short

        show_short()
    with output_may_be_lost():
        display = choose_display(progress)
        if pipeline.is_async and has_workers_said:
            display.note("jobs and executor don't apply to async functions; concurrency= does.")
        try:
            watchers = _choose_watchers(metrics, display, options)
            report = run_pipeline(
                pipeline.fill(options.parameters), options, display, watchers=watchers
            )
        finally:
            display.close()
        if is_shown_by_itself(progress):
            for line in list_lines(report, retrying="run(retry_quarantined=True)"):
                display.note(in_cell(line) if is_notebook() else line)
    return report


def _choose_watchers(
    metrics: str | None, display: Progress, options: RunOptions
) -> list[RunWatcher]:
    """What else is told of the run than what shows it. The span of a run is the outermost."""
    watchers: list[RunWatcher] = []
    telemetry = find_telemetry()
    if telemetry is not None:
        watchers.append(telemetry)
    if metrics is not None:
        from batten.display.metrics.file import MetricsFile

        is_command = options.call.kind == BATTEN
        silent = partial(_warn_of_silent, is_command=is_command)
        is_shown = not isinstance(display, Silent)
        watchers.append(MetricsFile(metrics, display.note if is_shown else silent))
    return watchers


def _warn_of_silent(text: str, *, is_command: bool) -> None:
    """Where no progress is shown, a warning is told all the same."""
    if not is_command:
        complain(text)
        return
    tell(text, sys.stderr)


def tell_quarantined(report: Report, options: RunOptions, *, check: bool) -> None:
    """Raise or warn where items are quarantined, in the name of who called `run`. The command says
    so by its exit code (decision 0105)."""
    is_of_command = options.call.kind == BATTEN
    if not report.quarantined or report.status == RunStatus.PLANNED:
        return
    counts = f"{report.quarantined:,} of {count_of(report.source, 'item')}"
    what = f"{report.path}: {counts} are quarantined."
    see = command("show", report.path)
    if is_notebook():
        see = in_cell(see)
    if check:
        error = QuarantinedError(
            what,
            safe="The run is done, and the rows of all other items are in the output.",
            next=f"See why: {see}; try them again: run(retry_quarantined=True)",
        )
        error.report = report
        raise error
    if not is_of_command:
        warn(f"{what} See why: {see}", QuarantinedWarning, stacklevel=3)
