"""`batten adopt`: take over what a hand-made job had finished."""

from __future__ import annotations

import argparse
import contextlib
import sys

NAME = "adopt"
HELP = "take over the finished rows of a hand-made job; the next run computes the rest"

EPILOG = (
    "exit codes: 0 adopted, 2 usage, 5 refused: the output holds what a run computed, "
    "6 another run is at work, 7 the disk or a destination, 75 interrupted: run it again"
)

EXIT_DONE = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "rows",
        nargs="+",
        metavar="ROWS",
        help="a file of Parquet, JSON Lines or CSV, or a folder of them; read only",
    )
    parser.add_argument("--key", required=True, metavar="FIELD", help="the rows' field of keys")
    parser.add_argument("--into", required=True, metavar="OUT", help="the output of the job")
    parser.add_argument(
        "--job",
        required=True,
        metavar="JOB[:NAME]",
        help="the Python file with the pipeline that goes on from there",
    )
    parser.add_argument(
        "--done", metavar="FILE", help="finished keys, one a line: only their rows are taken"
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the job's function; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def execute(arguments: argparse.Namespace) -> int:
    from batten.adopting.adopt import adopt_rows
    from batten.cli.jobs.run import read_parameters
    from batten.cli.output import emit_object, tell
    from batten.cli.text.adoption_text import list_lines
    from batten.display.choosing import choose_display
    from batten.executors.printing.output import output_may_be_lost
    from batten.jobs.loading.how_started import describe_call
    from batten.jobs.loading.job_file import load_job
    from batten.pipeline.pipeline import Pipeline
    from batten.run.run_options import RunOptions
    from batten.run.signals import stopped_while_loading
    from batten.storage.machine import count_processors

    parameters = read_parameters(arguments.param)
    # What the user's own code prints must not mix with the one JSON object.
    with output_may_be_lost(), contextlib.redirect_stdout(sys.stderr):
        with stopped_while_loading():
            job = load_job(arguments.job, parameters, Pipeline)
        adoption = adopt_rows(
            job.pipeline.fill(job.parameters),
            RunOptions(
                jobs=count_processors(),
                parameters=job.parameters,
                call=describe_call(job, parameters, {}),
            ),
            arguments.rows,
            key=arguments.key,
            into=arguments.into,
            done=arguments.done,
            progress=choose_display(False if arguments.quiet else None),
        )
    if arguments.json:
        emit_object(adoption.to_json())
    else:
        tell(*list_lines(adoption))
    return EXIT_DONE
