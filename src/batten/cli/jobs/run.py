"""`batten run`: do what is left of a job."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, Any

from batten.cli.jobs.job_options import (
    add_end_options,
    add_job_options,
    add_worker_options,
    drain_seconds,
    list_options,
    load_job_file,
    own_output,
    read_parameters,
)
from batten.cli.jobs.outcome import RunOutcome
from batten.cli.output import emit_object, tell
from batten.errors import BattenError
from batten.model.words import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batten.chain.runs import UpstreamRun
    from batten.jobs.definition import Definition
    from batten.jobs.loading.in_fresh_workers import JobFile
    from batten.jobs.loading.job_file import Job
    from batten.pipeline.pipeline import Pipeline
    from batten.pipeline.preview import Preview
    from batten.run.report import Report

NAME = "run"
HELP = "run a job, or go on with it where it ended"

EPILOG = (
    "exit codes: 0 done, 3 done but items are quarantined, 75 interrupted: run again, 7 an input, "
    "the disk or a destination: run again later, 6 another run is at work; 1, 2, 4, 5: look first"
)

PREVIEW_ITEMS = 5

EXIT_DONE = 0
EXIT_QUARANTINED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_job_options(parser)
    parser.add_argument(
        "--resume",
        choices=("if_possible", "always", "never"),
        default="if_possible",
        help="never: refuse where the output exists (default: if_possible)",
    )
    _add_ways_on(parser)
    parser.add_argument(
        "--limit", type=int, metavar="N", help="only the first N items; never marked complete"
    )
    parser.add_argument(
        "--until",
        metavar="WHERE",
        help="where this run ends in a topic of Kafka: now, a time, or offsets such as 0:120,1:98",
    )
    parser.add_argument(
        "--preview",
        action="store_true",
        help=f"print the rows of the first items (--limit, else {PREVIEW_ITEMS}); write nothing",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done; write nothing"
    )
    parser.add_argument(
        "--with-upstream",
        action="store_true",
        help="first run what the source was made of, where that is not up to date",
    )
    add_worker_options(parser)
    parser.add_argument(
        "--skip-checks", action="store_true", help="begin although a check before it forbids it"
    )
    _add_watching_options(parser)
    add_end_options(parser)


def _add_ways_on(parser: argparse.ArgumentParser) -> None:
    """What becomes of the rows there are."""
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
        "--add-columns",
        action="store_true",
        help="with --accept-change: add the columns that only the changed job makes; rows there "
        "are have nulls in them",
    )
    parser.add_argument(
        "--retry-quarantined", action="store_true", help="try quarantined items again"
    )


def _add_watching_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metrics",
        metavar="FILE",
        help="write metrics to it in the text format of Prometheus, every few seconds",
    )
    parser.add_argument(
        "--on-end",
        metavar="COMMAND",
        help="run it by the shell after the run has ended, whichever way; on its standard input "
        "is what --json prints",
    )
    parser.add_argument(
        "--on-end-seconds",
        type=float,
        metavar="N",
        help="how long that command may take (default: 60)",
    )


def execute(arguments: argparse.Namespace) -> int:
    if arguments.metrics is not None:
        from batten.cli.standard_output import refuse_metrics

        refuse_metrics(arguments.metrics)
    # Where nothing is run, nothing ends.
    if arguments.on_end is None or arguments.dry_run or arguments.preview:
        return _execute(arguments).exit_code
    from batten.cli.jobs.on_end import ON_END_SECONDS, run_then
    from batten.jobs.bounds import check_seconds

    given = arguments.on_end_seconds
    seconds = ON_END_SECONDS if given is None else check_seconds("on_end_seconds", given)
    return run_then(
        arguments.on_end,
        lambda: _execute(arguments),
        seconds=seconds,
        is_json=arguments.json,
    )


def _execute(arguments: argparse.Namespace) -> RunOutcome:
    parameters = read_parameters(arguments.param)
    preview: Preview | None = None
    report: Report | None = None
    ran: list[UpstreamRun] | None = None
    with own_output(), _checks_told(arguments):
        job, job_file = load_job_file(arguments.job, parameters)
        job = _read_until(job, arguments.until)
        if arguments.preview:
            limit = PREVIEW_ITEMS if arguments.limit is None else arguments.limit
            preview = job.pipeline.preview(limit=limit, parameters=job.parameters)
        else:
            if arguments.with_upstream:
                ran = _run_upstream(arguments, job.pipeline)
            if not (ran and arguments.dry_run):
                report = _run(job, parameters, job_file, arguments)
    if preview is not None:
        return RunOutcome(_emit_preview(preview, is_json=arguments.json), {})
    before = {} if ran is None else {"upstream": [each.to_json() for each in ran]}
    if report is None:
        # Of a dry run: what comes after these can't be known before.
        if arguments.json:
            emit_object({"status": RunStatus.PLANNED, **before})
        return RunOutcome(EXIT_DONE, {})
    return _tell_end(report, before, is_json=arguments.json)


def _read_until(job: Job[Pipeline], until: str | None) -> Job[Pipeline]:
    """The job, whose source is read up to there."""
    if until is None:
        return job
    from dataclasses import replace

    from batten.sources.base import with_until

    source = with_until(job.pipeline.source, until)
    return replace(job, pipeline=replace(job.pipeline, source=source))


def _run_upstream(arguments: argparse.Namespace, pipeline: Definition) -> list[UpstreamRun]:
    from batten.chain.runs import run_upstream
    from batten.sources.base import is_batched

    if not is_batched(pipeline.source):
        return []
    return run_upstream(
        pipeline.source.place,
        is_dry_run=arguments.dry_run,
        is_quiet=arguments.quiet,
        tell=tell,
    )


def _tell_end(report: Report, before: dict[str, Any], *, is_json: bool) -> RunOutcome:
    from batten.display.report_text import list_lines

    told = {**report.to_json(), **before}
    if is_json:
        emit_object(told)
    else:
        tell(*list_lines(report))
    is_done = report.status != RunStatus.PLANNED
    return RunOutcome(EXIT_QUARANTINED if is_done and report.quarantined else EXIT_DONE, told)


def _emit_preview(preview: Preview, *, is_json: bool) -> int:
    from batten.cli.output import emit
    from batten.pipeline.preview import list_preview_lines

    emit(preview, list_preview_lines(preview), is_json=is_json)
    return EXIT_QUARANTINED if preview.failed else EXIT_DONE


def _run(
    job: Job[Pipeline],
    parameters: dict[str, str],
    job_file: JobFile,
    arguments: argparse.Namespace,
) -> Report:
    from batten.display.choosing import choose_display
    from batten.jobs.loading.how_started import describe_call

    return job.pipeline.run(
        jobs=arguments.jobs,
        resume=arguments.resume,
        retry_quarantined=arguments.retry_quarantined,
        limit=arguments.limit,
        dry_run=arguments.dry_run,
        fresh=arguments.fresh,
        accept_change=arguments.accept_change,
        add_columns=arguments.add_columns,
        memory_max=arguments.memory_max,
        workers=arguments.workers,
        drain_seconds=drain_seconds(arguments),
        budget=arguments.budget,
        skip_checks=arguments.skip_checks,
        metrics=arguments.metrics,
        progress=False if arguments.quiet else choose_display(),
        parameters=job.parameters,
        call=describe_call(job, parameters, list_options(arguments)),
        job_file=job_file,
    )


@contextlib.contextmanager
def _checks_told(arguments: argparse.Namespace) -> Iterator[None]:
    """A refused dry run shows all that was checked, before the refusal."""
    try:
        yield
    except BattenError as error:
        report = error.report
        if report is not None and report.checks and not arguments.json:
            from batten.display.report_text import list_checks

            tell(*list_checks(report))
        raise
