"""What all commands have that take a job: which it is, with which parameters, by how many."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from batten.errors import usage_error
from batten.model.telling.hiding import is_secret_text

if TYPE_CHECKING:
    from batten.jobs.loading.in_fresh_workers import JobFile
    from batten.jobs.loading.job_file import Job
    from batten.pipeline.pipeline import Pipeline

DRAIN_SECONDS = 10.0


def add_job_options(parser: argparse.ArgumentParser, *, whose_jobs: str = "") -> None:
    """The job and its parameters, and how many items are worked on at a time."""
    parser.add_argument(
        "job",
        metavar="JOB[:NAME]",
        help="a Python file, and the pipeline in it if there are several",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help=f"items at a time{whose_jobs} (default: the processors)",
    )
    add_parameters(parser)


def add_parameters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the job's function; may be repeated",
    )


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """How workers of this machine go about it."""
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
        help=f"after a signal, how long items in hand may take to end (default: {DRAIN_SECONDS:g})",
    )
    parser.add_argument(
        "--budget",
        metavar="N",
        help="how much the dataset may cost, over all its runs, as its functions tell; of another "
        "unit: input_tokens=1e6; several with commas. Before it is passed, the run stops (75)",
    )


def add_end_options(parser: argparse.ArgumentParser) -> None:
    """What is shown while it goes on, and at its end."""
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def drain_seconds(arguments: argparse.Namespace) -> float:
    given = arguments.drain_seconds
    return DRAIN_SECONDS if given is None else float(given)


def list_options(arguments: argparse.Namespace) -> dict[str, object]:
    """Those that the next run of the job should have too, as they were given."""
    return {
        "jobs": arguments.jobs,
        "memory-max": arguments.memory_max,
        "drain-seconds": arguments.drain_seconds,
        "workers": arguments.workers,
        "budget": arguments.budget,
    }


def read_parameters(given: list[str]) -> dict[str, str]:
    """What `--param` was given, by name. Raises `UsageError`."""
    parameters: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise usage_error(
                f"--param {text!r} is not of the form NAME=VALUE."
                if not is_secret_text(text)
                else "What --param was given is not of the form NAME=VALUE.",
                "Write, for instance: --param run_date=2026-04-24",
            )
        if name in parameters:
            raise usage_error(f"--param {name} is given twice.", "Give each parameter once.")
        parameters[name] = value
    return parameters


@contextlib.contextmanager
def own_output() -> Iterator[None]:
    """What the user's own code prints must not mix with the one JSON object."""
    from batten.executors.printing.output import output_may_be_lost

    with output_may_be_lost(), contextlib.redirect_stdout(sys.stderr):
        yield


def load_job_file(
    spec: str, parameters: dict[str, str], paths_from: str | None = None
) -> tuple[Job[Pipeline], JobFile]:
    """The job, and what workers load it from. The process is made ready to run it."""
    from batten.garbage import collector_paused, keep_for_good

    with collector_paused():
        from batten.jobs.loading.in_fresh_workers import JobFile
        from batten.jobs.loading.job_file import load_job
        from batten.pipeline.pipeline import Pipeline
        from batten.run.signals import stopped_while_loading

    job_file = JobFile(spec=spec, parameters=parameters, folder=os.getcwd(), paths_from=paths_from)
    with stopped_while_loading():
        job = load_job(spec, parameters, Pipeline, paths_from=paths_from)
    if signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL:
        # As scripts have it for `| head`. But the job goes on, and its code tells how it ended.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # Modules and the job stay until the end, so no collection of garbage need look at them.
    with collector_paused():
        importlib.import_module("batten.pipeline.running")
    keep_for_good()
    return job, job_file
