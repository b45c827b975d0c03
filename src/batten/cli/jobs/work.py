"""`batten work`: do a job together with other machines."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

from batten.cli.jobs.run import (
    EXIT_DONE,
    EXIT_QUARANTINED,
    add_worker_options,
    list_options,
    read_parameters,
)
from batten.cli.output import emit_object, tell

if TYPE_CHECKING:
    from batten.drive.together.run_end import RunEnd
    from batten.jobs.loading.in_fresh_workers import JobFile
    from batten.jobs.loading.job_file import Job
    from batten.pipeline.pipeline import Pipeline
    from batten.run.report import Report

NAME = "work"
HELP = "do a job together with other machines that see the same folder or bucket"

EPILOG = (
    "Start it on each machine, in any order: the first does the run, the others work for it, and "
    "one of them goes on if it is gone. "
    "exit codes: those of run; 5 also where the job is another one here"
)

GONE_SECONDS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "job",
        metavar="JOB[:NAME]",
        help="a Python file, and the pipeline in it if there are several",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="items at a time on this machine (default: the processors)",
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the job's function; may be repeated",
    )
    add_worker_options(parser)
    parser.add_argument(
        "--gone-after",
        type=float,
        metavar="SECONDS",
        help="what a worker has in hand is given to others after so long without a sign of it "
        f"(default: {GONE_SECONDS:g}); the machine that does the run decides",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def execute(arguments: argparse.Namespace) -> int:
    from batten.executors.printing.output import output_may_be_lost
    from batten.jobs.loading.in_fresh_workers import JobFile
    from batten.jobs.loading.job_file import load_job
    from batten.pipeline.pipeline import Pipeline
    from batten.run.signals import stopped_while_loading

    parameters = read_parameters(arguments.param)
    job_file = JobFile(spec=arguments.job, parameters=parameters, folder=os.getcwd())
    # What the user's own code prints must not mix with the one JSON object.
    with output_may_be_lost(), contextlib.redirect_stdout(sys.stderr):
        with stopped_while_loading():
            job = load_job(arguments.job, parameters, Pipeline)
        if signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL:
            # As in `batten run`: the job goes on, and its code tells how it ended.
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        gc.freeze()
        end = _work(job, parameters, job_file, arguments)
    return _tell_end(end, is_json=arguments.json)


def _work(
    job: Job[Pipeline],
    parameters: dict[str, str],
    job_file: JobFile,
    arguments: argparse.Namespace,
) -> Report | RunEnd:
    from batten.jobs.bounds import check_seconds, read_memory_max
    from batten.jobs.loading.how_started import describe_call
    from batten.pipeline.working import work_shown
    from batten.run.run_options import RunOptions
    from batten.storage.machine import count_processors

    given = arguments.gone_after
    options = RunOptions(
        jobs=arguments.jobs if arguments.jobs is not None else count_processors(),
        memory_bytes_max=read_memory_max(arguments.memory_max),
        drain_seconds=10.0 if arguments.drain_seconds is None else arguments.drain_seconds,
        gone_seconds=GONE_SECONDS if given is None else check_seconds("gone_after", given),
        parameters=dict(job.parameters),
        call=describe_call(job, parameters, list_options(arguments)),
        workers=arguments.workers,
        job_file=job_file,
    )
    return work_shown(job.pipeline, options, False if arguments.quiet else None)


def _tell_end(end: Report | RunEnd, *, is_json: bool) -> int:
    from batten.drive.together.run_end import RunEnd

    if not isinstance(end, RunEnd):
        from batten.display.report_text import list_lines

        if is_json:
            emit_object(end.to_json())
        else:
            tell(*list_lines(end))
        return EXIT_QUARANTINED if end.quarantined else EXIT_DONE
    if is_json:
        emit_object({"status": end.status, "quarantined": end.quarantined})
    else:
        tell(f"The run that this worked for has ended: {end.status}.")
    return EXIT_QUARANTINED if end.quarantined else EXIT_DONE
