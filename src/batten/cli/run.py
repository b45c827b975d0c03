"""`batten run`: do what is left of a job."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

from batten.cli.output import emit_object, tell
from batten.errors import BattenError, UsageError
from batten.model.telling.commands import command
from batten.model.telling.counts import count_of
from batten.model.telling.hiding import is_secret_text
from batten.model.words import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batten.run.report import Delivered, Finalized, Report

NAME = "run"
HELP = "run a job, or go on with it where it ended"

EPILOG = (
    "exit codes: 0 done, 3 done but items are quarantined, 75 interrupted: run again, 7 an input, "
    "the disk or a destination: run again later, 6 another run is at work; 1, 2, 4, 5: look first"
)

EXIT_DONE = 0
EXIT_QUARANTINED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "job",
        metavar="JOB[:NAME]",
        help="a Python file, and the pipeline in it if there are several",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="items at a time (default: the processors)"
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the job's function; may be repeated",
    )
    parser.add_argument(
        "--resume",
        choices=("if_possible", "always", "never"),
        default="if_possible",
        help="never: refuse where the output exists (default: if_possible)",
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--fresh",
        action="store_true",
        help="compute all anew; the old output stays until the new one replaces it in one step",
    )
    ways.add_argument(
        "--accept-change",
        action="store_true",
        help="keep the rows there are though the job changed; compute the rest by it",
    )
    parser.add_argument(
        "--retry-quarantined", action="store_true", help="try quarantined items again"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="only the first N items; never marked complete"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done; write nothing"
    )
    parser.add_argument(
        "--memory-max",
        metavar="SIZE",
        help="the memory that each worker may use, as 2GB; its item is named when it uses more",
    )
    parser.add_argument(
        "--workers",
        choices=("fork", "spawn"),
        help="how workers begin: as copies of this process, or in a fresh interpreter "
        "(default: fork, but spawn where threads would not survive it)",
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        metavar="N",
        help="after a signal, how long items in hand may take to end (default: 10)",
    )
    parser.add_argument(
        "--skip-checks", action="store_true", help="begin although a check before it forbids it"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.progress import choose_progress
    from batten.executors.output import output_may_be_lost
    from batten.jobs.how_started import describe_call
    from batten.jobs.in_fresh_workers import JobFile
    from batten.jobs.job_file import load_job
    from batten.pipeline.pipeline import Pipeline
    from batten.run.signals import stopped_while_loading

    parameters = _read_parameters(arguments.param)
    job_file = JobFile(spec=arguments.job, parameters=parameters, folder=os.getcwd())
    # What the user's own code prints must not mix with the one JSON object.
    with (
        output_may_be_lost(),
        contextlib.redirect_stdout(sys.stderr),
        _checks_told(arguments),
    ):
        with stopped_while_loading():
            job = load_job(arguments.job, parameters, Pipeline)
        if signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL:
            # As scripts have it for `| head`. But the job goes on, and its code tells how it ended.
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        # Modules and the job stay until the end, so no collection of garbage need look at them.
        gc.freeze()
        report = job.pipeline.run(
            jobs=arguments.jobs,
            resume=arguments.resume,
            retry_quarantined=arguments.retry_quarantined,
            limit=arguments.limit,
            dry_run=arguments.dry_run,
            fresh=arguments.fresh,
            accept_change=arguments.accept_change,
            memory_max=arguments.memory_max,
            workers=arguments.workers,
            drain_seconds=10.0 if arguments.drain_seconds is None else arguments.drain_seconds,
            skip_checks=arguments.skip_checks,
            progress=choose_progress(is_quiet=arguments.quiet),
            parameters=job.parameters,
            call=describe_call(job, parameters, _list_options(arguments)),
            job_file=job_file,
        )
    if arguments.json:
        emit_object(report.to_json())
    else:
        tell(*describe_report(report))
    is_done = report.status != RunStatus.PLANNED
    return EXIT_QUARANTINED if is_done and report.quarantined else EXIT_DONE


@contextlib.contextmanager
def _checks_told(arguments: argparse.Namespace) -> Iterator[None]:
    """A refused dry run shows all that was checked, before the refusal."""
    try:
        yield
    except BattenError as error:
        report = error.report
        if report is not None and report.checks and not arguments.json:
            tell(*list_checks(report))
        raise


def _read_parameters(given: list[str]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(
                f"--param {text!r} is not of the form NAME=VALUE."
                if not is_secret_text(text)
                else "What --param was given is not of the form NAME=VALUE.",
                safe="Nothing was read or written.",
                next="Write, for instance: --param run_date=2026-04-24",
            )
        if name in parameters:
            raise UsageError(
                f"--param {name} is given twice.",
                safe="Nothing was read or written.",
                next="Give each parameter once.",
            )
        parameters[name] = value
    return parameters


def _list_options(arguments: argparse.Namespace) -> dict[str, object]:
    """Those that the next run of the job should have too, as they were given."""
    return {
        "jobs": arguments.jobs,
        "memory-max": arguments.memory_max,
        "drain-seconds": arguments.drain_seconds,
        "workers": arguments.workers,
    }


def describe_report(report: Report) -> list[str]:
    """The end of a run, for people."""
    accounts = report.accounts
    if accounts is None:
        return [f"{report.path}: {report.status}."]
    pending = accounts.pending + accounts.staged
    counts = f"{accounts.committed:,} committed ({count_of(report.rows, 'row')})"
    for count, word in (
        (accounts.filtered, "filtered"),
        (accounts.quarantined, "quarantined"),
        (accounts.duplicate, "duplicate"),
        (pending, "pending"),
    ):
        if count:
            counts += f", {count:,} {word}"
    lines = [
        f"{report.path}: {_tell_beside(report) or _TITLES[report.status]}",
        f"  {count_of(accounts.source, 'item')}: {counts}",
    ]
    if report.status in (RunStatus.COMPLETE, RunStatus.LIMITED):
        seconds = sum(report.seconds.get(stage, 0.0) for stage in ("plan", "prepare", "account"))
        lines.append(
            f"  this run: {report.executed_items:,} executed, {report.adopted_items:,} adopted "
            f"from before, {seconds:.1f} s"
        )
    if report.vanished_items:
        lines.append(f"  {report.vanished_items:,} planned items are gone from the source; kept")
    lines.extend(list_checks(report))
    lines.extend(_describe_delivered(each) for each in report.destinations)
    lines.extend(_describe_finalized(each) for each in report.finalized)
    if accounts.source == 0 and report.status != RunStatus.LIMITED:
        lines.append("  the source has no items: is its path or pattern right?")
    if accounts.quarantined and report.status == RunStatus.NOTHING_TO_DO:
        lines.append(
            f"  to try {count_of(accounts.quarantined, 'quarantined item')} again, by a mended "
            "function or the same: --retry-quarantined"
        )
    if accounts.quarantined:
        lines.append(f"  see why: {command('show', report.path)}")
    return lines


def _tell_beside(report: Report) -> str:
    """For a limited run that began a new dataset: the numbers are of that dataset."""
    if not report.beside:
        return ""
    return (
        f"limited: a new dataset was begun in {report.beside}; until it is complete, readers keep "
        "the old one. Of the new one:"
    )


def _describe_delivered(delivered: Delivered) -> str:
    batches = count_of(delivered.batches, "batch", "batches")
    held = f"{count_of(delivered.rows, 'row')} of {batches} ({delivered.kind})"
    return f"  {delivered.target}: {held}"


def list_checks(report: Report) -> list[str]:
    """What was looked at before the run."""
    return [f"  {each.name}: {each.verdict}; {each.told}" for each in report.checks]


def _describe_finalized(finalized: Finalized) -> str:
    told = {
        RunStatus.COMPLETE: f"finalized, {count_of(finalized.rows, 'row')}",
        RunStatus.NOTHING_TO_DO: f"up to date, {count_of(finalized.rows, 'row')}",
        RunStatus.LIMITED: "not finalized: the run was limited",
        RunStatus.PLANNED: "would be finalized",
    }
    return f"  {finalized.path}: {told[finalized.status]}"


_TITLES = {
    RunStatus.COMPLETE: "complete; the accounts are closed.",
    RunStatus.NOTHING_TO_DO: "complete already; nothing to do.",
    RunStatus.LIMITED: "limited: not the whole source was asked for, so it is not marked complete.",
    RunStatus.PLANNED: "dry run; nothing was written.",
}
